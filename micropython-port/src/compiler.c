// Upstream's compiler, but that it looks at the stack before it goes into a part of an expression: one that is nested
// deep enough would leave it.

#include "py/cstack.h"
#include "py/parse.h"

#undef MP_PARSE_NODE_STRUCT_KIND
#define MP_PARSE_NODE_STRUCT_KIND(node) (mp_cstack_check(), (node)->kind_num_nodes & 0xff)

#include "py/compile.c"
