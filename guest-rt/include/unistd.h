/* Where a position in a file is counted from. */
#ifndef TINYVMM_UNISTD_H
#define TINYVMM_UNISTD_H

#include <sys/types.h>

#define SEEK_SET 0
#define SEEK_CUR 1
#define SEEK_END 2

#endif
