/* Formats of the integers with a fixed size. */
#ifndef TINYVMM_INTTYPES_H
#define TINYVMM_INTTYPES_H

#include <stdint.h>

#define PRId32 "d"
#define PRIu32 "u"
#define PRIx32 "x"
#define PRIX32 "X"
#define PRId64 "ld"
#define PRIu64 "lu"
#define PRIx64 "lx"
#define PRIXPTR "lX"
#define PRIxPTR "lx"
#define PRIuPTR "lu"
#define PRIdPTR "ld"

#endif
