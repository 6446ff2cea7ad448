/* Requests as operations of MXNet's engine, which runs them once what they read has been computed. */
#ifndef KVSTORE_ENGINE_H
#define KVSTORE_ENGINE_H

#include <stddef.h>
#include <stdint.h>

/* MXNet's functions, from the library that the process has loaded. */
void kvstore_bind(void *push, void *get_data, void *share, void *release);

/* One operation for each of `count` arrays. `kind` is PUSH, PULL or PUSHPULL; `in` and `out` are handles of contiguous
   float32 arrays on the CPU (`in` is not used by PULL, `out` not by PUSH; they may be the same array). `turns` are arrays of
   one element, one a key: the operations of a key run one after the other. 0, or -1 where MXNet refuses. */
int kvstore_exchange(
    int kind, int count, const int32_t *keys, const uint64_t *sizes, void *const *in, void *const *out, void *const *turns,
    const int *priorities
);

#endif
