// Linux' first program: prints how far the counter is, as `figure linux_boot TICKS 1`, and powers off.
//
// A whole ELF file, header included, for the address that flat binaries are linked at.

    .equ BASE, 0x10000
    .equ STDOUT, 1
    .equ WRITE, 64              // system calls
    .equ REBOOT, 142
    .equ MAGIC1, 0xfee1dead
    .equ MAGIC2, 0x28121969
    .equ POWER_OFF, 0x4321fedc

header:
    .byte 0x7f, 'E', 'L', 'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0
    .hword 2, 183               // a program, for AArch64
    .word 1
    .quad BASE + (start - header), segment - header, 0
    .word 0
    .hword 64, 56, 1, 0, 0, 0
segment:
    .word 1, 7                  // to be loaded; read, write, execute
    .quad 0, BASE, BASE, end - header, end - header, 0x1000

start:
    mrs x3, cntvct_el0
    // The digits in front of the count, the last one first.
    adr x1, count
    mov x5, #10
1:  udiv x6, x3, x5
    msub x7, x6, x5, x3
    add w7, w7, #'0'
    strb w7, [x1, #-1]!
    mov x3, x6
    cbnz x3, 1b

    mov x0, #STDOUT
    adr x1, line
    mov x2, #(end - line)
    mov x8, #WRITE
    svc #0
    ldr w0, =MAGIC1
    ldr w1, =MAGIC2
    ldr w2, =POWER_OFF
    mov x8, #REBOOT
    svc #0
    .ltorg

line:
    .ascii "\nfigure linux_boot "
    .space 20, ' '
count:
    .ascii " 1\n"
end:
