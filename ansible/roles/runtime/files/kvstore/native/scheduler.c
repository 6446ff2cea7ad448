/* The scheduler: gives out ranks and the servers' places, holds barriers, and ends the servers. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "serve.h"

#define ORPHAN_SECONDS 60

struct member {
    struct link *link;
    int there; /* at the barrier */
    int ended; /* it has said LEAVE */
};

static struct {
    struct service service;
    struct hello own;
    struct member *workers, *servers;
    struct place *places;
    int complete;  /* all have joined once */
    double last;   /* when a worker was last here, once complete */
} scheduler;

static uint32_t counted(enum role role) { return role == WORKER ? scheduler.own.workers : scheduler.own.servers; }

static struct member *members(enum role role) { return role == WORKER ? scheduler.workers : scheduler.servers; }

static void tell(struct link *link, enum kind kind, int32_t key, const void *body, size_t bytes) {
    struct message head = {.kind = kind, .key = key, .bytes = bytes};
    queue_message(link, &head, body, 1);
}

static void tell_roster(struct link *link) {
    tell(link, ROSTER, link->rank, scheduler.places, scheduler.own.servers * sizeof *scheduler.places);
}

/* The place that a newcomer takes: the wanted one, where nobody else has it, or else the first that is free. */
static int free_rank(enum role role, int32_t wanted) {
    struct member *all = members(role);
    int count = (int)counted(role);
    if (wanted >= 0 && wanted < count && !all[wanted].link && !all[wanted].ended) return wanted;
    for (int rank = 0; rank < count; rank++) {
        if (!all[rank].link && !all[rank].ended) return rank;
    }
    return -1;
}

static int all_joined(void) {
    for (uint32_t rank = 0; rank < scheduler.own.workers; rank++) {
        if (!scheduler.workers[rank].link) return 0;
    }
    for (uint32_t rank = 0; rank < scheduler.own.servers; rank++) {
        if (!scheduler.servers[rank].link) return 0;
    }
    return 1;
}

static int joined(struct link *link) {
    enum role role = link->hello.role;
    if ((role != WORKER && role != SERVER) || link->hello.workers != scheduler.own.workers ||
        link->hello.servers != scheduler.own.servers) {
        return complain("the same DMLC_NUM_WORKER and DMLC_NUM_SERVER everywhere", "a process of another trial has come");
    }
    int rank = free_rank(role, link->hello.rank);
    if (rank < 0) return complain("fewer processes", "a %s too many has come", role == WORKER ? "worker" : "server");
    link->rank = rank;
    members(role)[rank] = (struct member){.link = link};
    if (role == SERVER) {
        scheduler.places[rank].port = link->hello.port;
        memcpy(scheduler.places[rank].address, link->hello.address, ADDRESS_BYTES);
    }
    if (scheduler.complete) {
        tell_roster(link);
    } else if (all_joined()) {
        scheduler.complete = 1;
        for (size_t at = 0; at < scheduler.service.count; at++) {
            if (scheduler.service.links[at]->rank >= 0) tell_roster(scheduler.service.links[at]);
        }
    }
    return 0;
}

static void end(int code) {
    for (uint32_t rank = 0; rank < scheduler.own.servers; rank++) {
        if (scheduler.servers[rank].link) tell(scheduler.servers[rank].link, END, 0, NULL, 0);
    }
    scheduler.service.ended = 1;
    scheduler.service.code = code;
}

static void left(struct link *link) {
    struct member *member = &members(link->hello.role)[link->rank];
    if (member->link != link) return;
    member->link = NULL;
    member->there = 0;
    if (member->ended || scheduler.service.ended) return;
    if (link->hello.role == SERVER && scheduler.complete) {
        complain("see its log for what ended it", "lost server %d at %s", link->rank, link->hello.address);
        end(1);
    } else {
        fprintf(stderr, "%s %d at %s has gone; its place is free\n", link->hello.role == WORKER ? "worker" : "server",
                link->rank, link->hello.address);
    }
}

static int head(struct link *link) {
    int known = link->head.kind == BARRIER || link->head.kind == LEAVE;
    return known && link->hello.role == WORKER && link->head.bytes == 0 ? 0 : -1;
}

static int message(struct link *link) {
    struct member *member = &scheduler.workers[link->rank];
    uint32_t there = 0, ended = 0;
    if (link->head.kind == BARRIER) member->there = 1;
    if (link->head.kind == LEAVE) member->ended = 1;
    for (uint32_t rank = 0; rank < scheduler.own.workers; rank++) {
        there += scheduler.workers[rank].there;
        ended += scheduler.workers[rank].ended;
    }
    if (there == scheduler.own.workers) {
        for (uint32_t rank = 0; rank < scheduler.own.workers; rank++) {
            scheduler.workers[rank].there = 0;
            tell(scheduler.workers[rank].link, BARRIER, 0, NULL, 0);
        }
    }
    if (ended == scheduler.own.workers) end(0);
    return 0;
}

/* Without workers for so long, the trial is over: nobody else might end the servers. */
static void tick(double now) {
    int present = !scheduler.complete;
    for (uint32_t rank = 0; rank < scheduler.own.workers; rank++) present |= scheduler.workers[rank].link != NULL;
    if (present) scheduler.last = now;
    if (now - scheduler.last > ORPHAN_SECONDS && !scheduler.service.ended) {
        complain("see the workers' logs", "no worker has been here for %d s", ORPHAN_SECONDS);
        end(1);
    }
}

int run_scheduler(const struct seat *seat) {
    int port = seat->root_port;
    scheduler.own = seat->hello;
    scheduler.workers = must_have(calloc(seat->hello.workers, sizeof *scheduler.workers));
    scheduler.servers = must_have(calloc(seat->hello.servers, sizeof *scheduler.servers));
    scheduler.places = must_have(calloc(seat->hello.servers, sizeof *scheduler.places));
    scheduler.last = steady_seconds();
    scheduler.service = (struct service){
        .receiver = {head, message},
        .joined = joined,
        .left = left,
        .tick = tick,
        .token = seat->token,
        .listener = listen_at(seat->root, &port),
    };
    return scheduler.service.listener < 0 ? 1 : serve(&scheduler.service);
}
