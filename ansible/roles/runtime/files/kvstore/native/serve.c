#define _GNU_SOURCE
#include "serve.h"

#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#define STRANGER_SECONDS 10
#define STRANGERS 64
#define LAST_SEND_SECONDS 5

void add_link(struct service *service, struct link *link) {
    if (service->count == service->room) {
        service->room = service->room ? 2 * service->room : 16;
        service->links = must_have(realloc(service->links, service->room * sizeof *service->links));
    }
    service->links[service->count++] = link;
}

static void drop(struct service *service, size_t at) {
    struct link *link = service->links[at];
    if (link->state == OPEN && link->rank >= 0) service->left(link);
    service->links[at] = service->links[--service->count];
    close_link(link);
    free(link);
}

static void accept_all(struct service *service) {
    size_t strangers = 0;
    for (size_t at = 0; at < service->count; at++) strangers += service->links[at]->state != OPEN;
    struct link *link = must_have(calloc(1, sizeof *link));
    while (accept_link(link, service->listener) == 0) {
        if (strangers++ >= STRANGERS) {
            close_link(link);
            continue;
        }
        link->rank = -1;
        add_link(service, link);
        link = must_have(calloc(1, sizeof *link));
    }
    free(link);
}

/* What there is to read on one connection. 0, or -1 where it is over. */
static int attend(struct service *service, struct link *link) {
    if (link->state == OPEN) return receive(link, &service->receiver);
    int outcome = shake(link, service->token);
    return outcome == 1 ? service->joined(link) : outcome;
}

static size_t waiting(struct service *service, struct pollfd *polled) {
    size_t strangers = 0;
    polled[0] = (struct pollfd){service->listener, POLLIN, 0};
    for (size_t at = 0; at < service->count; at++) {
        struct link *link = service->links[at];
        polled[at + 1] = (struct pollfd){link->fd, (short)(link->first < link->last ? POLLIN | POLLOUT : POLLIN), 0};
        strangers += link->state != OPEN;
    }
    return strangers;
}

/* Give every connection its turn; from the last, since one that is over is replaced by the last. */
static void attend_all(struct service *service, const struct pollfd *polled) {
    double now = steady_seconds();
    for (size_t at = service->count; at-- > 0;) {
        struct link *link = service->links[at];
        int over = polled[at + 1].revents & ~POLLOUT && attend(service, link) < 0;
        over |= link->state != OPEN && now - link->since > STRANGER_SECONDS;
        if (over) drop(service, at);
    }
    for (size_t at = service->count; at-- > 0;) {
        if (send_queued(service->links[at]) < 0) drop(service, at);
    }
}

/* Send what is left before the process ends, for a few seconds. */
static void send_last(struct service *service) {
    double until = steady_seconds() + LAST_SEND_SECONDS;
    for (size_t at = 0; at < service->count; at++) {
        struct link *link = service->links[at];
        while (send_queued(link) == 0 && link->first < link->last && steady_seconds() < until) {
            struct pollfd one = {link->fd, POLLOUT, 0};
            poll(&one, 1, 100);
        }
    }
}

int serve(struct service *service) {
    struct pollfd *polled = NULL;
    while (!service->ended) {
        polled = must_have(realloc(polled, (service->count + 1) * sizeof *polled));
        size_t strangers = waiting(service, polled);
        int ready = poll(polled, service->count + 1, strangers || service->tick ? 1000 : -1);
        if (ready >= 0) attend_all(service, polled);
        if (ready > 0 && polled[0].revents) accept_all(service);
        if (service->tick) service->tick(steady_seconds());
    }
    send_last(service);
    return service->code;
}
