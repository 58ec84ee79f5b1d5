// What upstream's hashlib and cryptolib take from the library axTLS, which is not in MicroPython's packaged source:
// crypto.rs stands in for it.

#ifndef PORT_CRYPTO_H
#define PORT_CRYPTO_H

#include <stddef.h>
#include <stdint.h>

#define MD5_SIZE (16)
#define SHA1_SIZE (20)

// Room for what crypto.rs keeps there, which checks that it fits.
typedef struct {
    uint64_t state[16];
} MD5_CTX;
typedef struct {
    uint64_t state[16];
} SHA1_CTX;
typedef struct {
    uint8_t iv[16];
    uint64_t state[128];
} AES_CTX;

typedef enum {
    AES_MODE_128,
    AES_MODE_256,
} AES_MODE;

void MD5_Init(MD5_CTX *context);
void MD5_Update(MD5_CTX *context, const uint8_t *bytes, size_t length);
void MD5_Final(uint8_t *digest, MD5_CTX *context);

void SHA1_Init(SHA1_CTX *context);
void SHA1_Update(SHA1_CTX *context, const uint8_t *bytes, size_t length);
void SHA1_Final(uint8_t *digest, SHA1_CTX *context);

// A block is four numbers, the first byte of each the highest. An initialisation vector may be NULL.
void AES_set_key(AES_CTX *context, const uint8_t *key, const uint8_t *iv, AES_MODE mode);
void AES_encrypt(const AES_CTX *context, uint32_t *block);
void AES_decrypt(const AES_CTX *context, uint32_t *block);
void AES_cbc_encrypt(AES_CTX *context, const uint8_t *from, uint8_t *to, size_t length);
void AES_cbc_decrypt(AES_CTX *context, const uint8_t *from, uint8_t *to, size_t length);

// Both directions have the same key here.
static inline void AES_convert_key(AES_CTX *context) {
    (void)context;
}

#endif
