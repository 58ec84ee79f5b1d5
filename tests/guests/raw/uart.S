// A raw program for the `virt` machine: it takes the interrupts of its UART, and says what is typed. It waits with
// `WFI` and polls the GIC, with the core's own mask on.

    .equ DR, 0x00
    .equ FR, 0x18
    .equ LCR_H, 0x2c
    .equ IFLS, 0x34
    .equ IMSC, 0x38
    .equ RIS, 0x3c
    .equ MIS, 0x40
    .equ ICR, 0x44

    .equ RX, 1 << 4
    .equ TX, 1 << 5
    .equ RT, 1 << 6

    .equ SYSTEM_OFF, 0x84000008

// Goes on only if the register holds the value.
    .macro expect register, value
    ldr w0, [x20, #\register]
    cmp w0, #\value
    b.ne wrong
    .endm

    .macro set register, value
    mov w0, #\value
    str w0, [x20, #\register]
    .endm

    .macro expect_line level
    bl gic_is_pending
    cmp w0, #\level
    b.ne wrong
    .endm

    .global _start
_start:
    b start

#include "gic.inc"

start:
    adr x19, stack
    mov sp, x19
    ldr x20, =UART
    bl gic_init
    set LCR_H, 0x70                         // 8 bits, FIFOs on
    set IFLS, 0                             // RX at 4 bytes

// A byte that is sent raises TX, which lasts until it is cleared.
    expect_line 0
    set DR, '>'
    expect_line 0                           // masked
    set IMSC, TX
    expect_line 1
    bl take
    expect MIS, TX
    bl end
    bl take                                 // once more, as the line is still high
    set ICR, TX
    bl end
    expect MIS, 0
    bl none
    set IMSC, 0
    adr x1, sent
    bl print
    set ICR, TX

// One byte is not enough for RX, but raises RT, which goes when it is read.
    set IMSC, RX + RT
    adr x1, one
    bl print
    bl take
    expect MIS, RT
    set IMSC, RX                            // masked, it is still there
    expect RIS, TX + RT
    bl end
    bl none
    set IMSC, RX + RT
    bl take
    ldr w21, [x20, #DR]
    expect MIS, 0
    bl end
    bl none
    bl echo

// Four bytes raise RX. Clearing it lowers the line, with the bytes still there.
    set ICR, TX
    set IMSC, RX
    adr x1, four
    bl print
    bl take
    expect MIS, RX
    set ICR, RX
    expect MIS, 0
    bl end
    bl none
    mov w22, #4
1:  ldr w0, [x20, #FR]
    tbnz w0, #4, wrong                      // empty
    ldr w21, [x20, #DR]
    bl echo
    subs w22, w22, #1
    b.ne 1b
    ldr w0, [x20, #FR]
    tbz w0, #4, wrong

// The same by reading: the line falls with the first byte that is taken below the level.
    adr x1, again
    bl print
    bl take
    expect MIS, RX
    ldr w21, [x20, #DR]
    expect MIS, 0
    bl end
    bl none
    bl echo
    adr x1, done
    bl print
    b off

// Waits for the UART's interrupt and leaves it active, its acknowledgement in X23.
take:
    mov x24, x30
1:  bl gic_acknowledge
    cmp w0, #UART_INTID
    b.eq 2f
    cmp w0, #NONE
    b.ne wrong
    wfi
    b 1b
2:  mov x23, x0
    ret x24

end:
    mov x0, x23
    b gic_end

// Goes on only if no interrupt is pending.
none:
    mov x24, x30
    expect_line 0
    bl gic_acknowledge
    cmp w0, #NONE
    b.ne wrong
    ret x24

// Prints the byte in W21.
echo:
    str w21, [x20, #DR]
    ret

// Prints the string at X1.
print:
    ldrb w0, [x1], #1
    cbz w0, 1f
    str w0, [x20, #DR]
    b print
1:  ret

wrong:
    adr x1, failed
    bl print
off:
    ldr x0, =SYSTEM_OFF
    hvc #0

sent:
    .asciz " sent\n"
one:
    .asciz "ready for one\n"
four:
    .asciz " came\nready for four\n"
again:
    .asciz " came\nready for four more\n"
done:
    .asciz " came first\n"
failed:
    .asciz "FAIL\n"
    .balign 8
    .ltorg
    .balign 16
    .space 256
stack:
