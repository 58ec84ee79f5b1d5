// Frames, their slots, and other memory.

#include "asm_window.h"
#include "runtime.h"

// What of a frame does not depend on the function: X29, X30, and the callee-saved registers that the emitter uses.
#define SAVED_BYTES (48)
#define FIRST_SAVED (19)

// A frame that is larger than what upstream's check of the stack leaves for it is checked for itself, before
// the function has changed anything.
static void emit_stack_check(asm_arm64_t *as, size_t bytes) {
    asm_emit(as, a64_pair(A64_STP_PRE, A64_FP, A64_LR, A64_SP, -6));
    asm_emit(as, a64_pair(A64_STP, 0, 1, A64_SP, 2));
    asm_emit(as, a64_pair(A64_STP, 2, 3, A64_SP, 4));
    asm_arm64_mov_imm(as, 0, bytes);
    asm_arm64_call(as, native_check_stack);
    asm_emit(as, a64_pair(A64_LDP, 2, 3, A64_SP, 4));
    asm_emit(as, a64_pair(A64_LDP, 0, 1, A64_SP, 2));
    asm_emit(as, a64_pair(A64_LDP_POST, A64_FP, A64_LR, A64_SP, 6));
}

void asm_arm64_entry(asm_arm64_t *as, size_t slots, bool viper) {
    asm_forget_all(as);
    as->viper = viper;
    size_t bytes = (slots * sizeof(uint64_t) + 15) & ~(size_t)15;
    if (bytes > NATIVE_FRAME_UNCHECKED) {
        emit_stack_check(as, bytes);
    }
    asm_emit(as, a64_pair(A64_STP_PRE, A64_FP, A64_LR, A64_SP, -SAVED_BYTES / 8));
    asm_emit(as, a64_pair(A64_STP, FIRST_SAVED, FIRST_SAVED + 1, A64_SP, 2));
    asm_emit(as, a64_pair(A64_STP, FIRST_SAVED + 2, FIRST_SAVED + 3, A64_SP, 4));
    asm_emit(as, a64_imm(A64_ADD_IMM, A64_FP, A64_SP, 0, false));
    if (bytes != 0) {
        asm_emit_add_offset(as, A64_SUB_IMM, A64_SP, A64_SP, bytes);
    }
}

// Upstream's emitter goes on after this: with other parts of the function, and with data.
void asm_arm64_exit(asm_arm64_t *as) {
    asm_emit(as, a64_imm(A64_ADD_IMM, A64_SP, A64_FP, 0, false));
    asm_emit(as, a64_pair(A64_LDP, FIRST_SAVED + 2, FIRST_SAVED + 3, A64_SP, 4));
    asm_emit(as, a64_pair(A64_LDP, FIRST_SAVED, FIRST_SAVED + 1, A64_SP, 2));
    asm_emit(as, a64_pair(A64_LDP_POST, A64_FP, A64_LR, A64_SP, SAVED_BYTES / 8));
    asm_emit(as, a64_ret());
}

void asm_arm64_access(asm_arm64_t *as, a64_access_t access, unsigned size, unsigned t, unsigned base, size_t offset) {
    uint32_t word;
    if (offset < 4096) {
        word = a64_access(access, size, t, base, offset);
    } else {
        asm_arm64_mov_imm(as, ASM_SCRATCH, offset);
        word = a64_access_indexed(access, size, t, base, ASM_SCRATCH, true);
    }
    if (access == A64_LOAD) {
        asm_emit_result(as, word);
    } else {
        asm_emit(as, word);
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
        *n = asm_take_back(as).n;
    }
    return true;
}

void asm_arm64_access_sum(asm_arm64_t *as, a64_access_t access, unsigned size, unsigned t, unsigned base, uint32_t live) {
    unsigned n = base;
    unsigned m;
    size_t offset = 0;
    // The base is not needed any more if it is loaded itself, and must not be folded if it is stored.
    bool is_spent = !as->base.suppress && (access == A64_LOAD ? t == base || !asm_is_live(live, base) : t != base && !asm_is_live(live, base));
    if (is_spent && take_index(as, size, base, &n, &m)) {
        uint32_t word = a64_access_indexed(access, size, t, n, m, true);
        if (access == A64_LOAD) {
            asm_emit_result(as, word);
        } else {
            asm_emit(as, word);
        }
        return;
    }
    const asm_arm64_insn_t *sum = &as->recent[0];
    if (is_spent && asm_newest_sets(as, INSN_ADD_CONST, base) && sum->value >= 0 && sum->value % (1 << size) == 0) {
        asm_arm64_insn_t insn = asm_take_back(as);
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
        asm_emit_known(as, (asm_arm64_insn_t) {.kind = INSN_LOAD_SLOT, .word = word, .d = d, .n = A64_SP, .value = slot});
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
        asm_emit_known(as, (asm_arm64_insn_t) {.kind = INSN_STORE_SLOT, .word = word, .d = s, .n = A64_SP, .value = slot});
    } else {
        asm_arm64_access(as, A64_STORE, 3, s, A64_SP, slot);
    }
}

void asm_arm64_slot_address(asm_arm64_t *as, unsigned d, unsigned slot) {
    asm_emit_add_offset(as, A64_ADD_IMM, d, A64_SP, slot * sizeof(uint64_t));
}
