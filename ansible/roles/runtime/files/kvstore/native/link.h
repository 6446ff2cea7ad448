/* A connection: what is still to send, and what is being received. */
#ifndef KVSTORE_LINK_H
#define KVSTORE_LINK_H

#include <stddef.h>

#include "wire.h"

#define TEXT_BYTES 256

/* The process's place in the trial, from its environment. */
struct seat {
    enum role role;
    struct hello hello;
    char root[ADDRESS_BYTES];
    int root_port;
    const char *token;
};

enum link_state { OPENING, PROVING, OPEN };

struct chunk {
    const uint8_t *data;
    size_t left;
    void *owned; /* freed once sent */
};

struct link {
    int fd;
    enum link_state state;
    double since; /* when it came, in seconds of the steady clock */
    int rank;
    char peer[ADDRESS_BYTES]; /* the address that it came from */
    struct hello hello;
    uint8_t expected[32]; /* the proof that the other end must give */
    struct message head;
    uint8_t shaken[sizeof(struct opening)];
    size_t got; /* bytes of the head or of the handshake's message */
    uint8_t *body;
    size_t body_got;
    struct chunk *queue;
    size_t first, last, room;
};

/* What a process does with messages. Each returns 0, or -1 to end the connection. */
struct receiver {
    int (*head)(struct link *link);    /* a head has come: check it and, where it has a body, set link->body */
    int (*message)(struct link *link); /* the body too */
};

/* Read the environment. 0, or -1 after a message on stderr. */
int read_seat(struct seat *seat);

/* Listen on an address; port 0 takes a free one. The socket, or -1 after a message; *port is set. */
int listen_at(const char *address, int *port);

/* Connect, trying until `limit` seconds have passed, and prove each other. 0, or -1 after a message on stderr. */
int connect_to(struct link *link, const struct seat *seat, const char *address, int port, const char *who, double limit);

/* Accept a connection, whose handshake is then in state OPENING. */
int accept_link(struct link *link, int listener);

/* Take the next bytes of a handshake. 1: proved, 0: not yet, -1: a stranger. */
int shake(struct link *link, const char *token);

/* Receive what is there. 0, or -1 where the connection has ended or said something wrong. */
int receive(struct link *link, const struct receiver *receiver);

/* Queue a message; `body` must stay until it is sent, unless `copy`. */
void queue_message(struct link *link, const struct message *head, const void *body, int copy);

/* Send what there is room for. 0, or -1 where the connection has ended. */
int send_queued(struct link *link);

void close_link(struct link *link);

double steady_seconds(void);

void *must_have(void *memory);

/* Write `error: ...` and `try: ...` on stderr; always -1. */
int complain(const char *remedy, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
