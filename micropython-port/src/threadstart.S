// void port_restart(uintptr_t vcpu, uintptr_t stack): forgets all that the vCPU's stack holds, and goes on with
// port_other().

    .section .text.port_restart, "ax"
    .global port_restart
    .type port_restart, %function
port_restart:
    mov sp, x1
    mov x29, xzr
    mov x30, xzr
    b port_other
    .size port_restart, . - port_restart
