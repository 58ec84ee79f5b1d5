// A raw program for the `virt` machine: it finds its device tree, prints through the UART, turns its second vCPU on
// by PSCI, and turns the machine off.

    .equ UART, 0x09000000
    .equ CPU_ON, 0xc4000003
    .equ CPU_OFF, 0x84000002
    .equ SYSTEM_OFF, 0x84000008

    .global _start
_start:
    // The device tree's magic number, big endian.
    ldr w1, [x0]
    ldr w2, =0xedfe0dd0
    cmp w1, w2
    b.ne wrong
    adr x1, tree
    bl print

    // CPU_ON by SMC: vCPU 1, at `second`, with 7 in X0.
    ldr x0, =CPU_ON
    mov x1, #1
    adr x2, second
    mov x3, #7
    smc #0
    cbnz x0, wrong

    adr x4, done
wait:
    ldr w5, [x4]
    cbz w5, wait

    ldr x0, =SYSTEM_OFF
    hvc #0

second:
    cmp x0, #7
    b.ne wrong
    adr x1, turned_on
    bl print
    mov w5, #1
    adr x4, done
    str w5, [x4]
    ldr x0, =CPU_OFF
    hvc #0

wrong:
    adr x1, failed
    bl print
    ldr x0, =SYSTEM_OFF
    hvc #0

#include "print.inc"

tree:
    .asciz "device tree\n"
turned_on:
    .asciz "second vCPU\n"
failed:
    .asciz "FAIL\n"
    .balign 4
done:
    .word 0
    .balign 8
    .ltorg
