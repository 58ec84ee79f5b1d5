// The life of a VM that runs Python: a script from the ROM image, or the REPL.

#include <string.h>

#include "py/builtin.h"
#include "py/compile.h"
#include "py/cstack.h"
#include "py/gc.h"
#include "py/lexer.h"
#include "py/mphal.h"
#include "py/objlist.h"
#include "py/objstr.h"
#include "py/persistentcode.h"
#include "py/runtime.h"
#include "shared/readline/readline.h"
#include "shared/runtime/gchelper.h"
#include "shared/runtime/pyexec.h"
#include "shared/runtime/softtimer.h"

#include "port.h"

// Exit code of CPython for a script that is not there.
#define EXIT_NO_SCRIPT (2)
#define EXIT_NO_MEMORY (1)

// Least size of the heap: the interpreter's own objects and a small script fit.
#define HEAP_MIN (32 * 1024)

void gc_collect(void) {
    gc_collect_start();
    gc_helper_collect_regs_and_stack();
    port_threads_collect();
    soft_timer_gc_mark_all();
    gc_collect_end();
    // That may have taken long: a Ctrl-C is not to wait for more.
    port_branches_to_poll = 1;
}

// What functions without a decorator are compiled to. The manifest says it (`emit`).
static uint8_t emit_option(void) {
    const HV_InfoPage *info = (const HV_InfoPage *)HV_INFO_PAGE_BASE;
    switch (info->emit) {
        case HV_EMIT_NATIVE:
            return MP_EMIT_OPT_NATIVE_PYTHON;
        case HV_EMIT_VIPER:
            return MP_EMIT_OPT_VIPER;
        default:
            return MP_EMIT_OPT_NONE;
    }
}

// The heap is all memory that the image and the stack leave.
static void start_python(void) {
    HV_Memory memory = hv_memory();
    port_threads_init();
    mp_cstack_init_with_top(memory.stack_top, memory.stack_size);
    gc_init(memory.free_start, memory.free_end);
    // After a soft reset, what libraries had went with the heap.
    MP_STATE_VM(m_tracked_head) = NULL;
    mp_init();
    MP_STATE_VM(default_emit_opt) = emit_option();
    readline_init0();
    port_mount_files();
    const char *arg;
    for (size_t i = 0; (arg = hv_arg(i)) != NULL; i++) {
        // Not looked for among the names that Python knows: it is hardly one of them.
        mp_obj_list_append(mp_sys_argv, mp_obj_new_str_copy(&mp_type_str, (const byte *)arg, strlen(arg)));
    }
}

// Modules are looked for beside the script first.
static void set_script_directory(const char *script) {
    const char *slash = strrchr(script, '/');
    size_t length = slash == NULL ? 0 : slash == script ? 1 : (size_t)(slash - script);
    mp_obj_list_store(mp_sys_path, MP_OBJ_NEW_SMALL_INT(0), mp_obj_new_str_via_qstr(script, length));
}

static bool is_bytecode(const char *script) {
    const char *dot = strrchr(script, '.');
    return dot != NULL && strcmp(dot, ".mpy") == 0;
}

static void execute_bytecode(qstr name) {
    mp_module_context_t *context = m_new_obj(mp_module_context_t);
    context->module.globals = mp_globals_get();
    mp_compiled_module_t module = {.context = context};
    mp_raw_code_load_file(name, &module);
    mp_call_function_0(mp_make_function_from_proto_fun(module.rc, context, NULL));
}

static void execute(const char *script) {
    qstr name = qstr_from_str(script);
    mp_store_global(MP_QSTR___file__, MP_OBJ_NEW_QSTR(name));
    mp_hal_set_interrupt_char(CHAR_CTRL_C);
    if (is_bytecode(script)) {
        execute_bytecode(name);
    } else {
        mp_lexer_t *lexer = mp_lexer_new_from_file(name);
        mp_parse_compile_execute(lexer, MP_PARSE_FILE_INPUT, mp_globals_get(), mp_locals_get());
    }
}

static void call_atexit(void) {
    mp_obj_t function = MP_STATE_VM(sys_exitfunc);
    if (function != mp_const_none) {
        mp_call_function_0(function);
    }
}

// Runs a part of the program and returns the exit code: that of the exception that ended it, or 0.
static uint8_t guarded(void (*part)(const char *), const char *script) {
    nlr_buf_t nlr;
    if (nlr_push(&nlr) != 0) {
        mp_hal_set_interrupt_char(-1);
        mp_handle_pending(false);
        return port_exit_code(nlr.ret_val);
    }
    part(script);
    mp_handle_pending(true);
    nlr_pop();
    return 0;
}

static void finish(const char *script) {
    (void)script;
    call_atexit();
}

static uint8_t run_script(const char *script) {
    if (mp_import_stat(script) != MP_IMPORT_STAT_FILE) {
        mp_printf(&mp_plat_print, "can't open file '%s': [Errno 2] ENOENT\n", script);
        return EXIT_NO_SCRIPT;
    }
    set_script_directory(script);
    uint8_t code = guarded(execute, script);
    uint8_t finish_code = guarded(finish, script);
    return code != 0 ? code : finish_code;
}

// Returns when the user asks for a soft reset.
static void run_repl(void) {
    while ((pyexec_mode_kind == PYEXEC_MODE_RAW_REPL ? pyexec_raw_repl() : pyexec_friendly_repl()) == 0) {
    }
}

// Ends a VM that Python cannot start in. Uses hardly any stack, which may be all there is besides the image.
static void check_memory(void) {
    const volatile HV_InfoPage *info = (const volatile HV_InfoPage *)HV_INFO_PAGE_BASE;
    size_t needed = hv_ram_needed(HEAP_MIN);
    if (info->ram_size < needed) {
        mp_printf(&mp_plat_print, "not enough memory: this VM has %u KiB, Python needs at least %u KiB\n",
            (unsigned)(info->ram_size / 1024), (unsigned)(needed / 1024));
        port_exit(EXIT_NO_MEMORY);
    }
}

uint8_t port_main(void) {
    const char *script = hv_arg(0);
    check_memory();
    for (;;) {
        start_python();
        if (script != NULL) {
            uint8_t code = run_script(script);
            port_exit(code);
        }
        run_repl();
        mp_printf(&mp_plat_print, "MPY: soft reboot\n");
        port_threads_stop();
        soft_timer_deinit();
        gc_sweep_all();
        mp_deinit();
    }
}
