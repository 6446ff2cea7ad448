#define _GNU_SOURCE
#include "worker.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "link.h"

#define JOIN_SECONDS 120
#define ROSTER_SECONDS 600
#define LEAVE_SECONDS 5
#define LEAST_SLICE 256 /* elements: smaller slices are not worth a message */
#define PRIME 9973      /* as MXNet spreads its keys */

static struct {
    pthread_mutex_t lock; /* of `table`, of the links' queues and of `released` */
    pthread_cond_t changed;
    pthread_t receiver;
    struct link scheduler, *servers;
    struct seat seat;
    struct place *places;
    struct request **table;
    uint32_t room, free_count, *free_numbers;
    size_t bound;
    int rank, wake, started, stopping, released;
} worker = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static uint32_t servers(void) { return worker.seat.hello.servers; }

int kvstore_rank(void) { return worker.rank; }

int kvstore_workers(void) { return (int)worker.seat.hello.workers; }

static int has_ended(const struct link *link) {
    struct pollfd one = {link->fd, POLLRDHUP, 0};
    return poll(&one, 1, 0) > 0;
}

/* Nobody could go on: MXNet's threads wait for answers that will not come. Where one ends, all soon do, and a late thread
   sees the last of them first: so every connection that has ended is named. */
static void lost(const char *who, const struct link *link) {
    const char *remedy = "see its log for what ended it";
    if (worker.stopping) return;
    complain(remedy, "lost the connection to %s %d", who, link->rank);
    for (uint32_t at = 0; at <= servers(); at++) {
        const struct link *other = at < servers() ? &worker.servers[at] : &worker.scheduler;
        if (other == link || !has_ended(other)) continue;
        complain(remedy, "lost the connection to %s %d", at < servers() ? "server" : "scheduler", other->rank);
    }
    _exit(1);
}

/* Where server `number`'s slice of an array begins; of arrays that are not cut, one server has all. */
static size_t begins(int32_t key, size_t size, uint32_t number) {
    if (size >= worker.bound) return size * number / servers();
    return number > (uint64_t)(uint32_t)key * PRIME % servers() ? size : 0;
}

static void take_number(struct request *request) {
    if (worker.free_count == 0) {
        uint32_t more = worker.room ? worker.room : 64;
        worker.table = must_have(realloc(worker.table, (worker.room + more) * sizeof *worker.table));
        worker.free_numbers = must_have(realloc(worker.free_numbers, (worker.room + more) * sizeof *worker.free_numbers));
        for (uint32_t at = worker.room + more; at-- > worker.room;) worker.free_numbers[worker.free_count++] = at;
        memset(worker.table + worker.room, 0, more * sizeof *worker.table);
        worker.room += more;
    }
    request->number = worker.free_numbers[--worker.free_count];
    worker.table[request->number] = request;
}

static void flush(struct link *link, const char *who) {
    if (send_queued(link) < 0) lost(who, link);
    if (link->first == link->last) return;
    uint64_t one = 1; /* the receiving thread sends the rest */
    while (write(worker.wake, &one, sizeof one) < 0 && errno == EINTR) continue;
}

void submit(struct request *request) {
    pthread_mutex_lock(&worker.lock);
    take_number(request);
    for (uint32_t at = 0; at < servers(); at++) {
        request->left += begins(request->key, request->size, at + 1) > begins(request->key, request->size, at);
    }
    struct message head = {.kind = request->kind, .key = request->key, .request = request->number};
    for (uint32_t at = 0; at < servers(); at++) {
        size_t first = begins(request->key, request->size, at), past = begins(request->key, request->size, at + 1);
        const uint8_t *body = request->in;
        if (first == past) continue;
        head.bytes = request->kind == PULL ? 0 : request->kind == OPTIMISE ? sizeof(struct rule) : (past - first) * sizeof(float);
        if (body && request->kind != OPTIMISE) body += first * sizeof(float);
        queue_message(&worker.servers[at], &head, body, 0);
        flush(&worker.servers[at], "server");
    }
    pthread_mutex_unlock(&worker.lock);
}

static int head(struct link *link) {
    const struct message *head = &link->head;
    if (link == &worker.scheduler) {
        if (head->kind == ROSTER && !worker.started && head->bytes == servers() * sizeof *worker.places) {
            link->body = (uint8_t *)worker.places;
            return 0;
        }
        return head->kind == BARRIER && head->bytes == 0 ? 0 : -1;
    }
    pthread_mutex_lock(&worker.lock);
    struct request *request = head->request < worker.room ? worker.table[head->request] : NULL;
    pthread_mutex_unlock(&worker.lock);
    if (!request || request->key != head->key) return -1;
    size_t first = begins(request->key, request->size, (uint32_t)link->rank);
    size_t past = begins(request->key, request->size, (uint32_t)link->rank + 1);
    switch (head->kind) {
    case DONE: return head->bytes == 0 ? 0 : -1;
    case VALUES:
        link->body = (uint8_t *)(request->out + first);
        return request->out && head->bytes == (past - first) * sizeof(float) ? 0 : -1;
    case REFUSED:
        link->body = link->shaken;
        return head->bytes < sizeof link->shaken ? 0 : -1;
    default: return -1;
    }
}

static int message(struct link *link) {
    if (link->head.kind == ROSTER) {
        worker.rank = link->head.key;
        worker.released = 1;
        return 0;
    }
    if (link->head.kind == REFUSED) {
        complain("the store's own order of calls: init, set_optimizer, push, pull", "server %d refuses key %d: %.*s",
                 link->rank, link->head.key, (int)link->head.bytes, (char *)link->shaken);
        _exit(1);
    }
    pthread_mutex_lock(&worker.lock);
    struct request *request = NULL;
    if (link->head.kind == BARRIER) {
        worker.released = 1;
        pthread_cond_broadcast(&worker.changed);
    } else {
        request = worker.table[link->head.request];
        if (--request->left) {
            request = NULL;
        } else {
            worker.table[request->number] = NULL;
            worker.free_numbers[worker.free_count++] = request->number;
        }
    }
    pthread_mutex_unlock(&worker.lock);
    if (request) request->finish(request);
    return 0;
}

static const struct receiver RECEIVER = {head, message};

static void *receive_all(void *unused) {
    (void)unused;
    uint32_t count = servers();
    struct pollfd *polled = must_have(calloc(count + 2, sizeof *polled));
    for (;;) {
        pthread_mutex_lock(&worker.lock);
        int stopping = worker.stopping;
        for (uint32_t at = 0; at <= count; at++) {
            struct link *link = at < count ? &worker.servers[at] : &worker.scheduler;
            polled[at] = (struct pollfd){link->fd, (short)(link->first < link->last ? POLLIN | POLLOUT : POLLIN), 0};
        }
        pthread_mutex_unlock(&worker.lock);
        if (stopping) break;
        polled[count + 1] = (struct pollfd){worker.wake, POLLIN, 0};
        if (poll(polled, count + 2, -1) < 0) continue;
        uint64_t drained;
        if (polled[count + 1].revents && read(worker.wake, &drained, sizeof drained) < 0 && errno != EAGAIN) continue;
        for (uint32_t at = 0; at <= count; at++) {
            struct link *link = at < count ? &worker.servers[at] : &worker.scheduler;
            const char *who = at < count ? "server" : "scheduler";
            if (polled[at].revents & POLLOUT) {
                pthread_mutex_lock(&worker.lock);
                if (send_queued(link) < 0) lost(who, link);
                pthread_mutex_unlock(&worker.lock);
            }
            if (polled[at].revents & ~POLLOUT && receive(link, &RECEIVER) < 0) {
                lost(who, link);
                break; /* stopping: the loop's head sees it */
            }
        }
    }
    free(polled);
    return NULL;
}

static int join_scheduler(void) {
    double until = steady_seconds() + ROSTER_SECONDS;
    worker.places = must_have(calloc(servers(), sizeof *worker.places));
    if (connect_to(&worker.scheduler, &worker.seat, worker.seat.root, worker.seat.root_port, "scheduler", JOIN_SECONDS) < 0) {
        return -1;
    }
    while (!worker.released) {
        struct pollfd one = {worker.scheduler.fd, POLLIN, 0};
        poll(&one, 1, 1000);
        if (one.revents && receive(&worker.scheduler, &RECEIVER) < 0) {
            return complain("see the scheduler's log", "the scheduler has sent this worker away, or has ended");
        }
        if (steady_seconds() > until) {
            return complain("see the other processes' logs", "not all servers and workers joined within %d s", ROSTER_SECONDS);
        }
    }
    return 0;
}

static int join_servers(void) {
    worker.seat.hello.rank = worker.rank;
    worker.servers = must_have(calloc(servers(), sizeof *worker.servers));
    for (uint32_t at = 0; at < servers(); at++) {
        struct place *place = &worker.places[at];
        place->address[ADDRESS_BYTES - 1] = 0;
        if (connect_to(&worker.servers[at], &worker.seat, place->address, (int)place->port, "server", JOIN_SECONDS) < 0) return -1;
        worker.servers[at].rank = (int)at;
    }
    return 0;
}

int kvstore_start(int synchronous) {
    if (worker.started) {
        if (worker.seat.hello.synchronous == (uint32_t)synchronous) return 0;
        return complain("one kind in a process", "the process has a store of the other kind, synchronous or asynchronous");
    }
    const char *bound = getenv("MXNET_KVSTORE_BIGARRAY_BOUND");
    if (read_seat(&worker.seat) < 0) return -1;
    worker.seat.hello.synchronous = (uint32_t)synchronous;
    worker.bound = bound && atol(bound) > 0 ? (size_t)atol(bound) : (size_t)LEAST_SLICE * servers();
    worker.wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (join_scheduler() < 0 || join_servers() < 0) return -1;
    worker.started = 1;
    if (pthread_create(&worker.receiver, NULL, receive_all, NULL)) {
        return complain("fewer threads", "cannot start the key-value store's thread");
    }
    return 0;
}

static void settle(struct request *request) {
    pthread_mutex_lock(&worker.lock);
    *(int *)request->owner = 1;
    pthread_cond_broadcast(&worker.changed);
    pthread_mutex_unlock(&worker.lock);
}

static int wait_for(struct request *request) {
    int done = 0;
    request->finish = settle;
    request->owner = &done;
    submit(request);
    pthread_mutex_lock(&worker.lock);
    while (!done) pthread_cond_wait(&worker.changed, &worker.lock);
    pthread_mutex_unlock(&worker.lock);
    return 0;
}

int kvstore_init(int32_t key, size_t size, const float *values) {
    return wait_for(&(struct request){.kind = INIT, .key = key, .size = size, .in = values});
}

int kvstore_pull(int32_t key, size_t size, float *values) {
    return wait_for(&(struct request){.kind = PULL, .key = key, .size = size, .out = values});
}

int kvstore_optimise(int32_t key, size_t size, const struct rule *rule) {
    return wait_for(&(struct request){.kind = OPTIMISE, .key = key, .size = size, .in = rule});
}

static void tell_scheduler(enum kind kind) {
    struct message head = {.kind = kind};
    queue_message(&worker.scheduler, &head, NULL, 1);
    flush(&worker.scheduler, "scheduler");
}

int kvstore_barrier(void) {
    pthread_mutex_lock(&worker.lock);
    worker.released = 0;
    tell_scheduler(BARRIER);
    while (!worker.released) pthread_cond_wait(&worker.changed, &worker.lock);
    pthread_mutex_unlock(&worker.lock);
    return 0;
}

void kvstore_stop(void) {
    if (!worker.started || worker.stopping) return;
    double until = steady_seconds() + LEAVE_SECONDS;
    pthread_mutex_lock(&worker.lock);
    worker.stopping = 1;
    tell_scheduler(LEAVE);
    while (worker.scheduler.first < worker.scheduler.last && steady_seconds() < until) send_queued(&worker.scheduler);
    uint64_t one = 1;
    if (write(worker.wake, &one, sizeof one) < 0) { /* it is awake */ }
    pthread_mutex_unlock(&worker.lock);
    pthread_join(worker.receiver, NULL);
    close_link(&worker.scheduler);
    for (uint32_t at = 0; at < servers(); at++) close_link(&worker.servers[at]);
}
