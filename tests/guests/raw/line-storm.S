// A raw program for the `virt` machine: its UART's interrupt is taken and ended for ever, and never served.

    .global _start
_start:
    b start

#include "gic.inc"

start:
    bl gic_init
    ldr x20, =UART
    mov w0, #'>'
    str w0, [x20]                           // DR
    mov w0, #1 << 5
    str w0, [x20, #0x38]                    // IMSC: TX
1:  bl gic_acknowledge
    cmp w0, #UART_INTID
    b.ne 1b
    bl gic_end
    b 1b

    .ltorg
