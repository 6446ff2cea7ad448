#define _GNU_SOURCE
#include "link.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define STAGE_BYTES (1 << 16)
#define PIECES 64

double steady_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

void *must_have(void *memory) {
    if (!memory) {
        complain("use more servers, or a smaller model", "the key-value store has no memory left");
        _exit(1);
    }
    return memory;
}

int complain(const char *remedy, const char *format, ...) {
    char text[512];
    va_list words;
    va_start(words, format);
    vsnprintf(text, sizeof text, format, words);
    va_end(words);
    fprintf(stderr, "error: %s\n  try: %s\n", text, remedy);
    fflush(stderr);
    return -1;
}

static void push_chunk(struct link *link, const void *data, size_t bytes, void *owned) {
    if (link->last == link->room) {
        if (link->first) {
            memmove(link->queue, link->queue + link->first, (link->last - link->first) * sizeof *link->queue);
            link->last -= link->first;
            link->first = 0;
        }
        if (link->last * 2 >= link->room) {
            link->room = link->room ? 2 * link->room : 32;
            link->queue = must_have(realloc(link->queue, link->room * sizeof *link->queue));
        }
    }
    link->queue[link->last++] = (struct chunk){data, bytes, owned};
}

void queue_message(struct link *link, const struct message *head, const void *body, int copy) {
    size_t bytes = sizeof *head + (copy ? head->bytes : 0);
    uint8_t *kept = must_have(malloc(bytes));
    memcpy(kept, head, sizeof *head);
    if (copy && head->bytes) memcpy(kept + sizeof *head, body, head->bytes);
    push_chunk(link, kept, bytes, kept);
    if (!copy && head->bytes) push_chunk(link, body, head->bytes, NULL);
}

static void drop_sent(struct link *link, size_t sent) {
    while (link->first < link->last) {
        struct chunk *chunk = &link->queue[link->first];
        size_t part = sent < chunk->left ? sent : chunk->left;
        chunk->data += part;
        chunk->left -= part;
        sent -= part;
        if (chunk->left) return;
        free(chunk->owned);
        link->first++;
    }
    link->first = link->last = 0;
}

int send_queued(struct link *link) {
    while (link->first < link->last) {
        struct iovec pieces[PIECES];
        struct msghdr all = {.msg_iov = pieces};
        for (size_t at = link->first; at < link->last && all.msg_iovlen < PIECES; at++) {
            pieces[all.msg_iovlen++] = (struct iovec){(void *)link->queue[at].data, link->queue[at].left};
        }
        ssize_t sent = sendmsg(link->fd, &all, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent < 0) {
            if (errno == EINTR) continue;
            return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -1;
        }
        drop_sent(link, (size_t)sent);
    }
    return 0;
}

/* Take staged bytes into head and body. 0, or -1 to end the connection. */
static int take(struct link *link, const struct receiver *receiver, const uint8_t *bytes, size_t count) {
    while (count) {
        if (link->got < sizeof link->head) {
            size_t wanted = sizeof link->head - link->got, part = count < wanted ? count : wanted;
            memcpy((uint8_t *)&link->head + link->got, bytes, part);
            link->got += part;
            bytes += part;
            count -= part;
            if (link->got < sizeof link->head) return 0;
            link->body = NULL;
            link->body_got = 0;
            if (receiver->head(link) < 0 || (link->head.bytes && !link->body)) return -1;
        } else {
            size_t wanted = link->head.bytes - link->body_got, part = count < wanted ? count : wanted;
            memcpy(link->body + link->body_got, bytes, part);
            link->body_got += part;
            bytes += part;
            count -= part;
        }
        if (link->got == sizeof link->head && link->body_got == link->head.bytes) {
            link->got = 0;
            if (receiver->message(link) < 0) return -1;
        }
    }
    return 0;
}

int receive(struct link *link, const struct receiver *receiver) {
    static _Thread_local uint8_t stage[STAGE_BYTES];
    for (;;) {
        int in_body = link->got == sizeof link->head;
        size_t wanted = in_body ? link->head.bytes - link->body_got : 0;
        int direct = wanted >= STAGE_BYTES;
        uint8_t *into = direct ? link->body + link->body_got : stage;
        ssize_t received = recv(link->fd, into, direct ? wanted : STAGE_BYTES, MSG_DONTWAIT);
        if (received < 0) {
            if (errno == EINTR) continue;
            return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -1;
        }
        if (received == 0) return -1;
        if (!direct) {
            if (take(link, receiver, stage, (size_t)received) < 0) return -1;
            if (received < STAGE_BYTES) return 0; /* all that was there; poll tells of more */
            continue;
        }
        link->body_got += (size_t)received;
        if (link->body_got == link->head.bytes) {
            link->got = 0;
            if (receiver->message(link) < 0) return -1;
        }
    }
}

void close_link(struct link *link) {
    for (size_t at = link->first; at < link->last; at++) free(link->queue[at].owned);
    free(link->queue);
    link->queue = NULL;
    link->first = link->last = link->room = 0;
    if (link->fd >= 0) close(link->fd);
    link->fd = -1;
}
