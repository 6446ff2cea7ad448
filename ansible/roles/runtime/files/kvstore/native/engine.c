#include "engine.h"

#include <stdlib.h>

#include "link.h"
#include "worker.h"

/* include/mxnet/engine.h and c_api.h of MXNet 1.9.1: what tells the engine that an asynchronous operation is over. */
struct completion {
    void (*callback)(void *engine, void *operation, const void *error);
    void *engine;
    void *operation;
};
typedef void (*operation)(void *context, void *completion, void *argument);
typedef int (*push_function)(
    operation run, void *argument, void (*deleter)(void *), void *context, void **read, int read_count, void **written,
    int written_count, void *property, int priority, const char *name, _Bool wait
);
typedef int (*get_data_function)(void *array, void **data);
typedef int (*share_function)(void *array, void **shared);
typedef int (*release_function)(void *array);

static struct {
    push_function push;
    get_data_function get_data;
    share_function share;
    release_function release;
} mxnet;

/* A request with what it keeps alive until it is answered. */
struct exchange {
    struct request request;
    void *in, *out; /* own handles of the caller's arrays */
    struct completion completion;
};

void kvstore_bind(void *push, void *get_data, void *share, void *release) {
    mxnet.push = (push_function)push;
    mxnet.get_data = (get_data_function)get_data;
    mxnet.share = (share_function)share;
    mxnet.release = (release_function)release;
}

static void finish(struct request *request) {
    struct exchange *exchange = request->owner;
    struct completion completion = exchange->completion;
    if (exchange->in) mxnet.release(exchange->in);
    if (exchange->out) mxnet.release(exchange->out);
    free(exchange);
    completion.callback(completion.engine, completion.operation, NULL);
}

/* The engine's turn for it: by now the arrays have their memory. */
static void run(void *context, void *completion, void *argument) {
    struct exchange *exchange = argument;
    (void)context;
    void *in = NULL, *out = NULL;
    exchange->completion = *(struct completion *)completion;
    if (exchange->in) mxnet.get_data(exchange->in, &in);
    if (exchange->out) mxnet.get_data(exchange->out, &out);
    exchange->request.in = in;
    exchange->request.out = out;
    submit(&exchange->request);
}

int kvstore_exchange(
    int kind, int count, const int32_t *keys, const uint64_t *sizes, void *const *in, void *const *out, void *const *turns,
    const int *priorities
) {
    static const struct {
        int32_t type, id;
    } CPU = {1, 0};
    for (int at = 0; at < count; at++) {
        struct exchange *exchange = must_have(calloc(1, sizeof *exchange));
        int sends = kind != PULL, takes = kind != PUSH, same = sends && takes && in[at] == out[at];
        exchange->request = (struct request){
            .kind = (enum kind)kind, .key = keys[at], .size = sizes[at], .finish = finish, .owner = exchange,
        };
        if (sends && mxnet.share(in[at], &exchange->in)) return -1;
        if (takes && mxnet.share(out[at], &exchange->out)) return -1;
        void *read[] = {exchange->in}, *written[] = {turns[at], exchange->out};
        if (mxnet.push(run, exchange, NULL, (void *)&CPU, read, sends && !same, written, 1 + takes, NULL, priorities[at],
                       "KVStoreExchange", 0)) {
            return -1;
        }
    }
    return 0;
}
