// Prints what src/native/a64.h makes of instructions, each beside its text: a test has the text assembled.

#include <stdio.h>

#include "../src/native/a64.h"

static void show(uint32_t word, const char *text) {
    printf("%08x %s\n", word, text);
}

static void arithmetic(void) {
    show(a64_op(A64_ADD, 0, 1, 2), "add x0, x1, x2");
    show(a64_op(A64_ADD, 30, 29, 28), "add x30, x29, x28");
    show(a64_op(A64_SUB, 3, 31, 3), "neg x3, x3");
    show(a64_op(A64_SUB, 1, 19, 20), "sub x1, x19, x20");
    show(a64_op(A64_AND, 7, 8, 9), "and x7, x8, x9");
    show(a64_op(A64_ORR, 7, 8, 9), "orr x7, x8, x9");
    show(a64_op(A64_EOR, 7, 8, 9), "eor x7, x8, x9");
    show(a64_op(A64_ORN, 4, A64_XZR, 4), "mvn x4, x4");
    show(a64_op(A64_SUBS, A64_XZR, 19, 2), "cmp x19, x2");
    show(a64_op(A64_LSLV, 1, 2, 3), "lsl x1, x2, x3");
    show(a64_op(A64_LSRV, 1, 2, 3), "lsr x1, x2, x3");
    show(a64_op(A64_ASRV, 1, 2, 3), "asr x1, x2, x3");
    show(a64_op(A64_MUL, 1, 20, 21), "mul x1, x20, x21");
    show(a64_mov(19, 0), "mov x19, x0");
    show(a64_cset(0, A64_EQ), "cset x0, eq");
    show(a64_cset(5, A64_LO), "cset x5, lo");
    show(a64_cset(0, A64_GT), "cset x0, gt");
}

static void immediates(void) {
    show(a64_imm(A64_ADD_IMM, 29, A64_SP, 0, false), "mov x29, sp");
    show(a64_imm(A64_ADD_IMM, 2, 3, 4095, false), "add x2, x3, #4095");
    show(a64_imm(A64_ADD_IMM, 2, A64_SP, 1, true), "add x2, sp, #1, lsl #12");
    show(a64_imm(A64_SUB_IMM, A64_SP, A64_SP, 48, false), "sub sp, sp, #48");
    show(a64_imm(A64_SUBS_IMM, A64_XZR, 20, 100, false), "cmp x20, #100");
    show(a64_imm(A64_ADDS_IMM, A64_XZR, 20, 1, false), "cmn x20, #1");
    show(a64_lsl_imm(1, 2, 0), "lsl x1, x2, #0");
    show(a64_lsl_imm(1, 2, 1), "lsl x1, x2, #1");
    show(a64_lsl_imm(1, 2, 63), "lsl x1, x2, #63");
    show(a64_lsr_imm(1, 2, 0), "lsr x1, x2, #0");
    show(a64_lsr_imm(19, 20, 33), "lsr x19, x20, #33");
    show(a64_asr_imm(19, 20, 63), "asr x19, x20, #63");
    show(a64_wide(A64_MOVZ, 0, 0xffff, 0), "movz x0, #0xffff");
    show(a64_wide(A64_MOVZ, 16, 0x8000, 1), "movz x16, #0x8000, lsl #16");
    show(a64_wide(A64_MOVN, 17, 0x1234, 3), "movn x17, #0x1234, lsl #48");
    show(a64_wide(A64_MOVK, 5, 0xabcd, 2), "movk x5, #0xabcd, lsl #32");
}

static void memory(void) {
    show(a64_access(A64_LOAD, 0, 0, 1, 4095), "ldrb w0, [x1, #4095]");
    show(a64_access(A64_LOAD, 1, 0, 1, 3), "ldrh w0, [x1, #6]");
    show(a64_access(A64_LOAD, 2, 16, 16, 0), "ldr w16, [x16]");
    show(a64_access(A64_LOAD, 3, 0, A64_SP, 4095), "ldr x0, [sp, #32760]");
    show(a64_access(A64_STORE, 0, 2, 1, 1), "strb w2, [x1, #1]");
    show(a64_access(A64_STORE, 1, 2, 1, 1), "strh w2, [x1, #2]");
    show(a64_access(A64_STORE, 2, 2, 1, 1), "str w2, [x1, #4]");
    show(a64_access(A64_STORE, 3, A64_XZR, A64_SP, 2), "str xzr, [sp, #16]");
    show(a64_access_indexed(A64_LOAD, 0, 0, 1, 2, false), "ldrb w0, [x1, x2]");
    show(a64_access_indexed(A64_LOAD, 1, 0, 1, 2, true), "ldrh w0, [x1, x2, lsl #1]");
    show(a64_access_indexed(A64_LOAD, 2, 0, 19, 20, true), "ldr w0, [x19, x20, lsl #2]");
    show(a64_access_indexed(A64_STORE, 2, 2, 19, 1, true), "str w2, [x19, x1, lsl #2]");
    show(a64_access_indexed(A64_STORE, 3, 2, A64_SP, 16, true), "str x2, [sp, x16, lsl #3]");
    show(a64_pair(A64_STP_PRE, A64_FP, A64_LR, A64_SP, -6), "stp x29, x30, [sp, #-48]!");
    show(a64_pair(A64_STP, 19, 20, A64_SP, 2), "stp x19, x20, [sp, #16]");
    show(a64_pair(A64_LDP, 21, 22, A64_SP, 63), "ldp x21, x22, [sp, #504]");
    show(a64_pair(A64_LDP_POST, A64_FP, A64_LR, A64_SP, 6), "ldp x29, x30, [sp], #48");
}

static void branches(void) {
    show(a64_b(8), "b . + 8");
    show(a64_b(-0x8000000), "b . - 0x8000000");
    show(a64_bl(0x7fffffc), "bl . + 0x7fffffc");
    show(a64_b_cond(A64_NE, -4), "b.ne . - 4");
    show(a64_b_cond(a64_invert(A64_LT), 0xffffc), "b.ge . + 0xffffc");
    show(a64_b_cond(a64_invert(A64_HI), 0), "b.ls . + 0");
    show(a64_cbz(false, true, 0, 16), "cbz x0, . + 16");
    show(a64_cbz(true, true, 19, -0x100000), "cbnz x19, . - 0x100000");
    show(a64_cbz(false, false, 1, 16), "cbz w1, . + 16");
    show(a64_cbz(true, false, 1, 16), "cbnz w1, . + 16");
    show(a64_tbz(false, 16, 1, -0x8000), "tbz w16, #1, . - 0x8000");
    show(a64_tbz(true, 16, 31, 0x7ffc), "tbnz w16, #31, . + 0x7ffc");
    show(a64_br(19), "br x19");
    show(a64_blr(16), "blr x16");
    show(a64_ret(), "ret");
    show(a64_adr(0, 0xffffd), "adr x0, . + 0xffffd");
    show(a64_adr(19, -0x100000), "adr x19, . - 0x100000");
}

int main(void) {
    arithmetic();
    immediates();
    memory();
    branches();
    return 0;
}
