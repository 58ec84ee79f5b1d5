// The first demonstration guest: greets, counts, and ends its VM.
//
// A raw program for the `tiny` machine: loaded and entered at 0x10000. X0 holds the number of a
// hypercall and X1 its argument; `hvc #0` changes X0 only, to the result.

    .equ EXIT, 0
    .equ PUTCHAR, 1
    .equ PUTS, 2

    .equ COUNT, 5

    .global _start
_start:
    mov x0, #PUTS
    adr x1, hello
    hvc #0

    mov x19, #0
next:
    mov x0, #PUTS
    adr x1, counter
    hvc #0
    mov x0, #PUTCHAR
    add x1, x19, #'0'
    hvc #0
    mov x0, #PUTCHAR
    mov x1, #'\n'
    hvc #0
    add x19, x19, #1
    cmp x19, #COUNT
    b.ne next

    mov x0, #EXIT
    mov x1, #0
    hvc #0

hello:
    .asciz "Hello\n"
counter:
    .asciz "counter "
