/* Here because sources include it. What it usually declares is the program's own business. */
#ifndef TINYVMM_STDLIB_H
#define TINYVMM_STDLIB_H

#include <stddef.h>

#endif
