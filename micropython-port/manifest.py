# Python modules that are part of the image.
include("$(MPY_DIR)/extmod/asyncio")
freeze("$(PORT_DIR)/modules")
