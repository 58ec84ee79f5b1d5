// Labels, branches and calls.

#include "asm_window.h"
#include "runtime.h"

// Branches on conditions reach 1 MiB. Code grows from the first pass to the next by less than four times, for
// offsets in the frame are not yet known in the first.
#define SHORT_BRANCHES_MAX (256 * 1024)

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

static void jump_if(asm_arm64_t *as, test_t test, size_t label) {
    if (reaches(as, label, 19)) {
        asm_emit(as, branch_if(test.word, distance(as, label)));
    } else {
        asm_emit(as, branch_if(test.word ^ test.invert, 8));
        asm_emit(as, a64_b(distance(as, label)));
    }
}

// As bytecode does: at every so many branches port_poll() sees to all that a program has to see to.
static void jump_back_counting(asm_arm64_t *as, size_t label) {
    asm_arm64_mov_imm(as, ASM_SCRATCH, (uintptr_t)&port_branches_to_poll);
    asm_emit(as, a64_access(A64_LOAD, 2, ASM_SCRATCH_2, ASM_SCRATCH, 0));
    asm_emit(as, a64_imm(A64_SUB_IMM, ASM_SCRATCH_2, ASM_SCRATCH_2, 1, false));
    asm_emit(as, a64_access(A64_STORE, 2, ASM_SCRATCH_2, ASM_SCRATCH, 0));
    jump_if(as, test_zero(true, false, ASM_SCRATCH_2), label);
    asm_arm64_call(as, port_poll);
    asm_emit(as, a64_b(distance(as, label)));
}

// The least that a loop has to do is to see a Ctrl-C, which the hypervisor tells by a bit of the page of information.
static void jump_back_quickly(asm_arm64_t *as, size_t label) {
    asm_arm64_mov_imm(as, ASM_SCRATCH, NATIVE_POLL_ADDRESS);
    asm_emit(as, a64_access(A64_LOAD, 2, ASM_SCRATCH, ASM_SCRATCH, 0));
    if (reaches(as, label, 14)) {
        asm_emit(as, a64_tbz(false, ASM_SCRATCH, NATIVE_POLL_BIT, distance(as, label)));
    } else {
        asm_emit(as, a64_tbz(true, ASM_SCRATCH, NATIVE_POLL_BIT, 8));
        asm_emit(as, a64_b(distance(as, label)));
    }
    asm_arm64_call(as, native_poll);
    asm_emit(as, a64_b(distance(as, label)));
}

static void jump_back(asm_arm64_t *as, size_t label) {
    if (as->viper) {
        jump_back_quickly(as, label);
    } else {
        jump_back_counting(as, label);
    }
}

// Jumps back if the test succeeds: branches over the jump if not. How long the jump is, is known once it is there.
static void jump_back_if(asm_arm64_t *as, test_t test, size_t label) {
    if (as->base.suppress) {
        return;
    }
    size_t start = as->base.code_offset;
    asm_emit(as, 0);
    jump_back(as, label);
    size_t end = as->base.code_offset;
    as->base.code_offset = start;
    asm_emit(as, branch_if(test.word ^ test.invert, end - start));
    as->base.code_offset = end;
}

void asm_arm64_jump(asm_arm64_t *as, size_t label) {
    if (is_behind(as, label)) {
        jump_back(as, label);
    } else {
        asm_emit(as, a64_b(distance(as, label)));
    }
}

void asm_arm64_jump_reg(asm_arm64_t *as, unsigned reg) {
    asm_emit(as, a64_br(reg));
}

void asm_arm64_jump_if_zero(asm_arm64_t *as, bool if_not, bool wide, unsigned reg, size_t label, uint32_t live) {
    test_t test = test_zero(if_not, wide, reg);
    if (asm_newest_sets(as, INSN_CSET, reg) && !asm_is_live(live, reg)) {
        unsigned condition = asm_take_back(as).value;
        test = test_flags(if_not ? condition : a64_invert(condition));
    }
    // Only results of Python's conditions lead back to the start of a loop. The emitter's own jump from the
    // handler of exceptions keeps its target in another register; an exception must not arise there.
    if (is_behind(as, label) && reg == NATIVE_RESULT) {
        jump_back_if(as, test, label);
    } else {
        jump_if(as, test, label);
    }
}

void asm_arm64_jump_if_equal(asm_arm64_t *as, unsigned a, unsigned b, size_t label, uint32_t live) {
    asm_compare(as, a, b, live);
    jump_if(as, test_flags(A64_EQ), label);
}

// A branch with link reaches 128 MiB: from native code to the functions that are in RAM as well.
void asm_arm64_call(asm_arm64_t *as, const void *function) {
    if (native_call_is_short(function)) {
        uintptr_t here = (uintptr_t)as->base.code_base + as->base.code_offset;
        asm_emit(as, a64_bl((uintptr_t)function - here));
    } else {
        asm_arm64_mov_imm(as, ASM_SCRATCH, (uintptr_t)function);
        asm_emit(as, a64_blr(ASM_SCRATCH));
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
        asm_take_back(as);
    }
    return op;
}

void asm_arm64_mov_label(asm_arm64_t *as, unsigned d, size_t label) {
    if (!as->far) {
        asm_emit_result(as, a64_adr(d, distance(as, label)));
        return;
    }
    // A distance of 32 bits, sign-extended by the two moves.
    int64_t offset = distance(as, label);
    asm_emit(as, a64_adr(d, 0));
    asm_emit(as, a64_wide(offset < 0 ? A64_MOVN : A64_MOVZ, ASM_SCRATCH, asm_halfword(offset < 0 ? ~offset : offset, 0), 0));
    asm_emit(as, a64_wide(A64_MOVK, ASM_SCRATCH, asm_halfword(offset, 1), 1));
    asm_emit(as, a64_op(A64_ADD, d, d, ASM_SCRATCH));
}

void asm_arm64_label_assign(asm_arm64_t *as, size_t label) {
    mp_asm_base_label_assign(&as->base, label);
    asm_forget_all(as);
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
