/* The loop of a process that others connect to. One thread, one poll. */
#ifndef KVSTORE_SERVE_H
#define KVSTORE_SERVE_H

#include "link.h"

struct service {
    struct receiver receiver;
    int (*joined)(struct link *link); /* a proved peer; -1 sends it away */
    void (*left)(struct link *link);  /* a joined peer's connection has ended */
    void (*tick)(double now);         /* about once a second; may be NULL */
    const char *token;
    int listener;
    struct link **links;
    size_t count, room;
    int ended; /* set it to 1 to end the loop once all is sent */
    int code;  /* the exit code then */
};

/* Add a connection that was made; the service owns it. */
void add_link(struct service *service, struct link *link);

/* Serve until `ended`; the exit code. */
int serve(struct service *service);

int run_scheduler(const struct seat *seat);
int run_server(struct seat *seat);

#endif
