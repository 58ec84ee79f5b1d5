// Constants, moves and arithmetic.

#include "asm_window.h"

unsigned asm_halfword(uint64_t value, unsigned index) {
    return value >> 16 * index & 0xffff;
}

void asm_arm64_mov_imm(asm_arm64_t *as, unsigned d, uint64_t value) {
    // What the first move leaves in the halfwords that it does not set.
    unsigned filler = (int64_t)value < 0 ? 0xffff : 0;
    a64_wide_t move = filler == 0 ? A64_MOVZ : A64_MOVN;
    unsigned first = 0;
    unsigned last = 0;
    for (unsigned i = 0; i < 4; i++) {
        if (asm_halfword(value, i) != filler) {
            first = last == 0 && asm_halfword(value, first) == filler ? i : first;
            last = i;
        }
    }
    uint32_t word = a64_wide(move, d, asm_halfword(value, first) ^ filler, first);
    if (first == last && (int64_t)value == (int32_t)value) {
        asm_emit_known(as, (asm_arm64_insn_t) {.kind = INSN_CONSTANT, .word = word, .d = d, .value = (int32_t)value});
        return;
    }
    asm_emit(as, word);
    for (unsigned i = first + 1; i <= last; i++) {
        if (asm_halfword(value, i) != filler) {
            asm_emit(as, a64_wide(A64_MOVK, d, asm_halfword(value, i), i));
        }
    }
}

void asm_arm64_mov(asm_arm64_t *as, unsigned d, unsigned s, bool s_is_spent) {
    if (d == s) {
        return;
    }
    asm_arm64_kind_t kind = as->base.suppress ? INSN_OTHER : as->recent[0].kind;
    bool has_result = kind != INSN_OTHER && kind != INSN_OPERATOR && kind != INSN_STORE_SLOT && as->recent[0].d == s;
    if (s_is_spent && has_result) {
        // Nothing reads s any more: the value goes to d at once.
        asm_arm64_insn_t insn = asm_take_back(as);
        insn.word = (insn.word & ~31u) | d;
        insn.d = d;
        asm_emit_known(as, insn);
        return;
    }
    asm_emit_known(as, (asm_arm64_insn_t) {.kind = INSN_COPY, .word = a64_mov(d, s), .d = d, .n = s});
}

// d = n + offset, where n may be the stack pointer.
void asm_emit_add_offset(asm_arm64_t *as, a64_immediate_t op, unsigned d, unsigned n, size_t offset) {
    if (offset >> 12 != 0) {
        asm_emit_result(as, a64_imm(op, d, n, offset >> 12 & 0xfff, true));
        n = d;
    }
    if ((offset & 0xfff) != 0 || n != d) {
        asm_emit_result(as, a64_imm(op, d, n, offset & 0xfff, false));
    }
}

int asm_arm64_take_constant(asm_arm64_t *as, unsigned reg) {
    return asm_newest_sets(as, INSN_CONSTANT, reg) && as->recent[0].value >= 0 ? asm_take_back(as).value : -1;
}

void asm_compare(asm_arm64_t *as, unsigned a, unsigned b, uint32_t live) {
    int32_t value;
    if (!asm_skip_constant(as, b, a, live, &value)) {
        asm_emit(as, a64_op(A64_SUBS, A64_XZR, a, b));
    } else if (0 <= value && value < 4096) {
        asm_emit(as, a64_imm(A64_SUBS_IMM, A64_XZR, a, value, false));
    } else if (-4096 < value && value < 0) {
        asm_emit(as, a64_imm(A64_ADDS_IMM, A64_XZR, a, -value, false));
    } else {
        asm_arm64_mov_imm(as, ASM_SCRATCH, (int64_t)value);
        asm_emit(as, a64_op(A64_SUBS, A64_XZR, a, ASM_SCRATCH));
    }
}

static void emit_add_constant(asm_arm64_t *as, unsigned d, unsigned n, int32_t value) {
    uint32_t word = value < 0 ? a64_imm(A64_SUB_IMM, d, n, -value, false) : a64_imm(A64_ADD_IMM, d, n, value, false);
    asm_emit_known(as, (asm_arm64_insn_t) {.kind = INSN_ADD_CONST, .word = word, .d = d, .n = n, .value = value});
}

static bool is_shift(a64_operation_t op) {
    return op == A64_LSLV || op == A64_LSRV || op == A64_ASRV;
}

// d = n op value in one instruction, if there is such a one.
static bool emit_op_constant(asm_arm64_t *as, a64_operation_t op, unsigned d, unsigned n, int32_t value) {
    if ((op == A64_ADD || op == A64_SUB) && -4096 < value && value < 4096) {
        emit_add_constant(as, d, n, op == A64_ADD ? value : -value);
        return true;
    }
    if (!is_shift(op) || value < 0 || value > 63) {
        return false;
    }
    asm_emit_result(as, op == A64_LSLV ? a64_lsl_imm(d, n, value) : op == A64_LSRV ? a64_lsr_imm(d, n, value) : a64_asr_imm(d, n, value));
    return true;
}

void asm_arm64_op(asm_arm64_t *as, a64_operation_t op, unsigned d, unsigned m, uint32_t live) {
    unsigned n = d;
    int32_t value;
    // What d holds before is needed for this alone.
    live &= ~(1u << d);
    asm_skip_copies(as, &n, &m, live);
    if (op == A64_ADD && asm_newest_sets(as, INSN_CONSTANT, n) && n == d) {
        // A sum with a constant in its left operand: addition does not mind.
        n = m;
        m = d;
    }
    if (asm_skip_constant(as, m, n, live, &value)) {
        if (emit_op_constant(as, op, d, n, value)) {
            return;
        }
        asm_arm64_mov_imm(as, ASM_SCRATCH, (int64_t)value);
        m = ASM_SCRATCH;
    }
    asm_arm64_kind_t kind = op == A64_ADD ? INSN_ADD : INSN_RESULT;
    asm_emit_known(as, (asm_arm64_insn_t) {.kind = kind, .word = a64_op(op, d, n, m), .d = d, .n = n, .m = m});
}

void asm_arm64_not(asm_arm64_t *as, unsigned d) {
    asm_emit_result(as, a64_op(A64_ORN, d, A64_XZR, d));
}

void asm_arm64_neg(asm_arm64_t *as, unsigned d) {
    asm_emit_result(as, a64_op(A64_SUB, d, A64_XZR, d));
}

void asm_arm64_set_if(asm_arm64_t *as, unsigned condition, unsigned d, unsigned a, unsigned b, uint32_t live) {
    live &= ~(1u << d);
    asm_skip_copies(as, &a, &b, live);
    asm_compare(as, a, b, live);
    asm_emit_known(as, (asm_arm64_insn_t) {.kind = INSN_CSET, .word = a64_cset(d, condition), .d = d, .value = condition});
}
