#define _GNU_SOURCE
#include "values.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "link.h"

/* Sums are made in the order of ranks, so that they do not depend on who came first; slices above so many elements, whose
   waiting buffers would take too much memory, are added as they come. */
#define ORDERED_ELEMENTS (1 << 20)

static struct values **table;
static size_t room, used;

static size_t slot(int32_t key) {
    size_t at = (uint32_t)key * 2654435761u % room;
    while (table[at] && table[at]->key != key) at = (at + 1) % room;
    return at;
}

struct values *find_values(int32_t key) { return room ? table[slot(key)] : NULL; }

static void grow(void) {
    struct values **old = table;
    size_t count = room;
    room = room ? 2 * room : 64;
    table = must_have(calloc(room, sizeof *table));
    for (size_t at = 0; at < count; at++) {
        if (old[at]) table[slot(old[at]->key)] = old[at];
    }
    free(old);
}

struct values *make_values(int32_t key, size_t size, uint32_t workers) {
    struct values *values = find_values(key);
    if (values) return values;
    if (2 * (used + 1) > room) grow();
    values = must_have(calloc(1, sizeof *values));
    values->key = key;
    values->size = size;
    values->stored = must_have(calloc(size, sizeof *values->stored));
    values->shares = must_have(calloc(workers, sizeof *values->shares));
    table[slot(key)] = values;
    used++;
    return values;
}

void each_values(void (*call)(struct values *values, void *argument), void *argument) {
    for (size_t at = 0; at < room; at++) {
        if (table[at]) call(table[at], argument);
    }
}

float *borrow(struct values *values) {
    float *buffer = values->spare;
    values->spare = NULL;
    return buffer ? buffer : must_have(malloc(values->size * sizeof *buffer));
}

void give_back(struct values *values, float *buffer) {
    if (values->spare) {
        free(buffer);
    } else {
        values->spare = buffer;
    }
}

/* Add one worker's gradients to the sum; the first become the sum. */
static void add(struct values *values, float *gradients) {
    if (values->added++ == 0) {
        if (values->sum) give_back(values, values->sum);
        values->sum = gradients;
        return;
    }
    for (size_t at = 0; at < values->size; at++) values->sum[at] += gradients[at];
    give_back(values, gradients);
}

int add_gradients(struct values *values, uint32_t rank, float *gradients, uint32_t workers) {
    values->shares[rank].gradients = gradients;
    if (values->size > ORDERED_ELEMENTS) {
        values->shares[rank].gradients = NULL;
        add(values, gradients);
    }
    while (values->added < workers && values->shares[values->added].gradients) {
        float *next = values->shares[values->added].gradients;
        values->shares[values->added].gradients = NULL;
        add(values, next);
    }
    if (values->added < workers) return 0;
    values->added = 0;
    return 1;
}

static float *state(struct values *values) {
    if (!values->state) values->state = must_have(calloc(values->size, sizeof *values->state));
    return values->state;
}

static float clipped(float gradient, float bound) {
    if (bound < 0) return gradient;
    return gradient > bound ? bound : gradient < -bound ? -bound : gradient;
}

/* The order of operations is that of MXNet 1.9.1's sgd_update and sgd_mom_update, so that the bits are the same. */
static void descend(struct values *values, const float *gradients) {
    const struct rule rule = values->rule;
    const float keep = 1.0f - rule.rate * rule.decay, both = rule.rate * rule.rescale, decay = rule.rate * rule.decay;
    float *stored = values->stored;
    if (rule.momentum == 0 && rule.clip < 0) {
        for (size_t at = 0; at < values->size; at++) stored[at] = keep * stored[at] - both * gradients[at];
        return;
    }
    if (rule.momentum == 0) {
        for (size_t at = 0; at < values->size; at++) {
            stored[at] = keep * stored[at] - rule.rate * clipped(rule.rescale * gradients[at], rule.clip);
        }
        return;
    }
    float *speed = state(values);
    for (size_t at = 0; at < values->size; at++) {
        float step = rule.clip < 0 ? both * gradients[at] : rule.rate * clipped(rule.rescale * gradients[at], rule.clip);
        speed[at] = rule.momentum * speed[at] - decay * stored[at] - step;
        stored[at] += speed[at];
    }
}

/* Duchi et al., 2011, as MXNet 1.9.1's AdaGrad orders the operations. */
static void adapt(struct values *values, const float *gradients) {
    const struct rule rule = values->rule;
    float *squares = state(values), *stored = values->stored;
    for (size_t at = 0; at < values->size; at++) {
        float gradient = clipped(gradients[at] * rule.rescale, rule.clip);
        squares[at] += gradient * gradient;
        stored[at] += (gradient / sqrtf(squares[at] + rule.epsilon) + stored[at] * rule.decay) * -rule.rate;
    }
}

void apply(struct values *values, const float *gradients) {
    switch (values->rule.kind) {
    case SGD: descend(values, gradients); return;
    case ADAGRAD: adapt(values, gradients); return;
    default: memcpy(values->stored, gradients, values->size * sizeof *gradients);
    }
}

void set_rule(struct values *values, const struct rule *rule) {
    if (rule->kind != values->rule.kind) {
        free(values->state);
        values->state = NULL;
    }
    values->rule = *rule;
}
