/* Here because sources include it. Errors are what calls return. */
#ifndef TINYVMM_ERRNO_H
#define TINYVMM_ERRNO_H
#endif
