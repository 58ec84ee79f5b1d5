// What Mbed TLS is built with: what upstream's ports have in common, and where the time comes from.

#ifndef PORT_TLSCONFIG_H
#define PORT_TLSCONFIG_H

#include <time.h>

// Multiplication of big numbers in assembly.
#define MBEDTLS_HAVE_ASM
#define MBEDTLS_ECP_NIST_OPTIM
// What cryptolib offers.
#define MBEDTLS_CIPHER_MODE_CTR

// tls.c has the functions.
time_t port_seconds(time_t *seconds);
#define MBEDTLS_PLATFORM_TIME_MACRO port_seconds
#define MBEDTLS_PLATFORM_MS_TIME_ALT
#define MBEDTLS_PLATFORM_GMTIME_R_ALT

// Its memory is the garbage collector's.
#define MICROPY_MBEDTLS_CONFIG_BARE_METAL (1)
#include "extmod/mbedtls/mbedtls_config_common.h"

#endif
