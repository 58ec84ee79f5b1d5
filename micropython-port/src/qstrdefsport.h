// Interned strings whose names in C do not tell what they are: the directories of the search path.
Q(/lib)
Q(/rom)
Q(/rom/lib)
