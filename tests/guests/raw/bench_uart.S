// Measures reads of the UART's flag register, which the hypervisor emulates. Prints `figure uart_read TICKS COUNT`.
//
// A raw program for the `virt` machine.

    .equ UART, 0x09000000
    .equ UART_FR, 0x18
    .equ SYSTEM_OFF, 0x84000008
    .equ COUNT, 4096

    .global _start
_start:
    ldr x0, =UART
    mov x2, #COUNT
    isb
    mrs x3, cntvct_el0
1:  ldr w1, [x0, #UART_FR]
    subs x2, x2, #1
    b.ne 1b
    isb
    mrs x4, cntvct_el0
    sub x3, x4, x3

    adr x1, count
    bl write_decimal
    adr x1, line
    bl print
    ldr x0, =SYSTEM_OFF
    hvc #0

#include "print.inc"

line:
    .ascii "figure uart_read "
    .space 20, ' '
count:
    .asciz " 4096\n"
