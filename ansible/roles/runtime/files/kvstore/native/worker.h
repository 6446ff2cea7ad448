/* A worker's connections: requests go out on the caller's thread, answers come in on a thread of their own. */
#ifndef KVSTORE_WORKER_H
#define KVSTORE_WORKER_H

#include <stddef.h>

#include "wire.h"

struct request {
    enum kind kind;
    int32_t key;
    size_t size; /* elements of the whole array */
    const void *in;
    float *out;
    void (*finish)(struct request *request); /* on the receiving thread */
    void *owner;
    uint32_t left; /* answers that are still to come */
    uint32_t number;
};

/* Join the trial. 0, or -1 after a message on stderr. A second call changes nothing. */
int kvstore_start(int synchronous);
int kvstore_rank(void);
int kvstore_workers(void);

/* Send a request to the servers that hold a part of its key. It and its memory must stay until `finish` is called. */
void submit(struct request *request);

/* These wait for the answer. 0, or -1 after a message on stderr. */
int kvstore_init(int32_t key, size_t size, const float *values);
int kvstore_pull(int32_t key, size_t size, float *values);
int kvstore_optimise(int32_t key, size_t size, const struct rule *rule);
int kvstore_barrier(void);

/* Tell the scheduler that this worker has finished, and let go of everything. */
void kvstore_stop(void);

#endif
