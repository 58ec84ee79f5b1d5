/* Memory and strings: what the runtime and the compiler's own library have of it. */
#ifndef TINYVMM_STRING_H
#define TINYVMM_STRING_H

#include <stddef.h>

void *memchr(const void *bytes, int byte, size_t size);
int memcmp(const void *left, const void *right, size_t size);
void *memcpy(void *to, const void *from, size_t size);
void *memmove(void *to, const void *from, size_t size);
void *memset(void *bytes, int byte, size_t size);
char *strchr(const char *string, int character);
int strcmp(const char *left, const char *right);
char *strcpy(char *to, const char *from);
size_t strcspn(const char *string, const char *refused);
size_t strlen(const char *string);
int strncmp(const char *left, const char *right, size_t size);
char *strncpy(char *to, const char *from, size_t size);
char *strrchr(const char *string, int character);
size_t strspn(const char *string, const char *accepted);

#endif
