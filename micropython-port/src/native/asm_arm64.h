// An assembler for AArch64, with the interface that upstream's native emitter expects of one.
//
// Code is generated two or three times, at first only to learn where the labels are, so every decision has to
// come out the same in each pass. The assembler looks back at the last few instructions: upstream's emitter
// thinks of a machine with two operands, copies into temporary registers, and reads its stack slots back as soon
// as it has written them; most of that is undone here. To know that a value is not needed any more, functions
// are told which registers the emitter still counts on (`live`, bit n for register n).

#ifndef ASM_ARM64_H
#define ASM_ARM64_H

#include "py/misc.h"
#include "py/asmbase.h"

#include "a64.h"

// Instructions that the assembler remembers. An indexed access may come as a move and four additions.
#define ASM_ARM64_WINDOW (5)

// What the assembler knows of an instruction.
typedef enum {
    INSN_OTHER,      // nothing: a call, a branch, or the start of a basic block
    INSN_COPY,       // d = n
    INSN_CONSTANT,   // d = value
    INSN_RESULT,     // d = anything: only d counts
    INSN_ADD,        // d = n + m
    INSN_ADD_CONST,  // d = n + value
    INSN_LOAD_SLOT,  // d = slot number `value` of the frame
    INSN_STORE_SLOT, // slot number `value` of the frame = d
    INSN_CSET,       // d = whether the condition number `value` holds, of the comparison before it
    INSN_OPERATOR,   // the end of a call of n instructions, which applies Python's operator number `value`
} asm_arm64_kind_t;

typedef struct {
    asm_arm64_kind_t kind;
    uint32_t word;
    uint8_t d;
    uint8_t n;
    uint8_t m;
    int32_t value;
} asm_arm64_insn_t;

typedef struct _asm_arm64_t {
    mp_asm_base_t base;
    // The newest first.
    asm_arm64_insn_t recent[ASM_ARM64_WINDOW];
    // Passes that the function has seen.
    uint8_t passes;
    // Whether the function is so long that short branches do not reach all of it.
    bool far;
    // Whether it is a viper function, whose loops do as little as can be.
    bool viper;
} asm_arm64_t;

// The frame of a function: how many slots it has, each a word.
void asm_arm64_entry(asm_arm64_t *as, size_t slots, bool viper);
void asm_arm64_exit(asm_arm64_t *as);
void asm_arm64_end_pass(asm_arm64_t *as);

// A label is where other code arrives, so nothing is known there of the instructions before.
void asm_arm64_label_assign(asm_arm64_t *as, size_t label);

void asm_arm64_jump(asm_arm64_t *as, size_t label);
void asm_arm64_jump_reg(asm_arm64_t *as, unsigned reg);
// Jumps if the register, or its low 32 bits, is zero, or is not.
void asm_arm64_jump_if_zero(asm_arm64_t *as, bool if_not, bool wide, unsigned reg, size_t label, uint32_t live);
void asm_arm64_jump_if_equal(asm_arm64_t *as, unsigned a, unsigned b, size_t label, uint32_t live);
void asm_arm64_call(asm_arm64_t *as, const void *function);
void asm_arm64_call_operator(asm_arm64_t *as, const void *function, int op);
// Takes the call of an operator back if it was the last thing, and returns the operator, or -1.
int asm_arm64_take_operator(asm_arm64_t *as);
// Takes the newest instruction back if it loads a constant into this register, and returns the constant, or -1.
int asm_arm64_take_constant(asm_arm64_t *as, unsigned reg);

void asm_arm64_mov(asm_arm64_t *as, unsigned d, unsigned s, bool s_is_spent);
void asm_arm64_mov_imm(asm_arm64_t *as, unsigned d, uint64_t value);
void asm_arm64_mov_label(asm_arm64_t *as, unsigned d, size_t label);

void asm_arm64_load_slot(asm_arm64_t *as, unsigned d, unsigned slot);
void asm_arm64_store_slot(asm_arm64_t *as, unsigned slot, unsigned s);
void asm_arm64_slot_address(asm_arm64_t *as, unsigned d, unsigned slot);

// d = d op m, where op is one of those that have a left operand.
void asm_arm64_op(asm_arm64_t *as, a64_operation_t op, unsigned d, unsigned m, uint32_t live);
void asm_arm64_not(asm_arm64_t *as, unsigned d);
void asm_arm64_neg(asm_arm64_t *as, unsigned d);
void asm_arm64_set_if(asm_arm64_t *as, unsigned condition, unsigned d, unsigned a, unsigned b, uint32_t live);

// Accesses to 2^size bytes: at the base plus an offset in units of that size, or at the base alone, which then
// may be a sum that is needed for nothing else.
void asm_arm64_access(asm_arm64_t *as, a64_access_t access, unsigned size, unsigned t, unsigned base, size_t offset);
void asm_arm64_access_sum(asm_arm64_t *as, a64_access_t access, unsigned size, unsigned t, unsigned base, uint32_t live);

#endif
