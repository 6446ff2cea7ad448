/* What a server keeps: for every key its slice of the values, and what has come of the round's gradients. */
#ifndef KVSTORE_VALUES_H
#define KVSTORE_VALUES_H

#include <stddef.h>

#include "wire.h"

/* One worker's part in a key's round. */
struct share {
    float *gradients; /* that wait for those of lower ranks */
    uint32_t request;
    uint32_t kind;
    int arrived;
    int answered; /* nobody waits for the answer */
};

struct values {
    int32_t key;
    size_t size; /* elements of the slice */
    float *stored;
    float *sum;   /* of the round so far */
    float *state; /* of the rule */
    struct rule rule;
    uint32_t arrived;
    uint32_t added; /* workers whose gradients are in the sum */
    struct share *shares;
    float *spare; /* a buffer that was used before */
};

struct values *find_values(int32_t key);

/* A key's values, made with zeros where they are not there. */
struct values *make_values(int32_t key, size_t size, uint32_t workers);

/* Call for every key. */
void each_values(void (*call)(struct values *values, void *argument), void *argument);

/* A buffer of the slice's size, and giving it back. */
float *borrow(struct values *values);
void give_back(struct values *values, float *buffer);

/* Take a worker's gradients, a borrowed buffer, into the round's sum. 1 once all workers' are in it. */
int add_gradients(struct values *values, uint32_t rank, float *gradients, uint32_t workers);

/* Apply gradients to the stored values, by the key's rule. */
void apply(struct values *values, const float *gradients);

/* Change the rule; what it remembers stays where its kind does. */
void set_rule(struct values *values, const struct rule *rule);

#endif
