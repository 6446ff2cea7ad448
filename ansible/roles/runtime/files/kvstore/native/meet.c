/* How processes find and prove each other. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "link.h"
#include "sha256.h"

#define HANDSHAKE_SECONDS 10
#define RETRY_NANOSECONDS 50000000
#define SEND_BUFFER (1 << 20)

static int number(const char *name, long least, long most, long absent, int *value) {
    const char *text = getenv(name);
    char *end = NULL;
    long read = text && *text ? strtol(text, &end, 10) : absent;
    if ((end && *end) || read < least || read > most) {
        return complain(
            "start the program through `harness sweep`, which sets it", "%s=%s is no number from %ld to %ld", name,
            text ? text : "", least, most
        );
    }
    *value = (int)read;
    return 0;
}

int read_seat(struct seat *seat) {
    const char *role = getenv("DMLC_ROLE"), *root = getenv("DMLC_PS_ROOT_URI"), *token = getenv("HARNESS_TRIAL_TOKEN");
    const char *address = getenv("DMLC_NODE_HOST");
    int workers = 0, servers = 0, rank = -1;
    memset(seat, 0, sizeof *seat);
    if (!role || !root || strlen(root) >= ADDRESS_BYTES || (address && strlen(address) >= ADDRESS_BYTES)) {
        return complain(
            "start the program through `harness sweep`", "the key-value store needs DMLC_ROLE, DMLC_PS_ROOT_URI (an IP address)"
        );
    }
    seat->role = !strcmp(role, "scheduler") ? SCHEDULER : !strcmp(role, "server") ? SERVER : WORKER;
    if (number("DMLC_PS_ROOT_PORT", 1, 65535, 0, &seat->root_port) < 0 || number("DMLC_NUM_WORKER", 1, 65535, 0, &workers) < 0 ||
        number("DMLC_NUM_SERVER", 1, 65535, 0, &servers) < 0 || number("HARNESS_RANK", -1, 65535, -1, &rank) < 0) {
        return -1;
    }
    strcpy(seat->root, root);
    seat->token = token ? token : "";
    seat->hello = (struct hello){.role = seat->role, .rank = rank, .workers = (uint32_t)workers, .servers = (uint32_t)servers};
    seat->hello.follows = getenv("HARNESS_FOLLOWS_AFTER") != NULL;
    strcpy(seat->hello.address, address ? address : "");
    return 0;
}

static int to_address(const char *text, int port, struct sockaddr_in *address) {
    memset(address, 0, sizeof *address);
    address->sin_family = AF_INET;
    address->sin_port = htons((uint16_t)port);
    return inet_pton(AF_INET, text, &address->sin_addr) == 1 ? 0 : -1;
}

static void tune(int fd) {
    int on = 1, idle = 3, interval = 1, probes = 5, limit = 8000, buffer = SEND_BUFFER, bulk = 2;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof buffer);
    /* in a card's queue beside sshd's messages, not before them: a large model would keep the harness from its node */
    setsockopt(fd, SOL_SOCKET, SO_PRIORITY, &bulk, sizeof bulk);
    /* the kernel's heartbeats: a node that fell off the network is noticed after 8 s */
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &limit, sizeof limit);
    setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "reno", 4); /* as the store allreduce does: bursts, not pacing */
}

int listen_at(const char *address, int *port) {
    struct sockaddr_in where;
    socklen_t size = sizeof where;
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (fd < 0 || to_address(*address ? address : "0.0.0.0", *port, &where) < 0 || bind(fd, (void *)&where, size) < 0 ||
        listen(fd, 1024) < 0 || getsockname(fd, (void *)&where, &size) < 0) {
        complain(
            "free the port, or give the inventory another cluster_port; DMLC_NODE_HOST must be this node's own address",
            "cannot listen on %s:%d: %s", address, *port, strerror(errno)
        );
        if (fd >= 0) close(fd);
        return -1;
    }
    *port = ntohs(where.sin_port);
    return fd;
}

static void fresh(uint8_t nonce[NONCE_BYTES]) {
    size_t got = 0;
    while (got < NONCE_BYTES) {
        ssize_t more = getrandom(nonce + got, NONCE_BYTES - got, 0);
        if (more > 0) got += (size_t)more;
    }
}

static void prove(const char *token, const char *end, const struct opening *opening, const uint8_t *nonce, uint8_t *proof) {
    struct piece pieces[] = {{end, strlen(end)}, {opening, sizeof *opening}, {nonce, NONCE_BYTES}};
    hmac_sha256(token, strlen(token), pieces, 3, proof);
}

int accept_link(struct link *link, int listener) {
    struct sockaddr_in from;
    socklen_t size = sizeof from;
    int fd = accept4(listener, (void *)&from, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return -1;
    tune(fd);
    memset(link, 0, sizeof *link);
    link->fd = fd;
    link->since = steady_seconds();
    inet_ntop(AF_INET, &from.sin_addr, link->peer, sizeof link->peer);
    return 0;
}

int shake(struct link *link, const char *token) {
    size_t wanted = link->state == OPENING ? sizeof(struct opening) : PROOF_BYTES;
    ssize_t received = recv(link->fd, link->shaken + link->got, wanted - link->got, MSG_DONTWAIT);
    if (received <= 0) return received < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
    link->got += (size_t)received;
    if (link->state == OPENING && memcmp(link->shaken, MAGIC, link->got < 8 ? link->got : 8)) return -1;
    if (link->got < wanted) return 0;
    link->got = 0;
    if (link->state == PROVING) {
        link->state = OPEN;
        return proofs_equal(link->shaken, link->expected) ? 1 : -1;
    }
    struct opening opening;
    struct challenge challenge;
    memcpy(&opening, link->shaken, sizeof opening);
    fresh(challenge.nonce);
    prove(token, "accept", &opening, challenge.nonce, challenge.proof);
    prove(token, "connect", &opening, challenge.nonce, link->expected);
    link->hello = opening.hello;
    link->hello.address[ADDRESS_BYTES - 1] = 0;
    if (!*link->hello.address) memcpy(link->hello.address, link->peer, ADDRESS_BYTES);
    link->state = PROVING;
    return send(link->fd, &challenge, sizeof challenge, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)sizeof challenge ? 0 : -1;
}

static int connected(const struct seat *seat, const struct sockaddr_in *where) {
    struct sockaddr_in own;
    struct timeval limit = {HANDSHAKE_SECONDS, 0};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    /* from the own address: on a node with several the others must see the one they know */
    int bound = !*seat->hello.address || (to_address(seat->hello.address, 0, &own) == 0 && bind(fd, (void *)&own, sizeof own) == 0);
    if (bound && connect(fd, (const void *)where, sizeof *where) == 0) return fd;
    int reason = errno;
    close(fd);
    errno = reason;
    return -1;
}

/* The connecting end's part. 0: proved, -1: the connection failed, -2: the other end is not of this trial. */
static int introduce(int fd, const struct seat *seat) {
    struct opening opening = {.hello = seat->hello};
    struct challenge challenge;
    uint8_t proof[PROOF_BYTES];
    memcpy(opening.magic, MAGIC, sizeof opening.magic);
    fresh(opening.nonce);
    if (send(fd, &opening, sizeof opening, MSG_NOSIGNAL) != (ssize_t)sizeof opening) return -1;
    if (recv(fd, &challenge, sizeof challenge, MSG_WAITALL) != (ssize_t)sizeof challenge) return -1;
    prove(seat->token, "accept", &opening, challenge.nonce, proof);
    if (!proofs_equal(proof, challenge.proof)) return -2;
    prove(seat->token, "connect", &opening, challenge.nonce, proof);
    return send(fd, proof, sizeof proof, MSG_NOSIGNAL) == (ssize_t)sizeof proof ? 0 : -1;
}

int connect_to(struct link *link, const struct seat *seat, const char *address, int port, const char *who, double limit) {
    struct sockaddr_in where;
    struct timespec pause = {0, RETRY_NANOSECONDS};
    double until = steady_seconds() + limit;
    memset(link, 0, sizeof *link);
    link->fd = -1;
    if (to_address(address, port, &where) < 0) {
        return complain("an IP address in DMLC_PS_ROOT_URI and DMLC_NODE_HOST", "%s is no IP address", address);
    }
    do {
        int fd = connected(seat, &where), outcome = fd < 0 ? -1 : introduce(fd, seat);
        if (outcome == 0) {
            tune(fd);
            *link = (struct link){.fd = fd, .state = OPEN, .rank = -1};
            return 0;
        }
        if (fd >= 0) close(fd);
        if (outcome == -2) {
            return complain(
                "let no other trial use this port, and give all processes of a trial one HARNESS_TRIAL_TOKEN",
                "%s:%d is not the %s of this trial", address, port, who
            );
        }
        nanosleep(&pause, NULL);
    } while (steady_seconds() < until);
    return complain(
        "see its log, and whether the nodes' firewall lets the trial's ports through",
        "the %s does not answer at %s:%d as this trial's key-value store", who, address, port
    );
}
