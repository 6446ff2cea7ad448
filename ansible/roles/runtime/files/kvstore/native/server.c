/* A server: keeps its slices of the values and applies what the workers push. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "serve.h"
#include "values.h"

#define JOIN_SECONDS 120
#define SLICE_BYTES (1ull << 30)

static struct {
    struct service service;
    struct link **workers;
    uint32_t count; /* of workers */
    int synchronous; /* -1: not yet known */
    struct rule rule; /* what is being received */
    struct place *places;
    int rank;
} server = {.synchronous = -1, .rank = -1};

static void answer(struct link *link, enum kind kind, uint32_t request, const struct values *values) {
    struct message head = {.kind = kind, .key = values->key, .request = request};
    if (kind == VALUES) head.bytes = values->size * sizeof *values->stored;
    /* in a synchronous store the values stay as they are until every worker, this one too, has pushed again */
    queue_message(link, &head, values->stored, !server.synchronous);
}

static void refuse(struct link *link, const char *why) {
    struct message head = {.kind = REFUSED, .key = link->head.key, .request = link->head.request, .bytes = strlen(why)};
    queue_message(link, &head, why, 1);
}

/* A round of a synchronous store is complete: apply it, and tell everybody. */
static void finish_round(struct values *values) {
    apply(values, values->sum);
    values->arrived = 0;
    for (uint32_t rank = 0; rank < server.count; rank++) {
        struct share *share = &values->shares[rank];
        share->arrived = 0;
        if (share->answered || !server.workers[rank]) continue;
        answer(server.workers[rank], share->kind == PUSH ? DONE : VALUES, share->request, values);
    }
}

static void pushed(struct link *link, struct values *values) {
    float *gradients = (float *)link->body;
    struct share *share = &values->shares[link->rank];
    if (!server.synchronous) {
        apply(values, gradients);
        give_back(values, gradients);
        answer(link, link->head.kind == PUSH ? DONE : VALUES, link->head.request, values);
        return;
    }
    int again = share->arrived; /* of a worker that died in this round, and has been replaced */
    *share = (struct share){
        .gradients = share->gradients, .request = link->head.request, .kind = link->head.kind, .arrived = 1,
    };
    if (again) {
        give_back(values, gradients);
    } else if (add_gradients(values, (uint32_t)link->rank, gradients, server.count)) {
        finish_round(values);
    }
}

/* Check a message's head and say where its body goes. */
static int place_body(struct link *link) {
    const struct message *head = &link->head;
    if (link->hello.role == SCHEDULER) {
        int roster = head->kind == ROSTER && head->bytes == link->hello.servers * sizeof *server.places;
        link->body = (uint8_t *)server.places;
        return roster || (head->kind == END && head->bytes == 0) ? 0 : -1;
    }
    struct values *values = find_values(head->key);
    switch (head->kind) {
    case INIT:
        if (head->bytes == 0 || head->bytes % sizeof(float) || head->bytes > SLICE_BYTES) return -1;
        if (values && values->size * sizeof(float) != head->bytes) return -1;
        link->body = (uint8_t *)borrow(values ? values : make_values(head->key, head->bytes / sizeof(float), server.count));
        return 0;
    case PUSH:
    case PUSHPULL:
        if (!values || values->size * sizeof(float) != head->bytes) return -1;
        link->body = (uint8_t *)borrow(values);
        return 0;
    case PULL: return head->bytes == 0 ? 0 : -1;
    case OPTIMISE:
        /* in the link's own memory: two workers may send one at once */
        link->body = link->shaken;
        return head->bytes == sizeof(struct rule) ? 0 : -1;
    default: return -1;
    }
}

static int head(struct link *link) {
    if (place_body(link) == 0) return 0;
    return complain(
        "init a key before it is pushed, with the same size in all workers",
        "a message of worker %d does not fit what is known here: kind %u, key %d, %llu bytes", link->rank, link->head.kind,
        link->head.key, (unsigned long long)link->head.bytes
    );
}

static int message(struct link *link) {
    const struct message *head = &link->head;
    if (head->kind == ROSTER) {
        server.rank = head->key;
        return 0;
    }
    if (head->kind == END) {
        server.service.ended = 1;
        return 0;
    }
    struct values *values = find_values(head->key);
    if (!values) {
        refuse(link, "the key is not known: worker 0 must init it before, with the same size everywhere");
        return 0;
    }
    switch (head->kind) {
    case INIT:
        if (!link->hello.follows) memcpy(values->stored, link->body, head->bytes);
        give_back(values, (float *)link->body);
        link->body = NULL;
        answer(link, DONE, head->request, values);
        return 0;
    case PUSH:
    case PUSHPULL:
        if (!server.synchronous && values->rule.kind == ASSIGN) {
            give_back(values, (float *)link->body);
            refuse(link, "an asynchronous store needs an optimizer: call set_optimizer first");
        } else {
            pushed(link, values);
        }
        link->body = NULL;
        return 0;
    case PULL: answer(link, VALUES, head->request, values); return 0;
    default: /* OPTIMISE */
        memcpy(&server.rule, link->body, sizeof server.rule);
        link->body = NULL;
        set_rule(values, &server.rule);
        answer(link, DONE, head->request, values);
        return 0;
    }
}

static void forget(struct values *values, void *rank) { values->shares[*(int *)rank].answered = 1; }

static int joined(struct link *link) {
    const struct hello *hello = &link->hello;
    if (hello->role != WORKER || hello->rank < 0 || (uint32_t)hello->rank >= server.count) return -1;
    if (server.synchronous >= 0 && server.synchronous != (int)hello->synchronous) {
        return complain("one kind of store in all workers", "worker %d opens another kind of store", hello->rank);
    }
    server.synchronous = (int)hello->synchronous;
    link->rank = hello->rank;
    server.workers[link->rank] = link;
    each_values(forget, &link->rank); /* one that died may not have been missed yet */
    return 0;
}

static void left(struct link *link) {
    if (link->hello.role == SCHEDULER) {
        if (!server.service.ended) {
            server.service.code = 1;
            server.service.ended = 1;
            complain("see the scheduler's log for what ended it", "lost the scheduler");
        }
        return;
    }
    int held = link->body && (link->head.kind == INIT || link->head.kind == PUSH || link->head.kind == PUSHPULL);
    if (held) free(link->body);
    if (server.workers[link->rank] != link) return;
    server.workers[link->rank] = NULL;
    each_values(forget, &link->rank);
}

int run_server(struct seat *seat) {
    int port = 0, listener = listen_at(seat->hello.address, &port);
    struct link *scheduler = must_have(calloc(1, sizeof *scheduler));
    seat->hello.port = (uint32_t)port;
    if (listener < 0 || connect_to(scheduler, seat, seat->root, seat->root_port, "scheduler", JOIN_SECONDS) < 0) return 1;
    scheduler->hello = (struct hello){.role = SCHEDULER, .servers = seat->hello.servers};
    scheduler->rank = 0;
    server.count = seat->hello.workers;
    server.workers = must_have(calloc(server.count, sizeof *server.workers));
    server.places = must_have(calloc(seat->hello.servers, sizeof *server.places));
    server.service = (struct service){
        .receiver = {head, message}, .joined = joined, .left = left, .token = seat->token, .listener = listener,
    };
    add_link(&server.service, scheduler);
    return serve(&server.service);
}
