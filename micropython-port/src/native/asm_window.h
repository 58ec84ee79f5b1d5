// How the parts of the assembler emit instructions, and look back at the last few.

#ifndef ASM_WINDOW_H
#define ASM_WINDOW_H

#include "py/mpconfig.h"

#include "asm_arm64.h"

// Free for any use between two steps of the emitter: X16 and X17 are not kept over calls (AAPCS64).
#define ASM_SCRATCH (16)
#define ASM_SCRATCH_2 (17)

void asm_forget_all(asm_arm64_t *as);
void asm_emit_known(asm_arm64_t *as, asm_arm64_insn_t insn);
// An instruction after which nothing is known.
void asm_emit(asm_arm64_t *as, uint32_t word);
// An instruction that changes nothing but its destination.
void asm_emit_result(asm_arm64_t *as, uint32_t word);
// Takes the newest instruction back.
asm_arm64_insn_t asm_take_back(asm_arm64_t *as);

bool asm_newest_sets(asm_arm64_t *as, asm_arm64_kind_t kind, unsigned reg);
bool asm_is_live(uint32_t live, unsigned reg);

// Takes back copies into operands that are needed for nothing else, and names their sources instead.
void asm_skip_copies(asm_arm64_t *as, unsigned *a, unsigned *b, uint32_t live);
// Takes back what loads a constant into an operand, even from before an instruction that loads the other one.
bool asm_skip_constant(asm_arm64_t *as, unsigned operand, unsigned other, uint32_t live, int32_t *value);

// One of the four halfwords of a number.
unsigned asm_halfword(uint64_t value, unsigned index);
// d = n + offset or n - offset, where n may be the stack pointer.
void asm_emit_add_offset(asm_arm64_t *as, a64_immediate_t op, unsigned d, unsigned n, size_t offset);
// Sets the flags for the comparison of two registers.
void asm_compare(asm_arm64_t *as, unsigned a, unsigned b, uint32_t live);

#endif
