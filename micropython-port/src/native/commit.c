// Makes new code visible to instruction fetches.

#include "py/mpconfig.h"

// Fields of CTR_EL0: the base-2 logarithm of the smallest line, in words of four bytes.
#define ICACHE_LINE_FIELD (0)
#define DCACHE_LINE_FIELD (16)

static size_t line_size(uint64_t ctr, unsigned field) {
    return (size_t)4 << (ctr >> field & 0xf);
}

// The sequence of the Arm ARM (DDI 0487, B2.4.4): data to the point of unification, then instruction caches, each
// complete before the next step. Other vCPUs of the VM see the code once they have executed a context
// synchronization event, as an exception or an ISB is.
void *native_commit(void *code, size_t length) {
    uintptr_t start = (uintptr_t)code;
    uintptr_t end = start + length;
    uint64_t ctr;
    __asm volatile ("mrs %0, ctr_el0" : "=r" (ctr));
    size_t line = line_size(ctr, DCACHE_LINE_FIELD);
    for (uintptr_t address = start & ~(line - 1); address < end; address += line) {
        __asm volatile ("dc cvau, %0" : : "r" (address) : "memory");
    }
    __asm volatile ("dsb ish" : : : "memory");
    line = line_size(ctr, ICACHE_LINE_FIELD);
    for (uintptr_t address = start & ~(line - 1); address < end; address += line) {
        __asm volatile ("ic ivau, %0" : : "r" (address) : "memory");
    }
    __asm volatile ("dsb ish\n\tisb" : : : "memory");
    return code;
}
