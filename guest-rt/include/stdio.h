/* Formatted text. Programs bring the functions; there are no streams. */
#ifndef TINYVMM_STDIO_H
#define TINYVMM_STDIO_H

#include <stdarg.h>
#include <stddef.h>

#define EOF (-1)
#define SEEK_SET 0
#define SEEK_CUR 1
#define SEEK_END 2

int printf(const char *format, ...);
int vprintf(const char *format, va_list arguments);
int putchar(int character);
int puts(const char *text);
int snprintf(char *buffer, size_t size, const char *format, ...);
int vsnprintf(char *buffer, size_t size, const char *format, va_list arguments);

#endif
