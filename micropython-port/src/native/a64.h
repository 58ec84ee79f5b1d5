// Encodings of the A64 instructions that the native emitter uses, one function each (Arm ARM, DDI 0487,
// chapter C6.2). Nothing but arithmetic, so that a test on the host can compare them with an assembler's.
//
// Registers are numbers: d is the destination, n and m are operands, t is what is loaded or stored. 31 is
// the zero register or the stack pointer, as the manual has it for each instruction.

#ifndef A64_H
#define A64_H

#include <stdbool.h>
#include <stdint.h>

#define A64_FP (29)
#define A64_LR (30)
#define A64_SP (31)
#define A64_XZR (31)

// Conditions. The lowest bit inverts one.
enum {
    A64_EQ = 0, A64_NE = 1, A64_HS = 2, A64_LO = 3, A64_HI = 8, A64_LS = 9,
    A64_GE = 10, A64_LT = 11, A64_GT = 12, A64_LE = 13,
};

static inline unsigned a64_invert(unsigned condition) {
    return condition ^ 1;
}

// The low bits of a number that may be negative, at a place in an instruction.
static inline uint32_t a64_field(int64_t value, unsigned width, unsigned place) {
    return ((uint64_t)value & ((UINT64_C(1) << width) - 1)) << place;
}

// Whether a signed field of so many bits holds the number.
static inline bool a64_fits(int64_t value, unsigned width) {
    return -(INT64_C(1) << (width - 1)) <= value && value < INT64_C(1) << (width - 1);
}

// Operations on three registers.
typedef enum {
    A64_ADD = 0x8b000000,
    A64_SUB = 0xcb000000,
    A64_AND = 0x8a000000,
    A64_ORR = 0xaa000000,
    A64_EOR = 0xca000000,
    A64_ORN = 0xaa200000,
    A64_SUBS = 0xeb000000,
    A64_LSLV = 0x9ac02000,
    A64_LSRV = 0x9ac02400,
    A64_ASRV = 0x9ac02800,
    A64_MUL = 0x9b007c00, // MADD with the zero register
} a64_operation_t;

static inline uint32_t a64_op(a64_operation_t operation, unsigned d, unsigned n, unsigned m) {
    return operation | m << 16 | n << 5 | d;
}

// Operations with an immediate of 12 bits, which may stand for 4096 times as much.
typedef enum {
    A64_ADD_IMM = 0x91000000,
    A64_SUB_IMM = 0xd1000000,
    A64_SUBS_IMM = 0xf1000000,
    A64_ADDS_IMM = 0xb1000000,
} a64_immediate_t;

static inline uint32_t a64_imm(a64_immediate_t operation, unsigned d, unsigned n, unsigned imm12, bool times_4096) {
    return operation | (uint32_t)times_4096 << 22 | imm12 << 10 | n << 5 | d;
}

// Shifts by a constant are UBFM and SBFM.
static inline uint32_t a64_lsl_imm(unsigned d, unsigned n, unsigned shift) {
    return 0xd3400000 | ((64 - shift) & 63) << 16 | (63 - shift) << 10 | n << 5 | d;
}

static inline uint32_t a64_lsr_imm(unsigned d, unsigned n, unsigned shift) {
    return 0xd340fc00 | shift << 16 | n << 5 | d;
}

static inline uint32_t a64_asr_imm(unsigned d, unsigned n, unsigned shift) {
    return 0x9340fc00 | shift << 16 | n << 5 | d;
}

static inline uint32_t a64_mov(unsigned d, unsigned m) {
    return a64_op(A64_ORR, d, A64_XZR, m);
}

// Moves of 16 bits to one of the four halfwords; the others become zeros, ones, or stay.
typedef enum {
    A64_MOVZ = 0xd2800000,
    A64_MOVN = 0x92800000,
    A64_MOVK = 0xf2800000,
} a64_wide_t;

static inline uint32_t a64_wide(a64_wide_t move, unsigned d, unsigned imm16, unsigned halfword) {
    return move | halfword << 21 | imm16 << 5 | d;
}

// 1 if the condition holds, else 0: CSINC with the inverse condition.
static inline uint32_t a64_cset(unsigned d, unsigned condition) {
    return 0x9a9f07e0 | a64_invert(condition) << 12 | d;
}

// Loads and stores of 2^size bytes. What is loaded has zeros above.
typedef enum {
    A64_STORE = 0,
    A64_LOAD = 1,
} a64_access_t;

// The offset counts in units of the access, from 0 to 4095.
static inline uint32_t a64_access(a64_access_t access, unsigned size, unsigned t, unsigned n, unsigned offset) {
    return 0x39000000 | size << 30 | (uint32_t)access << 22 | offset << 10 | n << 5 | t;
}

// The address is n + m, or n + m * 2^size.
static inline uint32_t a64_access_indexed(a64_access_t access, unsigned size, unsigned t, unsigned n, unsigned m, bool scaled) {
    return 0x38206800 | size << 30 | (uint32_t)access << 22 | m << 16 | (uint32_t)scaled << 12 | n << 5 | t;
}

// Pairs of 64-bit registers. The offset counts in units of 8 bytes, from -64 to 63.
typedef enum {
    A64_STP = 0xa9000000,
    A64_LDP = 0xa9400000,
    A64_STP_PRE = 0xa9800000,  // the base becomes the address
    A64_LDP_POST = 0xa8c00000, // the base is the address, and is moved by the offset afterwards
} a64_pair_t;

static inline uint32_t a64_pair(a64_pair_t access, unsigned t, unsigned t2, unsigned n, int offset) {
    return access | a64_field(offset, 7, 15) | t2 << 10 | n << 5 | t;
}

// Branches. Offsets count in bytes from the branch itself.
static inline uint32_t a64_b(int64_t offset) {
    return 0x14000000 | a64_field(offset >> 2, 26, 0);
}

static inline uint32_t a64_bl(int64_t offset) {
    return 0x94000000 | a64_field(offset >> 2, 26, 0);
}

static inline uint32_t a64_b_cond(unsigned condition, int64_t offset) {
    return 0x54000000 | a64_field(offset >> 2, 19, 5) | condition;
}

// Branches if the register, or its low 32 bits, is zero, or is not.
static inline uint32_t a64_cbz(bool if_not, bool wide, unsigned t, int64_t offset) {
    return 0x34000000 | (uint32_t)wide << 31 | (uint32_t)if_not << 24 | a64_field(offset >> 2, 19, 5) | t;
}

// Branches if one of the low 32 bits is zero, or is not.
static inline uint32_t a64_tbz(bool if_not, unsigned t, unsigned bit, int64_t offset) {
    return 0x36000000 | (uint32_t)if_not << 24 | bit << 19 | a64_field(offset >> 2, 14, 5) | t;
}

static inline uint32_t a64_br(unsigned n) {
    return 0xd61f0000 | n << 5;
}

static inline uint32_t a64_blr(unsigned n) {
    return 0xd63f0000 | n << 5;
}

static inline uint32_t a64_ret(void) {
    return 0xd65f03c0;
}

// The address of this instruction plus an offset in bytes.
static inline uint32_t a64_adr(unsigned d, int64_t offset) {
    return 0x10000000 | a64_field(offset, 2, 29) | a64_field(offset >> 2, 19, 5) | d;
}

#endif
