// Floating-point numbers as text: exact conversions where float.rs has them, upstream's elsewhere.
// build/port.rs says which calls arrive here.

#include <string.h>

#include "py/formatfloat.h"
#include "py/obj.h"
#include "py/parsenum.h"

// Digits that C prints when it is not told.
#define DEFAULT_PRECISION (6)

// In float.rs.
bool port_parse_float(const char *text, size_t length, double *value);
size_t port_format_shortest(double value, char *buffer, size_t size, char sign);
size_t port_format_digits(double value, char *buffer, size_t size, char format, size_t precision, char sign);

// Upstream's functions under other names.
int upstream_format_float(mp_float_t value, char *buffer, size_t size, char format, int precision, char sign);
mp_obj_t upstream_parse_num_decimal(const char *text, size_t length, bool imaginary, bool is_complex, mp_lexer_t *lexer);

mp_obj_t mp_parse_num_decimal(const char *text, size_t length, bool imaginary, bool is_complex, mp_lexer_t *lexer) {
    double value;
    if (!is_complex && port_parse_float(text, length, &value)) {
        return mp_obj_new_float(value);
    }
    return upstream_parse_num_decimal(text, length, imaginary, is_complex, lexer);
}

// For repr() and str(), whatever the precision that upstream asks for.
int port_format_repr(mp_float_t value, char *buffer, size_t size, char format, int precision, char sign) {
    int length = port_format_shortest(value, buffer, size, sign);
    return length != 0 ? length : upstream_format_float(value, buffer, size, format, precision, sign);
}

int mp_format_float(mp_float_t value, char *buffer, size_t size, char format, int precision, char sign) {
    #ifdef MP_FLOAT_REPR_PREC // how upstream's newer releases ask for repr()
    if (precision == MP_FLOAT_REPR_PREC) {
        return port_format_repr(value, buffer, size, format, precision, sign);
    }
    #endif
    size_t digits = precision < 0 ? DEFAULT_PRECISION : precision;
    int length = port_format_digits(value, buffer, size, format, digits, sign);
    return length != 0 ? length : upstream_format_float(value, buffer, size, format, precision, sign);
}
