/* What scheduler, servers and workers say to each other: a handshake, then messages of a head and a body.

Both processors that this is built for, x86-64 and AArch64, are little-endian: numbers travel as they are. */
#ifndef KVSTORE_WIRE_H
#define KVSTORE_WIRE_H

#include <stdint.h>

#define ADDRESS_BYTES 46
#define MAGIC "kvstore1"
#define NONCE_BYTES 32

enum role { SCHEDULER, SERVER, WORKER };

enum kind {
    /* scheduler to all */
    ROSTER = 1, /* key: own rank; body: a `place` for every server */
    END,        /* to servers: all workers have left */
    /* between workers and the scheduler */
    BARRIER, /* the worker is there; the answer: all are */
    LEAVE,   /* the worker has finished */
    /* worker to server; `request` comes back in the answer */
    INIT,     /* body: first values. Answer: DONE */
    PUSH,     /* body: gradients. Answer: DONE, once they are applied */
    PULL,     /* Answer: VALUES */
    PUSHPULL, /* body: gradients. Answer: VALUES, once they are applied */
    OPTIMISE, /* body: a `rule`. Answer: DONE */
    /* server to worker */
    DONE,
    VALUES,
    REFUSED, /* body: why, as text */
};

struct message {
    uint32_t kind;
    int32_t key;
    uint32_t request;
    uint32_t reserved;
    uint64_t bytes; /* of the body */
};

/* How a server applies gradients to one key's values. */
enum rule_kind { ASSIGN, SGD, ADAGRAD };

struct rule {
    uint32_t kind;
    float rate, decay, rescale, clip; /* clip below 0: none */
    float momentum;                   /* of SGD */
    float epsilon;                    /* of Adagrad */
};

/* Who connects. */
struct hello {
    uint32_t role;
    int32_t rank; /* the wanted one, -1: any */
    uint32_t workers, servers;
    uint32_t synchronous; /* a worker's store */
    uint32_t follows;     /* whether it takes a dead worker's place */
    uint32_t port;        /* where a server listens */
    char address[ADDRESS_BYTES];
    uint16_t reserved;
};

/* Where a server is. */
struct place {
    uint32_t port;
    char address[ADDRESS_BYTES];
    uint16_t reserved;
};

/* The handshake proves that both ends hold the trial's token, and sends it to nobody:
   opening -> challenge -> proof; then the connecting end waits for messages. */
struct opening {
    char magic[8];
    uint8_t nonce[NONCE_BYTES];
    struct hello hello;
};

struct challenge {
    uint8_t nonce[NONCE_BYTES];
    uint8_t proof[32];
};

#endif
