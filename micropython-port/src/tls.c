// What Mbed TLS asks of a port: random numbers and the time.

#include "mbedtls/entropy.h"
#include "mbedtls/platform_time.h"
#include "mbedtls/platform_util.h"
#include "py/mphal.h"
#include "shared/timeutils/timeutils.h"

#define NANOSECONDS_PER_SECOND (1000000000)
#define NANOSECONDS_PER_MILLISECOND (1000000)

// The library declares it in a header of its own.
int mbedtls_hardware_poll(void *context, unsigned char *bytes, size_t size, size_t *written);

int mbedtls_hardware_poll(void *context, unsigned char *bytes, size_t size, size_t *written) {
    (void)context;
    if (hv_random(bytes, size) < 0) {
        return MBEDTLS_ERR_ENTROPY_SOURCE_FAILED;
    }
    *written = size;
    return 0;
}

time_t port_seconds(time_t *seconds) {
    time_t now = mp_hal_time_ns() / NANOSECONDS_PER_SECOND;
    if (seconds != NULL) {
        *seconds = now;
    }
    return now;
}

mbedtls_ms_time_t mbedtls_ms_time(void) {
    return hv_nanoseconds() / NANOSECONDS_PER_MILLISECOND;
}

struct tm *mbedtls_platform_gmtime_r(const mbedtls_time_t *seconds, struct tm *result) {
    timeutils_struct_time_t time;
    timeutils_seconds_since_epoch_to_struct_time(*seconds, &time);
    *result = (struct tm) {
        .tm_year = time.tm_year - 1900,
        .tm_mon = time.tm_mon - 1,
        .tm_mday = time.tm_mday,
        .tm_hour = time.tm_hour,
        .tm_min = time.tm_min,
        .tm_sec = time.tm_sec,
    };
    return result;
}
