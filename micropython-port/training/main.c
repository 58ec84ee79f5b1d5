// The interpreter on the developer's machine, for training: runs the scripts that the arguments name, one after another
// in one heap. The build counts meanwhile how often each part of the interpreter is used. What only a VM has, files and
// threads, is not there.

#include <stdio.h>
#include <stdlib.h>

#include "py/builtin.h"
#include "py/compile.h"
#include "py/cstack.h"
#include "py/gc.h"
#include "py/mphal.h"
#include "py/mpthread.h"
#include "py/runtime.h"
#include "shared/runtime/gchelper.h"

#define HEAP_BYTES (64 * 1024 * 1024)
#define STACK_BYTES (128 * 1024)

struct _mp_state_thread_t *port_thread_state;
unsigned port_branches_to_poll = PORT_BRANCHES_PER_POLL;

void port_poll(void) {
    port_branches_to_poll = PORT_BRANCHES_PER_POLL;
    mp_handle_pending(true);
}

void mp_hal_poll(void) {
}

void mp_thread_set_state(struct _mp_state_thread_t *state) {
    port_thread_state = state;
}

void mp_thread_mutex_init(mp_thread_mutex_t *mutex) {
}

int mp_thread_mutex_lock(mp_thread_mutex_t *mutex, int wait) {
    return 1;
}

void mp_thread_mutex_unlock(mp_thread_mutex_t *mutex) {
}

// Time passes by a constant step, so that each training counts the same.
uint64_t hv_nanoseconds(void) {
    static uint64_t now;
    return now += 1000;
}

mp_uint_t mp_hal_random_seed(void) {
    return 1;
}

void mp_hal_wait(mp_uint_t milliseconds) {
}

mp_uint_t mp_hal_stdout_tx_strn(const char *text, size_t length) {
    return fwrite(text, 1, length, stdout);
}

void gc_collect(void) {
    gc_collect_start();
    gc_helper_collect_regs_and_stack();
    gc_collect_end();
}

void nlr_jump_fail(void *exception) {
    abort();
}

// Reads a file whole, and ends it with a NUL.
static char *read_file(const char *path, size_t *length) {
    FILE *file = fopen(path, "rb");
    if (file == NULL || fseek(file, 0, SEEK_END) != 0) {
        perror(path);
        exit(EXIT_FAILURE);
    }
    *length = ftell(file);
    rewind(file);
    char *text = malloc(*length + 1);
    *length = fread(text, 1, *length, file);
    text[*length] = 0;
    fclose(file);
    return text;
}

static bool run(const char *path) {
    size_t length;
    char *text = read_file(path, &length);
    nlr_buf_t nlr;
    if (nlr_push(&nlr) != 0) {
        mp_obj_print_exception(&mp_plat_print, MP_OBJ_FROM_PTR(nlr.ret_val));
        return false;
    }
    mp_lexer_t *lexer = mp_lexer_new_from_str_len(qstr_from_str(path), text, length, 0);
    mp_parse_compile_execute(lexer, MP_PARSE_FILE_INPUT, mp_globals_get(), mp_locals_get());
    nlr_pop();
    return true;
}

int main(int count, char **scripts) {
    static char heap[HEAP_BYTES];
    mp_thread_set_state(&mp_state_ctx.thread);
    mp_cstack_init_with_sp_here(STACK_BYTES);
    for (int i = 1; i < count; i++) {
        gc_init(heap, heap + sizeof(heap));
        mp_init();
        if (!run(scripts[i])) {
            return EXIT_FAILURE;
        }
        mp_deinit();
    }
    return EXIT_SUCCESS;
}
