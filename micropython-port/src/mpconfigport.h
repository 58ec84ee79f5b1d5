// What MicroPython is built with. Options that are not named here have upstream's values for the
// feature level.

#include <alloca.h>
#include <stddef.h>
#include <stdint.h>

#define MICROPY_CONFIG_ROM_LEVEL (MICROPY_CONFIG_ROM_LEVEL_EVERYTHING)

// The machine.
typedef intptr_t mp_int_t;
typedef uintptr_t mp_uint_t;
typedef int64_t mp_off_t;
#define MP_SSIZE_MAX INTPTR_MAX
#define MP_STATE_PORT MP_STATE_VM
#define MICROPY_HW_BOARD_NAME "TinyVMM"
#define MICROPY_HW_MCU_NAME "AArch64"
#define MICROPY_PY_SYS_PLATFORM "tinyvmm"
#define MICROPY_USE_INTERNAL_ERRNO (1)

// Numbers. A digit of a big integer has to have as many bits as build/frozen.rs says.
#define MPZ_DIG_SIZE (32)
#define MICROPY_LONGINT_IMPL (MICROPY_LONGINT_IMPL_MPZ)
#define MICROPY_FLOAT_IMPL (MICROPY_FLOAT_IMPL_DOUBLE)

// Memory. The margin is what a C function may need between two checks of the stack.
#define MICROPY_ENABLE_GC (1)
#define MICROPY_BYTES_PER_GC_BLOCK (64)
#define MICROPY_STACK_CHECK_MARGIN (4096)
#define MICROPY_MALLOC_USES_ALLOCATED_SIZE (1)
#define MICROPY_MEM_STATS (0)
#define MICROPY_ALLOC_PATH_MAX (256)

// Compiler and interpreter.
#define MICROPY_OPT_COMPUTED_GOTO (1)
#define MICROPY_PERSISTENT_CODE_LOAD (1)
#define MICROPY_ERROR_REPORTING (MICROPY_ERROR_REPORTING_DETAILED)
#define MICROPY_ENABLE_EMERGENCY_EXCEPTION_BUF (1)
#define MICROPY_EMERGENCY_EXCEPTION_BUF_SIZE (256)

// Upstream does not tell the compiler that this function returns twice. Inlined into a caller that keeps a variable
// in a register, as whole-program optimisation would have it, a handler would see the variable's old value.
typedef struct _nlr_buf_t nlr_buf_t;
#ifndef PORT_KNOWS_NLR // interpreter.c
unsigned int nlr_push(nlr_buf_t *) __attribute__((returns_twice));
#endif

// Native code. src/native/emit_arm64.c stands where upstream has an emitter for debugging.
#define MICROPY_EMIT_NATIVE_DEBUG (1)
#define MP_PLAT_COMMIT_EXEC(code, length, relocation) native_commit(code, length)
void *native_commit(void *code, size_t length);

// Python modules that are part of the image.
#define MICROPY_MODULE_FROZEN_MPY (1)
#define MICROPY_QSTR_EXTRA_POOL mp_qstr_frozen_const_pool

// The REPL. Scripts and REPL alike: SystemExit ends the VM.
#define MICROPY_READLINE_HISTORY_SIZE (50)
#define MICROPY_BOARD_AFTER_PYTHON_EXEC(input_kind, flags, exception, result) port_after_exec(exception)
void port_after_exec(void *exception);

// Threads, one on each vCPU. mp_hal_poll() has them take turns.
#define MICROPY_PY_THREAD (1)
#define MICROPY_PY_THREAD_GIL (1)

// Files.
#define MICROPY_VFS (1)
#define MICROPY_VFS_FAT (1)
#define MICROPY_VFS_LFS1 (1)
#define MICROPY_VFS_LFS2 (1)
#define MICROPY_FATFS_ENABLE_LFN (1)
#define MICROPY_FATFS_RPATH (2)
#define MICROPY_FATFS_MAX_SS (4096)
#define MICROPY_FATFS_LFN_CODE_PAGE 437
#define MICROPY_VFS_ROM (1)
#define MICROPY_VFS_ROM_IOCTL (0)
#define MICROPY_READER_VFS (1)

// Modules. Errors have names, those of the hypervisor's calls too.
#define MP_ENAMETOOLONG (36)
#define MP_ENOTEMPTY (39)
#define MP_EMSGSIZE (90)
#define MICROPY_PY_ERRNO_LIST \
    X(EPERM) X(ENOENT) X(ESRCH) X(EIO) X(EBADF) X(EAGAIN) X(ENOMEM) X(EACCES) X(EFAULT) X(EEXIST) X(ENODEV) \
    X(ENOTDIR) X(EISDIR) X(EINVAL) X(EMFILE) X(ENOSPC) X(EROFS) X(ENAMETOOLONG) X(ENOTEMPTY) X(EMSGSIZE) X(EOPNOTSUPP) \
    X(EADDRINUSE) X(ECONNABORTED) X(ECONNRESET) X(ENOBUFS) X(ENOTCONN) X(ETIMEDOUT) X(ECONNREFUSED) \
    X(EHOSTUNREACH) X(EALREADY) X(EINPROGRESS)
#define MICROPY_PY_SYS_EXC_INFO (1)
#define MICROPY_PY_SYS_ATEXIT (1)
#define MICROPY_PY_TIME_GMTIME_LOCALTIME_MKTIME (1)
#define MICROPY_PY_TIME_TIME_TIME_NS (1)
#define MICROPY_PY_TIME_CUSTOM_SLEEP (1)
#define MICROPY_PY_TIME_INCLUDEFILE "timeport.h"
#define MICROPY_EPOCH_IS_1970 (1)
// A number that differs from start to start.
#define MICROPY_PY_RANDOM_SEED_INIT_FUNC (mp_hal_random_seed())
mp_uint_t mp_hal_random_seed(void);
#define MICROPY_PY_OS_UNAME (1)
#define MICROPY_PY_OS_URANDOM (1)
#define MICROPY_PY_OS_INCLUDEFILE "osport.h"
// tlsconfig.h says what is configured of Mbed TLS, which takes its memory from the garbage collector.
#define MICROPY_SSL_MBEDTLS (1)
#define MICROPY_PY_SSL (1)
#define MICROPY_TRACKED_ALLOC (1)
#define MICROPY_PY_WEBSOCKET (1)
#define MICROPY_PY_HASHLIB_MD5 (1)
#define MICROPY_PY_HASHLIB_SHA1 (1)
#define MICROPY_PY_CRYPTOLIB (1)
#define MICROPY_PY_CRYPTOLIB_CTR (1)
#define MICROPY_PY_CRYPTOLIB_CONSTS (1)
#define MICROPY_PY_MACHINE (1)
#define MICROPY_PY_MACHINE_INCLUDEFILE "machineport.h"
#define MICROPY_PY_MACHINE_RESET (1)
#define MICROPY_PY_MACHINE_BARE_METAL_FUNCS (1)
#define MICROPY_PY_MACHINE_DISABLE_IRQ_ENABLE_IRQ (1)
#define MICROPY_PY_MACHINE_MEMX (1)
#define MICROPY_PY_MACHINE_PIN_BASE (1)
#define MICROPY_PY_MACHINE_SIGNAL (1)
#define MICROPY_PY_MACHINE_TIMER (1)
// Timers are seen to where the interpreter polls: nothing interrupts their list.
#define MICROPY_PY_PENDSV_ENTER
#define MICROPY_PY_PENDSV_EXIT

// The interpreter polls at every so many branches: for Ctrl-C, timers, scheduled functions, other threads' turns,
// output that waits too long. What is scheduled by the program itself comes at the next branch.
#define PORT_BRANCHES_PER_POLL (64)
extern unsigned port_branches_to_poll;
void port_poll(void);
#define MICROPY_VM_HOOK_LOOP \
    if (--port_branches_to_poll == 0) { \
        MARK_EXC_IP_SELECTIVE(); \
        port_poll(); \
    }
#define MICROPY_SCHED_HOOK_SCHEDULED (port_branches_to_poll = 1)
#define MICROPY_INTERNAL_EVENT_HOOK mp_hal_poll()
#define MICROPY_INTERNAL_WFE(milliseconds) mp_hal_wait(milliseconds)
void mp_hal_poll(void);
