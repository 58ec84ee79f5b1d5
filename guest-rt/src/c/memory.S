// memcpy, memmove, memset and memcmp. The compiler's own library has them too, made for machines that
// cannot access memory unaligned: it moves short blocks, of which there are most, byte by byte.
//
// A block is covered by a first and a last access that may overlap, with a loop between them if it is
// long. All of a short block is loaded before any of it is stored, so that blocks may overlap.

    .section .text.memmove, "ax"
    .global memcpy
    .global memmove
    .type memcpy, %function
    .type memmove, %function
    .p2align 4
memcpy:
memmove:
    add x4, x1, x2                  // end of the source
    add x5, x0, x2                  // end of the destination
    cmp x2, #16
    b.lo .Lcopy_to_15
    cmp x2, #32
    b.hi .Lcopy_from_33
    ldr q0, [x1]
    ldr q1, [x4, #-16]
    str q0, [x0]
    str q1, [x5, #-16]
    ret

.Lcopy_to_15:
    tbz x2, #3, .Lcopy_to_7
    ldr x6, [x1]
    ldr x7, [x4, #-8]
    str x6, [x0]
    str x7, [x5, #-8]
    ret
.Lcopy_to_7:
    tbz x2, #2, .Lcopy_to_3
    ldr w6, [x1]
    ldr w7, [x4, #-4]
    str w6, [x0]
    str w7, [x5, #-4]
    ret
.Lcopy_to_3:
    cbz x2, .Lcopied
    lsr x3, x2, #1                  // of 1, 2 or 3 bytes: the first, the middle, the last
    ldrb w6, [x1]
    ldrb w7, [x1, x3]
    ldrb w8, [x4, #-1]
    strb w6, [x0]
    strb w7, [x0, x3]
    strb w8, [x5, #-1]
.Lcopied:
    ret

.Lcopy_from_33:
    ldp q4, q5, [x1]
    ldp q6, q7, [x4, #-32]
    cmp x2, #64
    b.ls .Lcopy_ends
    sub x3, x0, x1
    cmp x3, x2
    b.lo .Lcopy_down                // the destination starts inside the source
    add x6, x0, #32
    add x1, x1, #32
    sub x2, x2, #64
1:  ldp q0, q1, [x1], #32
    stp q0, q1, [x6], #32
    subs x2, x2, #32
    b.hi 1b
.Lcopy_ends:
    stp q4, q5, [x0]
    stp q6, q7, [x5, #-32]
    ret
.Lcopy_down:
    mov x6, x5
    sub x2, x2, #64
2:  ldp q0, q1, [x4, #-64]
    stp q0, q1, [x6, #-64]
    sub x4, x4, #32
    sub x6, x6, #32
    subs x2, x2, #32
    b.hi 2b
    b .Lcopy_ends
    .size memcpy, . - memcpy
    .size memmove, . - memmove

    .section .text.memset, "ax"
    .global memset
    .type memset, %function
    .p2align 4
memset:
    dup v0.16b, w1
    add x5, x0, x2
    cmp x2, #16
    b.lo .Lset_to_15
    mov x6, x0
    subs x2, x2, #128
    b.lo 2f
1:  stp q0, q0, [x6]
    stp q0, q0, [x6, #32]
    stp q0, q0, [x6, #64]
    stp q0, q0, [x6, #96]
    add x6, x6, #128
    subs x2, x2, #128
    b.hs 1b
2:  tbz x2, #6, 3f                  // the low bits of X2 still count what is left
    stp q0, q0, [x6]
    stp q0, q0, [x6, #32]
    add x6, x6, #64
3:  tbz x2, #5, 4f
    stp q0, q0, [x6]
    add x6, x6, #32
4:  tbz x2, #4, 5f
    str q0, [x6]
5:  str q0, [x5, #-16]
    ret
.Lset_to_15:
    tbz x2, #3, .Lset_to_7
    str d0, [x0]
    str d0, [x5, #-8]
    ret
.Lset_to_7:
    tbz x2, #2, .Lset_to_3
    str s0, [x0]
    str s0, [x5, #-4]
    ret
.Lset_to_3:
    cbz x2, .Lset
    lsr x3, x2, #1
    strb w1, [x0]
    strb w1, [x0, x3]
    strb w1, [x5, #-1]
.Lset:
    ret
    .size memset, . - memset

    .section .text.memcmp, "ax"
    .global memcmp
    .type memcmp, %function
    .p2align 4
memcmp:
    subs x2, x2, #8
    b.lo 2f
1:  ldr x4, [x0], #8
    ldr x5, [x1], #8
    cmp x4, x5
    b.ne .Ldiffer
    subs x2, x2, #8
    b.hs 1b
2:  adds x2, x2, #8
    b.eq .Lequal
3:  ldrb w4, [x0], #1
    ldrb w5, [x1], #1
    subs w6, w4, w5
    b.ne .Lbytes_differ
    subs x2, x2, #1
    b.ne 3b
.Lequal:
    mov w0, wzr
    ret
.Lbytes_differ:
    mov w0, w6
    ret
.Ldiffer:
    rev x4, x4                      // the first byte that differs decides
    rev x5, x5
    cmp x4, x5
    mov w0, #1
    cneg w0, w0, lo
    ret
    .size memcmp, . - memcmp
