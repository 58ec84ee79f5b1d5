// The second demonstration guest: adds the even numbers below ten and prints the sum, 20.
//
// A raw program for the `tiny` machine: loaded and entered at 0x10000. X0 holds the number of a
// hypercall and X1 its argument; `hvc #0` changes X0 only, to the result.

    .equ EXIT, 0
    .equ PUTS, 2

    .global _start
_start:
    mov x19, #0                 // the sum
    mov x20, #0                 // what to add: 0, 2, 4, 6, 8
add_next:
    add x19, x19, x20
    add x20, x20, #2
    cmp x20, #10
    b.lo add_next

    // The two digits of the sum go into the text.
    mov x2, #10
    udiv x3, x19, x2            // tens
    msub x4, x3, x2, x19        // ones: sum - tens * 10
    add w3, w3, #'0'
    add w4, w4, #'0'
    adr x5, digits
    strb w3, [x5]
    strb w4, [x5, #1]

    mov x0, #PUTS
    adr x1, message
    hvc #0

    mov x0, #EXIT
    mov x1, #0
    hvc #0

message:
    .ascii "0 + 2 + 4 + 6 + 8 = "
digits:
    .asciz "..\n"
