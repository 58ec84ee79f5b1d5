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

    // The digits in front of the count, the last one first.
    adr x1, count
    mov x5, #10
2:  udiv x6, x3, x5
    msub x7, x6, x5, x3
    add w7, w7, #'0'
    strb w7, [x1, #-1]!
    mov x3, x6
    cbnz x3, 2b

    adr x1, line
3:  ldrb w3, [x1], #1
    cbz w3, 5f
4:  ldr w4, [x0, #UART_FR]
    tbnz w4, #5, 4b             // transmit FIFO full
    strb w3, [x0]
    b 3b
5:  ldr x0, =SYSTEM_OFF
    hvc #0

line:
    .ascii "figure uart_read "
    .space 20, ' '
count:
    .asciz " 4096\n"
