// Upstream's native emitter for AArch64.
//
// Upstream has no emitter for this architecture, but one that prints what it would do (MICROPY_EMIT_NATIVE_DEBUG).
// This file stands in its place: it makes the same macros mean instructions, and has upstream's emitter, which
// is written in these macros, compiled with them. The names with "debug" in them are those that upstream asks for.

#include "py/mpconfig.h"
#include "py/asmbase.h"
#include "py/nativeglue.h"

#include "asm_arm64.h"
#include "runtime.h"

// ---- Registers (AAPCS64)

#define ASM_WORD_SIZE (8)

#define REG_RET (NATIVE_RESULT)
#define REG_ARG_1 (0)
#define REG_ARG_2 (1)
#define REG_ARG_3 (2)
#define REG_ARG_4 (3)

// Not kept over calls.
#define REG_TEMP0 (0)
#define REG_TEMP1 (1)
#define REG_TEMP2 (2)

// Kept by callees.
#define REG_LOCAL_1 (19)
#define REG_LOCAL_2 (20)
#define REG_LOCAL_3 (21)
#define REG_FUN_TABLE (22)

#define REG_ZERO (A64_XZR)
#define ASM_CLR_REG(as, reg) ((void)0)

// Where nlr_buf_t has X19: two words of its own, LR and SP come before it.
#define NLR_BUF_IDX_LOCAL_1 (4)

// ---- What the emitter still counts on

// All of its macros are used where `emit` is the emitter, so they can ask it.

struct _emit_t;
static uint32_t live_registers(const struct _emit_t *emit);
static bool is_spent(const struct _emit_t *emit, int source, int destination);

// ---- Control

#define ASM_T asm_arm64_t
#define ASM_END_PASS asm_arm64_end_pass
#define ASM_ENTRY(as, slots) asm_arm64_entry(as, slots, (emit)->do_viper_types)
#define ASM_EXIT asm_arm64_exit

#define ASM_JUMP asm_arm64_jump
#define ASM_JUMP_REG asm_arm64_jump_reg
#define ASM_JUMP_IF_REG_ZERO(as, reg, label, bool_test) \
    asm_arm64_jump_if_zero(as, false, !(bool_test), reg, label, live_registers(emit))
#define ASM_JUMP_IF_REG_NONZERO(as, reg, label, bool_test) \
    asm_arm64_jump_if_zero(as, true, !(bool_test), reg, label, live_registers(emit))
#define ASM_JUMP_IF_REG_EQ(as, a, b, label) asm_arm64_jump_if_equal(as, a, b, label, live_registers(emit))
#define ASM_CALL_IND(as, kind) call(as, kind)

// The emitter assigns labels by itself.
#define mp_asm_base_label_assign(base, label) asm_arm64_label_assign((asm_arm64_t *)(base), label)

// ---- Moves

#define ASM_MOV_REG_IMM(as, d, value) asm_arm64_mov_imm(as, d, value)
#define ASM_MOV_REG_REG(as, d, s) asm_arm64_mov(as, d, s, is_spent(emit, s, d))
#define ASM_MOV_REG_PCREL(as, d, label) asm_arm64_mov_label(as, d, label)
#define ASM_MOV_REG_LOCAL(as, d, slot) asm_arm64_load_slot(as, d, slot)
#define ASM_MOV_LOCAL_REG(as, slot, s) asm_arm64_store_slot(as, slot, s)
#define ASM_MOV_REG_LOCAL_ADDR(as, d, slot) asm_arm64_slot_address(as, d, slot)

// ---- Arithmetic. Python's operators work in REG_ARG_2, and need their right operand no more. Whoever works in
// another register, for an index, adds the same operand several times.

#define LIVE_OPERANDS(d, m) (live_registers(emit) | ((d) == REG_ARG_2 ? 0 : 1u << (m)))

#define ASM_NOT_REG(as, d) asm_arm64_not(as, d)
#define ASM_NEG_REG(as, d) asm_arm64_neg(as, d)
#define ASM_LSL_REG_REG(as, d, m) asm_arm64_op(as, A64_LSLV, d, m, LIVE_OPERANDS(d, m))
#define ASM_LSR_REG_REG(as, d, m) asm_arm64_op(as, A64_LSRV, d, m, LIVE_OPERANDS(d, m))
#define ASM_ASR_REG_REG(as, d, m) asm_arm64_op(as, A64_ASRV, d, m, LIVE_OPERANDS(d, m))
#define ASM_OR_REG_REG(as, d, m) asm_arm64_op(as, A64_ORR, d, m, LIVE_OPERANDS(d, m))
#define ASM_XOR_REG_REG(as, d, m) asm_arm64_op(as, A64_EOR, d, m, LIVE_OPERANDS(d, m))
#define ASM_AND_REG_REG(as, d, m) asm_arm64_op(as, A64_AND, d, m, LIVE_OPERANDS(d, m))
#define ASM_ADD_REG_REG(as, d, m) asm_arm64_op(as, A64_ADD, d, m, LIVE_OPERANDS(d, m))
#define ASM_SUB_REG_REG(as, d, m) asm_arm64_op(as, A64_SUB, d, m, LIVE_OPERANDS(d, m))
#define ASM_MUL_REG_REG(as, d, m) asm_arm64_op(as, A64_MUL, d, m, LIVE_OPERANDS(d, m))

// The operation counts from < > == <= >= != of unsigned numbers to the same of signed ones.
#define asm_debug_setcc_reg_reg_reg(as, op, d, a, b) \
    asm_arm64_set_if(as, conditions[op], d, a, b, live_registers(emit))

static const uint8_t conditions[] = {
    A64_LO, A64_HI, A64_EQ, A64_LS, A64_HS, A64_NE,
    A64_LT, A64_GT, A64_EQ, A64_LE, A64_GE, A64_NE,
};

// ---- Memory

#define ASM_LOAD_REG_REG_OFFSET(as, d, base, words) asm_arm64_access(as, A64_LOAD, 3, d, base, words)
#define ASM_LOAD16_REG_REG_OFFSET(as, d, base, units) asm_arm64_access(as, A64_LOAD, 1, d, base, units)
#define ASM_LOAD8_REG_REG(as, d, base) asm_arm64_access_sum(as, A64_LOAD, 0, d, base, live_registers(emit))
#define ASM_LOAD16_REG_REG(as, d, base) asm_arm64_access_sum(as, A64_LOAD, 1, d, base, live_registers(emit))
#define ASM_LOAD32_REG_REG(as, d, base) asm_arm64_access_sum(as, A64_LOAD, 2, d, base, live_registers(emit))

#define ASM_STORE_REG_REG_OFFSET(as, s, base, words) asm_arm64_access(as, A64_STORE, 3, s, base, words)
#define ASM_STORE8_REG_REG(as, s, base) asm_arm64_access_sum(as, A64_STORE, 0, s, base, live_registers(emit))
#define ASM_STORE16_REG_REG(as, s, base) asm_arm64_access_sum(as, A64_STORE, 1, s, base, live_registers(emit))
#define ASM_STORE32_REG_REG(as, s, base) asm_arm64_access_sum(as, A64_STORE, 2, s, base, live_registers(emit))

// ---- Calls

// Upstream passes the operator as the first argument. Where there is a function for this one alone, it is not needed.
static bool call_operator(asm_arm64_t *as) {
    int op = asm_arm64_take_constant(as, REG_ARG_1);
    if (op < 0) {
        return false;
    }
    const void *function = native_operator(op);
    if (function == NULL) {
        asm_arm64_mov_imm(as, REG_ARG_1, op);
        return false;
    }
    asm_arm64_call_operator(as, function, op);
    return true;
}

// The truth of a comparison, without an object for it.
static bool call_test(asm_arm64_t *as) {
    int op = asm_arm64_take_operator(as);
    if (op < 0) {
        return false;
    }
    const void *test = native_test(op);
    if (test == NULL) {
        asm_arm64_call_operator(as, native_operator(op), op);
        return false;
    }
    asm_arm64_call(as, test);
    return true;
}

static void call(asm_arm64_t *as, mp_fun_kind_t kind) {
    bool done = (kind == MP_F_BINARY_OP && call_operator(as)) || (kind == MP_F_OBJ_IS_TRUE && call_test(as));
    if (!done) {
        asm_arm64_call(as, native_function(kind));
    }
}

// ---- Upstream's emitter

#define N_DEBUG (1)
#define EXPORT_FUN(name) emit_native_debug_##name
#include "py/emitnative.c"

// Callees keep these: they hold local variables, or what every part of the function needs.
#define ALWAYS_LIVE (0xfff80000)

static unsigned times_on_stack(const emit_t *emit, unsigned reg) {
    unsigned times = 0;
    for (int i = 0; i < emit->stack_size; i++) {
        times += emit->stack_info[i].kind == STACK_REG && emit->stack_info[i].data.u_reg == (int)reg;
    }
    return times;
}

// Registers that hold a value of Python's stack, which has not been written to its place yet.
static uint32_t live_registers(const emit_t *emit) {
    uint32_t live = ALWAYS_LIVE;
    for (int i = 0; i < emit->stack_size; i++) {
        if (emit->stack_info[i].kind == STACK_REG) {
            live |= 1u << emit->stack_info[i].data.u_reg;
        }
    }
    return live;
}

// Whether a move is the last use of its source. Moves to local variables take the value from the stack,
// where it still is when they are emitted.
static bool is_spent(const emit_t *emit, int source, int destination) {
    return destination >= REG_LOCAL_1 && source < REG_LOCAL_1 && times_on_stack(emit, source) <= 1;
}
