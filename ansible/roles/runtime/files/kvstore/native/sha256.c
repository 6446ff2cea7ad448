#include "sha256.h"

#include <string.h>

#define BLOCK_BYTES 64

struct hash {
    uint32_t state[8];
    uint64_t bytes;
    uint8_t block[BLOCK_BYTES];
};

static const uint32_t FIRST[8] = {
    0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
};

static const uint32_t ROUND[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static uint32_t turned(uint32_t word, int bits) { return word >> bits | word << (32 - bits); }

static void take_block(struct hash *hash) {
    uint32_t words[64], s[8];
    for (int at = 0; at < 16; at++) {
        const uint8_t *byte = hash->block + 4 * at;
        words[at] = (uint32_t)byte[0] << 24 | (uint32_t)byte[1] << 16 | (uint32_t)byte[2] << 8 | byte[3];
    }
    for (int at = 16; at < 64; at++) {
        uint32_t early = words[at - 15], late = words[at - 2];
        uint32_t one = turned(early, 7) ^ turned(early, 18) ^ early >> 3;
        uint32_t two = turned(late, 17) ^ turned(late, 19) ^ late >> 10;
        words[at] = words[at - 16] + one + words[at - 7] + two;
    }
    memcpy(s, hash->state, sizeof s);
    for (int at = 0; at < 64; at++) {
        uint32_t choice = (s[4] & s[5]) ^ (~s[4] & s[6]), majority = (s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]);
        uint32_t one = s[7] + (turned(s[4], 6) ^ turned(s[4], 11) ^ turned(s[4], 25)) + choice + ROUND[at] + words[at];
        uint32_t two = (turned(s[0], 2) ^ turned(s[0], 13) ^ turned(s[0], 22)) + majority;
        memmove(s + 1, s, 7 * sizeof *s);
        s[4] += one;
        s[0] = one + two;
    }
    for (int at = 0; at < 8; at++) hash->state[at] += s[at];
}

static void start(struct hash *hash) {
    memcpy(hash->state, FIRST, sizeof FIRST);
    hash->bytes = 0;
}

static void add(struct hash *hash, const void *data, size_t bytes) {
    const uint8_t *from = data;
    for (size_t at = 0; at < bytes; at++) {
        hash->block[hash->bytes++ % BLOCK_BYTES] = from[at];
        if (hash->bytes % BLOCK_BYTES == 0) take_block(hash);
    }
}

static void finish(struct hash *hash, uint8_t digest[PROOF_BYTES]) {
    uint64_t bits = hash->bytes * 8;
    uint8_t length[8], mark = 0x80, zero = 0;
    for (int at = 0; at < 8; at++) length[at] = (uint8_t)(bits >> (56 - 8 * at));
    add(hash, &mark, 1);
    while (hash->bytes % BLOCK_BYTES != BLOCK_BYTES - sizeof length) add(hash, &zero, 1);
    add(hash, length, sizeof length);
    for (int at = 0; at < PROOF_BYTES; at++) digest[at] = (uint8_t)(hash->state[at / 4] >> (24 - 8 * (at % 4)));
}

static void start_keyed(struct hash *hash, const uint8_t key[BLOCK_BYTES], uint8_t mask) {
    uint8_t pad[BLOCK_BYTES];
    for (int at = 0; at < BLOCK_BYTES; at++) pad[at] = key[at] ^ mask;
    start(hash);
    add(hash, pad, sizeof pad);
}

void hmac_sha256(const void *key, size_t key_bytes, const struct piece *pieces, size_t count, uint8_t proof[PROOF_BYTES]) {
    struct hash hash;
    uint8_t block[BLOCK_BYTES] = {0}, inner[PROOF_BYTES];
    if (key_bytes > BLOCK_BYTES) {
        start(&hash);
        add(&hash, key, key_bytes);
        finish(&hash, block);
    } else if (key_bytes) {
        memcpy(block, key, key_bytes);
    }
    start_keyed(&hash, block, 0x36);
    for (size_t at = 0; at < count; at++) add(&hash, pieces[at].data, pieces[at].bytes);
    finish(&hash, inner);
    start_keyed(&hash, block, 0x5c);
    add(&hash, inner, sizeof inner);
    finish(&hash, proof);
}

int proofs_equal(const uint8_t one[PROOF_BYTES], const uint8_t other[PROOF_BYTES]) {
    uint8_t difference = 0;
    for (int at = 0; at < PROOF_BYTES; at++) difference |= one[at] ^ other[at];
    return difference == 0;
}
