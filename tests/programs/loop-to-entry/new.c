#include "case.h"

enum { NODES = 1000 };

struct node {
    struct node *next;
    long value;
} nodes[NODES];

NOINLINE long last(struct node *node)
{
    long distance = 0;
    for (; node->next; distance++)
        node = node->next;
    return node->value + distance;
}

static void link_nodes(void)
{
    for (long i = 0; i < NODES - 1; i++)
        nodes[i].next = &nodes[i + 1];
    nodes[NODES - 1].value = 7;
}

long answer(long n)
{
    link_nodes();
    return last(&nodes[n]);
}

/* Distances that are counted from the middle of a call would be too short. */
long invariant(long worker)
{
    long found;
    link_nodes();
    found = last(&nodes[worker]);
    return found != 7 && found != 7 + NODES - 1 - worker;
}
