// Checks the state in which a vCPU starts. Exits with 0, or with the number of the check that failed.
//
// A raw program for the `tiny` machine with 1 MiB of RAM.

    .equ EXIT, 0
    .equ INFO_PAGE, 0x80000000
    .equ RAM_SIZE, 0x100000

    // Ends the VM with \number unless the flags say "equal".
    .macro expect_equal number
    mov x30, #\number
    b.ne fail
    .endm

    // Ends the VM with \number unless \register is zero.
    .macro expect_zero register, number
    cmp \register, #0
    expect_equal \number
    .endm

    .global _start
_start:
    // X30 first: it is used by the checks.
    cbnz x30, 9f

    mov x29, x29
    orr x28, x28, x29
    .irp n, 27, 26, 25, 24, 23, 22, 21, 20, 19, 18, 17, 16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3
    orr x28, x28, x\n
    .endr
    expect_zero x28, 2

    // X0: the info page, X1: the size of RAM, X2: the number of the vCPU.
    mov x3, #INFO_PAGE
    cmp x0, x3
    expect_equal 3
    mov x3, #RAM_SIZE
    cmp x1, x3
    expect_equal 4
    expect_zero x2, 5

    // The first stack ends where RAM does.
    mov x4, sp
    cmp x4, x3
    expect_equal 6

    adr x3, _start
    mov x4, #0x10000
    cmp x3, x4
    expect_equal 7

    // EL1, with its own stack pointer and all interrupts masked.
    mrs x3, currentel
    cmp x3, #(1 << 2)
    expect_equal 8
    mrs x3, spsel
    cmp x3, #1
    expect_equal 9
    mrs x3, daif
    cmp x3, #(0xF << 6)
    expect_equal 10

    // MMU and caches are off, FP/SIMD is not on yet, and no timer runs.
    mrs x3, sctlr_el1
    mov x4, #(1 << 12 | 1 << 2 | 1)
    ands x3, x3, x4
    expect_zero x3, 11
    mrs x3, cpacr_el1
    expect_zero x3, 12
    mrs x3, cntv_ctl_el0
    expect_zero x3, 13

    // Nothing is left of another VM.
    mrs x3, tpidr_el0
    mrs x4, tpidrro_el0
    orr x3, x3, x4
    mrs x4, tpidr_el1
    orr x3, x3, x4
    mrs x4, contextidr_el1
    orr x3, x3, x4
    mrs x4, ttbr0_el1
    orr x3, x3, x4
    mrs x4, ttbr1_el1
    orr x3, x3, x4
    mrs x4, far_el1
    orr x3, x3, x4
    mrs x4, elr_el1
    orr x3, x3, x4
    mrs x4, sp_el0
    orr x3, x3, x4
    expect_zero x3, 14

    mov x3, #(3 << 20)
    msr cpacr_el1, x3
    isb
    .irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30
    orr v31.16b, v31.16b, v\n\().16b
    .endr
    umov x3, v31.d[0]
    umov x4, v31.d[1]
    orr x3, x3, x4
    mrs x4, fpcr
    orr x3, x3, x4
    mrs x4, fpsr
    orr x3, x3, x4
    expect_zero x3, 15

    // The other counter of the architecture, and the processor's own name, can be read.
    mrs x3, cntfrq_el0
    cmp x3, #0
    mov x30, #16
    b.eq fail
    mrs x3, mpidr_el1
    mrs x3, midr_el1

    mov x0, #EXIT
    mov x1, #0
    hvc #0
9:
    mov x30, #1
fail:
    mov x0, #EXIT
    mov x1, x30
    hvc #0
