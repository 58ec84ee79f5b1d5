#include <string.h>

#include "asm_window.h"

static void remember(asm_arm64_t *as, asm_arm64_insn_t insn) {
    memmove(as->recent + 1, as->recent, sizeof(as->recent) - sizeof(as->recent[0]));
    as->recent[0] = insn;
}

void asm_forget_all(asm_arm64_t *as) {
    memset(as->recent, 0, sizeof(as->recent));
}

void asm_emit_known(asm_arm64_t *as, asm_arm64_insn_t insn) {
    if (as->base.suppress) {
        return;
    }
    uint8_t *place = mp_asm_base_get_cur_to_write_bytes(&as->base, sizeof(insn.word));
    if (place != NULL) {
        memcpy(place, &insn.word, sizeof(insn.word));
    }
    remember(as, insn);
}

void asm_emit(asm_arm64_t *as, uint32_t word) {
    asm_emit_known(as, (asm_arm64_insn_t) {.kind = INSN_OTHER, .word = word});
}

void asm_emit_result(asm_arm64_t *as, uint32_t word) {
    asm_emit_known(as, (asm_arm64_insn_t) {.kind = INSN_RESULT, .word = word, .d = word & 31});
}

asm_arm64_insn_t asm_take_back(asm_arm64_t *as) {
    asm_arm64_insn_t insn = as->recent[0];
    as->base.code_offset -= sizeof(insn.word);
    memmove(as->recent, as->recent + 1, sizeof(as->recent) - sizeof(as->recent[0]));
    as->recent[ASM_ARM64_WINDOW - 1] = (asm_arm64_insn_t) {.kind = INSN_OTHER};
    return insn;
}

bool asm_newest_sets(asm_arm64_t *as, asm_arm64_kind_t kind, unsigned reg) {
    return !as->base.suppress && as->recent[0].kind == kind && as->recent[0].d == reg;
}

bool asm_is_live(uint32_t live, unsigned reg) {
    return live >> reg & 1;
}

// Takes back a copy into an operand that is needed for nothing else, and names its source instead. Both
// operands may be the same register.
static bool skip_copy(asm_arm64_t *as, unsigned *operand, unsigned *other, uint32_t live) {
    if (!asm_newest_sets(as, INSN_COPY, *operand) || asm_is_live(live, *operand)) {
        return false;
    }
    asm_arm64_insn_t copy = asm_take_back(as);
    if (*other == *operand) {
        *other = copy.n;
    }
    *operand = copy.n;
    return true;
}

void asm_skip_copies(asm_arm64_t *as, unsigned *a, unsigned *b, uint32_t live) {
    while (skip_copy(as, a, b, live) || skip_copy(as, b, a, live)) {
    }
}

bool asm_skip_constant(asm_arm64_t *as, unsigned operand, unsigned other, uint32_t live, int32_t *value) {
    if (asm_is_live(live, operand) || operand == other) {
        return false;
    }
    if (asm_newest_sets(as, INSN_CONSTANT, operand)) {
        *value = asm_take_back(as).value;
        return true;
    }
    bool loads_other = asm_newest_sets(as, INSN_LOAD_SLOT, other) || asm_newest_sets(as, INSN_COPY, other);
    const asm_arm64_insn_t *before = &as->recent[1];
    if (!loads_other || as->recent[0].n == operand || before->kind != INSN_CONSTANT || before->d != operand) {
        return false;
    }
    asm_arm64_insn_t load = asm_take_back(as);
    *value = asm_take_back(as).value;
    asm_emit_known(as, load);
    return true;
}
