/* Types of POSIX. */
#ifndef TINYVMM_SYS_TYPES_H
#define TINYVMM_SYS_TYPES_H

#include <stddef.h>
#include <stdint.h>

typedef intptr_t ssize_t;
typedef int64_t off_t;

#endif
