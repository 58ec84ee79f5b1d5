#include <string.h>

#include "py/mpconfig.h"

#include "asm_arm64.h"
#include "runtime.h"

// Free for any use between two steps of the emitter: X16 and X17 are not kept over calls (AAPCS64).
#define SCRATCH (16)

// What of a frame does not depend on the function: X29, X30, and the callee-saved registers that the emitter uses.
#define SAVED_BYTES (48)
#define FIRST_SAVED (19)

// Branches on conditions reach 1 MiB. Code grows from the first pass to the next by less than four times, for
// offsets in the frame are not yet known in the first.
#define SHORT_BRANCHES_MAX (256 * 1024)

// ---- Instructions, and what is remembered of them

static void remember(asm_arm64_t *as, asm_arm64_insn_t insn) {
    memmove(as->recent + 1, as->recent, sizeof(as->recent) - sizeof(as->recent[0]));
    as->recent[0] = insn;
}

static void forget_all(asm_arm64_t *as) {
    memset(as->recent, 0, sizeof(as->recent));
}

static void emit_known(asm_arm64_t *as, asm_arm64_insn_t insn) {
    if (as->base.suppress) {
        return;
    }
    uint8_t *place = mp_asm_base_get_cur_to_write_bytes(&as->base, sizeof(insn.word));
    if (place != NULL) {
        memcpy(place, &insn.word, sizeof(insn.word));
    }
    remember(as, insn);
}

// An instruction after which nothing is known.
static void emit(asm_arm64_t *as, uint32_t word) {
    emit_known(as, (asm_arm64_insn_t) {.kind = INSN_OTHER, .word = word});
}

// An instruction that changes nothing but its destination.
static void emit_result(asm_arm64_t *as, uint32_t word) {
    emit_known(as, (asm_arm64_insn_t) {.kind = INSN_RESULT, .word = word, .d = word & 31});
}

// Takes the newest instruction back.
static asm_arm64_insn_t take_back(asm_arm64_t *as) {
    asm_arm64_insn_t insn = as->recent[0];
    as->base.code_offset -= sizeof(insn.word);
    memmove(as->recent, as->recent + 1, sizeof(as->recent) - sizeof(as->recent[0]));
    as->recent[ASM_ARM64_WINDOW - 1] = (asm_arm64_insn_t) {.kind = INSN_OTHER};
    return insn;
}

static bool newest_sets(asm_arm64_t *as, asm_arm64_kind_t kind, unsigned reg) {
    return !as->base.suppress && as->recent[0].kind == kind && as->recent[0].d == reg;
}

static bool is_live(uint32_t live, unsigned reg) {
    return live >> reg & 1;
}

// Takes back a copy into an operand that is needed for nothing else, and names its source instead. Both
// operands may be the same register.
static bool skip_copy(asm_arm64_t *as, unsigned *operand, unsigned *other, uint32_t live) {
    if (!newest_sets(as, INSN_COPY, *operand) || is_live(live, *operand)) {
        return false;
    }
    asm_arm64_insn_t copy = take_back(as);
    if (*other == *operand) {
        *other = copy.n;
    }
    *operand = copy.n;
    return true;
}

static void skip_copies(asm_arm64_t *as, unsigned *a, unsigned *b, uint32_t live) {
    while (skip_copy(as, a, b, live) || skip_copy(as, b, a, live)) {
    }
}

// Takes back what loads a constant into an operand, even from before an instruction that loads the other one.
static bool skip_constant(asm_arm64_t *as, unsigned operand, unsigned other, uint32_t live, int32_t *value) {
    if (is_live(live, operand) || operand == other) {
        return false;
    }
    if (newest_sets(as, INSN_CONSTANT, operand)) {
        *value = take_back(as).value;
        return true;
    }
    bool loads_other = newest_sets(as, INSN_LOAD_SLOT, other) || newest_sets(as, INSN_COPY, other);
    const asm_arm64_insn_t *before = &as->recent[1];
    if (!loads_other || as->recent[0].n == operand || before->kind != INSN_CONSTANT || before->d != operand) {
        return false;
    }
    asm_arm64_insn_t load = take_back(as);
    *value = take_back(as).value;
    emit_known(as, load);
    return true;
}

// ---- Constants and addresses

static unsigned halfword(uint64_t value, unsigned index) {
    return value >> 16 * index & 0xffff;
}

void asm_arm64_mov_imm(asm_arm64_t *as, unsigned d, uint64_t value) {
    // What the first move leaves in the halfwords that it does not set.
    unsigned filler = (int64_t)value < 0 ? 0xffff : 0;
    a64_wide_t move = filler == 0 ? A64_MOVZ : A64_MOVN;
    unsigned first = 0;
    unsigned last = 0;
    for (unsigned i = 0; i < 4; i++) {
        if (halfword(value, i) != filler) {
            first = last == 0 && halfword(value, first) == filler ? i : first;
            last = i;
        }
    }
    uint32_t word = a64_wide(move, d, halfword(value, first) ^ filler, first);
    if (first == last && (int64_t)value == (int32_t)value) {
        emit_known(as, (asm_arm64_insn_t) {.kind = INSN_CONSTANT, .word = word, .d = d, .value = (int32_t)value});
        return;
    }
    emit(as, word);
    for (unsigned i = first + 1; i <= last; i++) {
        if (halfword(value, i) != filler) {
            emit(as, a64_wide(A64_MOVK, d, halfword(value, i), i));
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
        asm_arm64_insn_t insn = take_back(as);
        insn.word = (insn.word & ~31u) | d;
        insn.d = d;
        emit_known(as, insn);
        return;
    }
    emit_known(as, (asm_arm64_insn_t) {.kind = INSN_COPY, .word = a64_mov(d, s), .d = d, .n = s});
}

// d = n + offset, where n may be the stack pointer.
static void emit_add_offset(asm_arm64_t *as, a64_immediate_t op, unsigned d, unsigned n, size_t offset) {
    if (offset >> 12 != 0) {
        emit_result(as, a64_imm(op, d, n, offset >> 12 & 0xfff, true));
        n = d;
    }
    if ((offset & 0xfff) != 0 || n != d) {
        emit_result(as, a64_imm(op, d, n, offset & 0xfff, false));
    }
}

int asm_arm64_take_constant(asm_arm64_t *as, unsigned reg) {
    return newest_sets(as, INSN_CONSTANT, reg) && as->recent[0].value >= 0 ? take_back(as).value : -1;
}

// ---- Branches

// Whether the label stands before this place, so that its distance is final.
static bool is_behind(asm_arm64_t *as, size_t label) {
    return as->base.label_offsets[label] <= as->base.code_offset;
}

static int64_t distance(asm_arm64_t *as, size_t label) {
    return (int64_t)as->base.label_offsets[label] - (int64_t)as->base.code_offset;
}

static bool reaches(asm_arm64_t *as, size_t label, unsigned width) {
    return is_behind(as, label) ? a64_fits(distance(as, label) >> 2, width) : !as->far;
}

// Where a condition stands in the branches that test one.
typedef struct {
    uint32_t word;   // without its offset
    uint32_t invert; // what makes the opposite of it
} test_t;

static test_t test_flags(unsigned condition) {
    return (test_t) {a64_b_cond(condition, 0), a64_b_cond(condition, 0) ^ a64_b_cond(a64_invert(condition), 0)};
}

static test_t test_zero(bool if_not, bool wide, unsigned reg) {
    return (test_t) {a64_cbz(if_not, wide, reg, 0), a64_cbz(true, false, 0, 0) ^ a64_cbz(false, false, 0, 0)};
}

static uint32_t branch_if(uint32_t word, int64_t offset) {
    return word | a64_field(offset >> 2, 19, 5);
}

static void jump_ahead_if(asm_arm64_t *as, test_t test, size_t label) {
    if (reaches(as, label, 19)) {
        emit(as, branch_if(test.word, distance(as, label)));
    } else {
        emit(as, branch_if(test.word ^ test.invert, 8));
        emit(as, a64_b(distance(as, label)));
    }
}

// A loop has to see a Ctrl-C, which the hypervisor tells by a bit of the page of information.
static void jump_back(asm_arm64_t *as, size_t label) {
    asm_arm64_mov_imm(as, SCRATCH, NATIVE_POLL_ADDRESS);
    emit(as, a64_access(A64_LOAD, 2, SCRATCH, SCRATCH, 0));
    if (reaches(as, label, 14)) {
        emit(as, a64_tbz(false, SCRATCH, NATIVE_POLL_BIT, distance(as, label)));
    } else {
        emit(as, a64_tbz(true, SCRATCH, NATIVE_POLL_BIT, 8));
        emit(as, a64_b(distance(as, label)));
    }
    asm_arm64_call(as, native_poll);
    emit(as, a64_b(distance(as, label)));
}

// Jumps back if the test succeeds: branches over the jump if not. How long the jump is, is known once it is there.
static void jump_back_if(asm_arm64_t *as, test_t test, size_t label) {
    if (as->base.suppress) {
        return;
    }
    size_t start = as->base.code_offset;
    emit(as, 0);
    jump_back(as, label);
    size_t end = as->base.code_offset;
    as->base.code_offset = start;
    emit(as, branch_if(test.word ^ test.invert, end - start));
    as->base.code_offset = end;
}

void asm_arm64_jump(asm_arm64_t *as, size_t label) {
    if (is_behind(as, label)) {
        jump_back(as, label);
    } else {
        emit(as, a64_b(distance(as, label)));
    }
}

void asm_arm64_jump_reg(asm_arm64_t *as, unsigned reg) {
    emit(as, a64_br(reg));
}

void asm_arm64_jump_if_zero(asm_arm64_t *as, bool if_not, bool wide, unsigned reg, size_t label, uint32_t live) {
    test_t test = test_zero(if_not, wide, reg);
    if (newest_sets(as, INSN_CSET, reg) && !is_live(live, reg)) {
        unsigned condition = take_back(as).value;
        test = test_flags(if_not ? condition : a64_invert(condition));
    }
    // Only results of Python's conditions lead back to the start of a loop. The emitter's own jump from the
    // handler of exceptions keeps its target in another register; an exception must not arise there.
    if (is_behind(as, label) && reg == NATIVE_RESULT) {
        jump_back_if(as, test, label);
    } else {
        jump_ahead_if(as, test, label);
    }
}

static void compare(asm_arm64_t *as, unsigned a, unsigned b, uint32_t live) {
    int32_t value;
    if (!skip_constant(as, b, a, live, &value)) {
        emit(as, a64_op(A64_SUBS, A64_XZR, a, b));
    } else if (0 <= value && value < 4096) {
        emit(as, a64_imm(A64_SUBS_IMM, A64_XZR, a, value, false));
    } else if (-4096 < value && value < 0) {
        emit(as, a64_imm(A64_ADDS_IMM, A64_XZR, a, -value, false));
    } else {
        asm_arm64_mov_imm(as, SCRATCH, (int64_t)value);
        emit(as, a64_op(A64_SUBS, A64_XZR, a, SCRATCH));
    }
}

void asm_arm64_jump_if_equal(asm_arm64_t *as, unsigned a, unsigned b, size_t label, uint32_t live) {
    compare(as, a, b, live);
    jump_ahead_if(as, test_flags(A64_EQ), label);
}

// Code and its callees lie in the RAM of the VM: a branch with link reaches 128 MiB of it.
void asm_arm64_call(asm_arm64_t *as, const void *function) {
    if (native_calls_are_short()) {
        uintptr_t here = (uintptr_t)as->base.code_base + as->base.code_offset;
        emit(as, a64_bl((uintptr_t)function - here));
    } else {
        asm_arm64_mov_imm(as, SCRATCH, (uintptr_t)function);
        emit(as, a64_blr(SCRATCH));
    }
}

void asm_arm64_call_operator(asm_arm64_t *as, const void *function, int op) {
    size_t start = as->base.code_offset;
    asm_arm64_call(as, function);
    if (!as->base.suppress) {
        as->recent[0].kind = INSN_OPERATOR;
        as->recent[0].value = op;
        as->recent[0].n = (as->base.code_offset - start) / sizeof(uint32_t);
    }
}

int asm_arm64_take_operator(asm_arm64_t *as) {
    if (as->base.suppress || as->recent[0].kind != INSN_OPERATOR) {
        return -1;
    }
    int op = as->recent[0].value;
    for (unsigned count = as->recent[0].n; count != 0; count--) {
        take_back(as);
    }
    return op;
}

void asm_arm64_mov_label(asm_arm64_t *as, unsigned d, size_t label) {
    if (!as->far) {
        emit_result(as, a64_adr(d, distance(as, label)));
        return;
    }
    // A distance of 32 bits, sign-extended by the two moves.
    int64_t offset = distance(as, label);
    emit(as, a64_adr(d, 0));
    emit(as, a64_wide(offset < 0 ? A64_MOVN : A64_MOVZ, SCRATCH, halfword(offset < 0 ? ~offset : offset, 0), 0));
    emit(as, a64_wide(A64_MOVK, SCRATCH, halfword(offset, 1), 1));
    emit(as, a64_op(A64_ADD, d, d, SCRATCH));
}

void asm_arm64_label_assign(asm_arm64_t *as, size_t label) {
    mp_asm_base_label_assign(&as->base, label);
    forget_all(as);
}

// ---- Frames

// A frame that is larger than what upstream's check of the stack leaves for it is checked for itself, before
// the function has changed anything.
static void emit_stack_check(asm_arm64_t *as, size_t bytes) {
    emit(as, a64_pair(A64_STP_PRE, A64_FP, A64_LR, A64_SP, -6));
    emit(as, a64_pair(A64_STP, 0, 1, A64_SP, 2));
    emit(as, a64_pair(A64_STP, 2, 3, A64_SP, 4));
    asm_arm64_mov_imm(as, 0, bytes);
    asm_arm64_call(as, native_check_stack);
    emit(as, a64_pair(A64_LDP, 2, 3, A64_SP, 4));
    emit(as, a64_pair(A64_LDP, 0, 1, A64_SP, 2));
    emit(as, a64_pair(A64_LDP_POST, A64_FP, A64_LR, A64_SP, 6));
}

void asm_arm64_entry(asm_arm64_t *as, size_t slots) {
    forget_all(as);
    size_t bytes = (slots * sizeof(uint64_t) + 15) & ~(size_t)15;
    if (bytes > NATIVE_FRAME_UNCHECKED) {
        emit_stack_check(as, bytes);
    }
    emit(as, a64_pair(A64_STP_PRE, A64_FP, A64_LR, A64_SP, -SAVED_BYTES / 8));
    emit(as, a64_pair(A64_STP, FIRST_SAVED, FIRST_SAVED + 1, A64_SP, 2));
    emit(as, a64_pair(A64_STP, FIRST_SAVED + 2, FIRST_SAVED + 3, A64_SP, 4));
    emit(as, a64_imm(A64_ADD_IMM, A64_FP, A64_SP, 0, false));
    if (bytes != 0) {
        emit_add_offset(as, A64_SUB_IMM, A64_SP, A64_SP, bytes);
    }
}

// Upstream's emitter goes on after this: with other parts of the function, and with data.
void asm_arm64_exit(asm_arm64_t *as) {
    emit(as, a64_imm(A64_ADD_IMM, A64_SP, A64_FP, 0, false));
    emit(as, a64_pair(A64_LDP, FIRST_SAVED + 2, FIRST_SAVED + 3, A64_SP, 4));
    emit(as, a64_pair(A64_LDP, FIRST_SAVED, FIRST_SAVED + 1, A64_SP, 2));
    emit(as, a64_pair(A64_LDP_POST, A64_FP, A64_LR, A64_SP, SAVED_BYTES / 8));
    emit(as, a64_ret());
}

// The first pass decides on the branches: what the second finds out has to hold in the last.
void asm_arm64_end_pass(asm_arm64_t *as) {
    if (as->base.pass == MP_ASM_PASS_EMIT) {
        as->passes = 0;
        as->far = false;
    } else if (as->passes++ == 0) {
        as->far = as->base.code_offset > SHORT_BRANCHES_MAX;
    }
}

// ---- Memory

void asm_arm64_access(asm_arm64_t *as, a64_access_t access, unsigned size, unsigned t, unsigned base, size_t offset) {
    uint32_t word;
    if (offset < 4096) {
        word = a64_access(access, size, t, base, offset);
    } else {
        asm_arm64_mov_imm(as, SCRATCH, offset);
        word = a64_access_indexed(access, size, t, base, SCRATCH, true);
    }
    if (access == A64_LOAD) {
        emit_result(as, word);
    } else {
        emit(as, word);
    }
}

// The sum base + index, as often as the access has bytes, is an indexed address.
static bool take_index(asm_arm64_t *as, unsigned size, unsigned base, unsigned *n, unsigned *m) {
    unsigned additions = 1 << size;
    *m = as->recent[0].m;
    for (unsigned i = 0; i < additions; i++) {
        const asm_arm64_insn_t *insn = &as->recent[i];
        bool first = i == additions - 1;
        if (insn->kind != INSN_ADD || insn->d != base || insn->m != *m || (!first && insn->n != base)) {
            return false;
        }
    }
    if (*m == base) {
        return false;
    }
    for (unsigned i = 0; i < additions; i++) {
        *n = take_back(as).n;
    }
    return true;
}

void asm_arm64_access_sum(asm_arm64_t *as, a64_access_t access, unsigned size, unsigned t, unsigned base, uint32_t live) {
    unsigned n = base;
    unsigned m;
    size_t offset = 0;
    // The base is not needed any more if it is loaded itself, and must not be folded if it is stored.
    bool is_spent = !as->base.suppress && (access == A64_LOAD ? t == base || !is_live(live, base) : t != base && !is_live(live, base));
    if (is_spent && take_index(as, size, base, &n, &m)) {
        uint32_t word = a64_access_indexed(access, size, t, n, m, true);
        if (access == A64_LOAD) {
            emit_result(as, word);
        } else {
            emit(as, word);
        }
        return;
    }
    const asm_arm64_insn_t *sum = &as->recent[0];
    if (is_spent && newest_sets(as, INSN_ADD_CONST, base) && sum->value >= 0 && sum->value % (1 << size) == 0) {
        asm_arm64_insn_t insn = take_back(as);
        n = insn.n;
        offset = insn.value >> size;
    }
    asm_arm64_access(as, access, size, t, n, offset);
}

void asm_arm64_load_slot(asm_arm64_t *as, unsigned d, unsigned slot) {
    const asm_arm64_insn_t *newest = &as->recent[0];
    if (!as->base.suppress && newest->kind == INSN_STORE_SLOT && newest->value == (int32_t)slot) {
        // Not the emitter's last word on the register that was stored.
        asm_arm64_mov(as, d, newest->d, false);
        return;
    }
    if (slot < 4096) {
        uint32_t word = a64_access(A64_LOAD, 3, d, A64_SP, slot);
        emit_known(as, (asm_arm64_insn_t) {.kind = INSN_LOAD_SLOT, .word = word, .d = d, .n = A64_SP, .value = slot});
    } else {
        asm_arm64_access(as, A64_LOAD, 3, d, A64_SP, slot);
    }
}

// Whether the slot holds what the register does, since the one was loaded from the other.
static bool holds_already(asm_arm64_t *as, unsigned slot, unsigned s) {
    for (size_t i = 0; i < ASM_ARM64_WINDOW && !as->base.suppress; i++) {
        const asm_arm64_insn_t *insn = &as->recent[i];
        bool same_slot = insn->value == (int32_t)slot;
        if (insn->kind == INSN_LOAD_SLOT && same_slot && insn->d == s) {
            return true;
        }
        if (insn->kind == INSN_OTHER || insn->kind == INSN_OPERATOR || (insn->kind == INSN_STORE_SLOT ? same_slot : insn->d == s)) {
            return false;
        }
    }
    return false;
}

void asm_arm64_store_slot(asm_arm64_t *as, unsigned slot, unsigned s) {
    if (holds_already(as, slot, s)) {
        return;
    }
    if (slot < 4096) {
        uint32_t word = a64_access(A64_STORE, 3, s, A64_SP, slot);
        emit_known(as, (asm_arm64_insn_t) {.kind = INSN_STORE_SLOT, .word = word, .d = s, .n = A64_SP, .value = slot});
    } else {
        asm_arm64_access(as, A64_STORE, 3, s, A64_SP, slot);
    }
}

void asm_arm64_slot_address(asm_arm64_t *as, unsigned d, unsigned slot) {
    emit_add_offset(as, A64_ADD_IMM, d, A64_SP, slot * sizeof(uint64_t));
}

// ---- Arithmetic

static void emit_add_constant(asm_arm64_t *as, unsigned d, unsigned n, int32_t value) {
    uint32_t word = value < 0 ? a64_imm(A64_SUB_IMM, d, n, -value, false) : a64_imm(A64_ADD_IMM, d, n, value, false);
    emit_known(as, (asm_arm64_insn_t) {.kind = INSN_ADD_CONST, .word = word, .d = d, .n = n, .value = value});
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
    emit_result(as, op == A64_LSLV ? a64_lsl_imm(d, n, value) : op == A64_LSRV ? a64_lsr_imm(d, n, value) : a64_asr_imm(d, n, value));
    return true;
}

void asm_arm64_op(asm_arm64_t *as, a64_operation_t op, unsigned d, unsigned m, uint32_t live) {
    unsigned n = d;
    int32_t value;
    // What d holds before is needed for this alone.
    live &= ~(1u << d);
    skip_copies(as, &n, &m, live);
    if (op == A64_ADD && newest_sets(as, INSN_CONSTANT, n) && n == d) {
        // A sum with a constant in its left operand: addition does not mind.
        n = m;
        m = d;
    }
    if (skip_constant(as, m, n, live, &value)) {
        if (emit_op_constant(as, op, d, n, value)) {
            return;
        }
        asm_arm64_mov_imm(as, SCRATCH, (int64_t)value);
        m = SCRATCH;
    }
    asm_arm64_kind_t kind = op == A64_ADD ? INSN_ADD : INSN_RESULT;
    emit_known(as, (asm_arm64_insn_t) {.kind = kind, .word = a64_op(op, d, n, m), .d = d, .n = n, .m = m});
}

void asm_arm64_not(asm_arm64_t *as, unsigned d) {
    emit_result(as, a64_op(A64_ORN, d, A64_XZR, d));
}

void asm_arm64_neg(asm_arm64_t *as, unsigned d) {
    emit_result(as, a64_op(A64_SUB, d, A64_XZR, d));
}

void asm_arm64_set_if(asm_arm64_t *as, unsigned condition, unsigned d, unsigned a, unsigned b, uint32_t live) {
    live &= ~(1u << d);
    skip_copies(as, &a, &b, live);
    compare(as, a, b, live);
    emit_known(as, (asm_arm64_insn_t) {.kind = INSN_CSET, .word = a64_cset(d, condition), .d = d, .value = condition});
}
