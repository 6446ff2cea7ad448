/* HMAC-SHA-256 (FIPS 180-4, RFC 2104). */
#ifndef KVSTORE_SHA256_H
#define KVSTORE_SHA256_H

#include <stddef.h>
#include <stdint.h>

#define PROOF_BYTES 32

/* A message as up to four pieces, one after the other. */
struct piece {
    const void *data;
    size_t bytes;
};

void hmac_sha256(const void *key, size_t key_bytes, const struct piece *pieces, size_t count, uint8_t proof[PROOF_BYTES]);

/* Whether two proofs are equal, in a time that does not tell where they differ. */
int proofs_equal(const uint8_t one[PROOF_BYTES], const uint8_t other[PROOF_BYTES]);

#endif
