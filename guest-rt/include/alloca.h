/* Memory on the stack. */
#ifndef TINYVMM_ALLOCA_H
#define TINYVMM_ALLOCA_H

#include <stddef.h>

#define alloca(size) __builtin_alloca(size)

#endif
