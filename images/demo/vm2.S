// The second demonstration guest: its first vCPU adds the even numbers below ten and prints the sum, 20;
// its second one adds the odd numbers, and prints 25.
//
// Raw programs for the `tiny` machine, one for each vCPU, entered where the manifest says. X0 holds the number of a
// hypercall and X1 its argument; `hvc #0` changes X0 only, to the result.

    .equ EXIT, 0
    .equ PUTS, 2
    // In the info page, whose address is in X0 at the start.
    .equ VCPU_COUNT, 4

    // Adds what is below ten, from \first on in steps of two, and prints it with \text in front.
    .macro print_sum first, text, digits
    mov x19, #0                 // the sum
    mov x20, #\first            // what to add
1:  add x19, x19, x20
    add x20, x20, #2
    cmp x20, #10
    b.lo 1b

    // The two digits of the sum go into the text.
    mov x2, #10
    udiv x3, x19, x2            // tens
    msub x4, x3, x2, x19        // ones: sum - tens * 10
    add w3, w3, #'0'
    add w4, w4, #'0'
    adr x5, \digits
    strb w3, [x5]
    strb w4, [x5, #1]

    mov x0, #PUTS
    adr x1, \text
    hvc #0
    .endm

    .global _start
_start:
    ldr w21, [x0, #VCPU_COUNT]
    print_sum 0, even_text, even_digits
    // The VM ends for both: the other one, if there is one, has to be done.
    cmp w21, #1
    b.eq exit
    adr x1, odd_done
2:  ldar w0, [x1]
    cbz w0, 2b
exit:
    mov x0, #EXIT
    mov x1, #0
    hvc #0

    .org 0x200
    print_sum 1, odd_text, odd_digits
    adr x1, odd_done
    mov w0, #1
    stlr w0, [x1]
3:  wfi
    b 3b

    .balign 4
odd_done:
    .word 0
even_text:
    .ascii "0 + 2 + 4 + 6 + 8 = "
even_digits:
    .asciz "..\n"
odd_text:
    .ascii "1 + 3 + 5 + 7 + 9 = "
odd_digits:
    .asciz "..\n"
