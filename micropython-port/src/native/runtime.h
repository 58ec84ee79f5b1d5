// What native code calls and reads, beside upstream's own functions for it.

#ifndef NATIVE_RUNTIME_H
#define NATIVE_RUNTIME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "py/obj.h"
#include "py/nativeglue.h"

#include "tinyvmm.h"

// The register that functions return their result in, which conditions are tested in.
#define NATIVE_RESULT (0)

// Where the hypervisor tells of a Ctrl-C.
#define NATIVE_POLL_ADDRESS (HV_INFO_PAGE_BASE + offsetof(HV_InfoPage, console_flags))
#define NATIVE_POLL_BIT (__builtin_ctz(HV_CONSOLE_INTERRUPT))

// A frame up to this size fits the margin that upstream's check of the stack leaves.
#define NATIVE_FRAME_UNCHECKED (512)

// Called by a loop of a viper function that sees a Ctrl-C: raises the exception if one is due.
void native_poll(void);

// Raises RuntimeError unless so many bytes are left of the stack.
void native_check_stack(size_t bytes);

// Whether a branch with link, which reaches 128 MiB, gets from any place in RAM to the function.
bool native_call_is_short(const void *function);

// The function that native code calls for an entry of upstream's table.
const void *native_function(mp_fun_kind_t kind);

// The function for a binary operator: it takes the operands as its second and third argument.
// NULL where there is none but upstream's, which takes the operator as its first argument.
const void *native_operator(mp_binary_op_t op);

// The same for a comparison whose result is only looked at for its truth: the function returns 0 or 1.
const void *native_test(mp_binary_op_t op);

#endif
