/* SPDX-License-Identifier: Apache-2.0
 *
 * naht.h: hooks and shadow data of a hotpatch, for what a plain exchange of code can't do.
 *
 *     #include <naht.h>
 *
 *     static int repair(void)
 *     {
 *         if (table_limit == 4096)
 *             table_limit = 1024;     // live data that the old code initialised
 *         return 0;
 *     }
 *     NAHT_POST_APPLY(repair);
 *
 * Put a hook into a source file of the *new* tree, beside the variables that it uses. A hotpatch
 * has at most one hook of each kind. A hook is `int f(void)`:
 *
 *     NAHT_PRE_APPLY(f)    runs before any code changes. Returns 0 to allow the hotpatch; any
 *                          other value stops it, and nothing has changed.
 *     NAHT_POST_APPLY(f)   runs after the new code is in place. Its value is ignored.
 *     NAHT_PRE_REVERT(f)   runs before the old code returns, to undo what post-apply did.
 *
 * A hook runs on one borrowed thread of the process, wherever that thread happened to be, while
 * the other threads run. So it must be async-signal-safe: no malloc, no stdio, no locks, nothing
 * that waits, and done within a second. Change shared variables with the __atomic builtins. A
 * post-apply hook may run again after a revert and a new apply: let it check before it changes.
 *
 * In an ordinary build the hooks are dead code.
 *
 * Shadow data are new members for objects that live already: memory of their own, found by the
 * address of the object and a number that you choose. Leave the struct as it is, and say
 *
 *     enum { DEPTH = 1 };
 *
 *     int *depth = naht_shadow_get_or_alloc(parser, DEPTH, sizeof *depth, NULL);
 *     if (depth && ++*depth > 1000)
 *         return too_deep(parser);
 *     …
 *     naht_shadow_free(parser, DEPTH, NULL);     // wherever a parser is freed
 *     free(parser);
 *
 *     void *naht_shadow_get(object, id)
 *         The shadow, or NULL. Takes no lock, so a signal handler may call it.
 *     void *naht_shadow_get_or_alloc(object, id, size, constructor)
 *         The shadow; a new one, of zeros, where there is none. `void constructor(void *object,
 *         void *data)` may fill a new one before anybody else sees it, and must do nothing else.
 *         NULL when there is no memory.
 *     void naht_shadow_free(object, id, destructor)
 *         Gives it back, after `void destructor(void *object, void *data)`. Does nothing where
 *         there is none.
 *
 * Constructor and destructor may be NULL. Memory is the program's own, from the C library's calloc
 * whatever macros there are: so neither `get_or_alloc` nor `free` in hooks or signal handlers.
 * `free` is cheap for an object without a shadow. Threads may call them at once. All code
 * of one object (a library, an executable) shares its shadows. After a fork parent and child
 * each have their own. A hotpatch that replaces this one takes them over; a revert forgets them.
 * An object that is freed by code which does not call naht_shadow_free leaves its shadow to the
 * next object at that address: if there is such code, call it where objects are made, too.
 */
#ifndef NAHT_H
#define NAHT_H

#include <stddef.h>

#define NAHT_PRE_APPLY(function) NAHT_HOOK_(pre_apply, function)
#define NAHT_POST_APPLY(function) NAHT_HOOK_(post_apply, function)
#define NAHT_PRE_REVERT(function) NAHT_HOOK_(pre_revert, function)

/* The builder finds hooks by these sections; the pointer's type makes a wrong signature an error
 * in C++ and a warning in C. */
#define NAHT_HOOK_(kind, function)                                                     \
    static int (*const naht_hook_##kind)(void)                                         \
        __attribute__((used, section(".naht.hooks." #kind))) = (function)

#define NAHT_INLINE_ __attribute__((unused)) static __inline__

#ifdef __cplusplus
extern "C" {
#endif

typedef void (*naht_shadow_function)(void *object, void *data);

/* The C library's, whatever macros a source file has for them: what one file of the object makes,
 * another one frees. */
extern void *naht_calloc_(size_t count, size_t size) __asm__("calloc");
extern void naht_free_(void *memory) __asm__("free");

/* One shadow's entry. It stays in its bucket for ever, so that readers need no lock. */
struct naht_shadow_ {
    struct naht_shadow_ *next;
    unsigned long changes; /* odd while the rest is being written */
    const void *object;    /* NULL: free for another shadow */
    unsigned long id;
    void *data;
};

enum { NAHT_SHADOW_BUCKETS_ = 4096 };

struct naht_shadow_table_ {
    unsigned long writing; /* one writer at a time */
    struct naht_shadow_ *buckets[NAHT_SHADOW_BUCKETS_];
};

/* One for the whole object, whichever files use it. The engine hands its value over to a hotpatch
 * that replaces this one. */
extern struct naht_shadow_table_ *naht_shadow_root
    __attribute__((weak, visibility("hidden")));
struct naht_shadow_table_ *naht_shadow_root __attribute__((weak, visibility("hidden"))) = NULL;

NAHT_INLINE_ struct naht_shadow_ **naht_shadow_bucket_(
    struct naht_shadow_table_ *table, const void *object, unsigned long id)
{
    unsigned long hash = ((unsigned long)object >> 4 ^ id << 20) * 0x9e3779b97f4a7c15ul;
    return &table->buckets[hash >> 52]; /* the top 12 bits */
}

/* The entry as it was at one moment: a writer that came in between shows in `changes`. */
NAHT_INLINE_ int naht_shadow_matches_(
    struct naht_shadow_ *entry, const void *object, unsigned long id, void **data)
{
    unsigned long before = __atomic_load_n(&entry->changes, __ATOMIC_ACQUIRE);
    int same = __atomic_load_n(&entry->object, __ATOMIC_ACQUIRE) == object
        && __atomic_load_n(&entry->id, __ATOMIC_ACQUIRE) == id;
    *data = __atomic_load_n(&entry->data, __ATOMIC_ACQUIRE);
    return same && !(before & 1)
        && __atomic_load_n(&entry->changes, __ATOMIC_RELAXED) == before;
}

NAHT_INLINE_ struct naht_shadow_ *naht_shadow_find_(
    struct naht_shadow_ **bucket, const void *object, unsigned long id, void **data)
{
    struct naht_shadow_ *entry = __atomic_load_n(bucket, __ATOMIC_ACQUIRE);
    while (entry && !naht_shadow_matches_(entry, object, id, data))
        entry = entry->next;
    return entry;
}

/* Nobody holds the lock for longer than a few dozen instructions. Who still finds it taken after
 * so many turns is the child of a fork that happened meanwhile, and nobody is there to let go. Were
 * it ever wrong about that, two first shadows of one object could be made at once, and one lost:
 * entries are claimed one by one all the same. */
NAHT_INLINE_ void naht_shadow_lock_(struct naht_shadow_table_ *table)
{
    unsigned long turns = 0;
    while (__atomic_exchange_n(&table->writing, 1, __ATOMIC_ACQUIRE) && ++turns < 1ul << 24)
        __asm__ __volatile__("pause");
}

NAHT_INLINE_ void naht_shadow_unlock_(struct naht_shadow_table_ *table)
{
    __atomic_store_n(&table->writing, 0, __ATOMIC_RELEASE);
}

/* Writes an entry that is as it was when `changes` was read; tells whether it still was. */
NAHT_INLINE_ int naht_shadow_write_(
    struct naht_shadow_ *entry, unsigned long changes, const void *object, unsigned long id,
    void *data)
{
    if ((changes & 1) || !__atomic_compare_exchange_n(&entry->changes, &changes, changes + 1, 0,
                                                      __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
        return 0;
    __atomic_store_n(&entry->object, object, __ATOMIC_RELEASE);
    __atomic_store_n(&entry->id, id, __ATOMIC_RELEASE);
    __atomic_store_n(&entry->data, data, __ATOMIC_RELEASE);
    __atomic_store_n(&entry->changes, changes + 2, __ATOMIC_RELEASE);
    return 1;
}

/* Into a free entry of the bucket, else into `spare`; tells whether that one was needed. */
NAHT_INLINE_ int naht_shadow_insert_(
    struct naht_shadow_ **bucket, struct naht_shadow_ *spare, const void *object,
    unsigned long id, void *data)
{
    struct naht_shadow_ *entry;
    for (entry = *bucket; entry; entry = entry->next) {
        unsigned long changes = __atomic_load_n(&entry->changes, __ATOMIC_ACQUIRE);
        if (!__atomic_load_n(&entry->object, __ATOMIC_RELAXED)
            && naht_shadow_write_(entry, changes, object, id, data))
            return 0;
    }
    spare->object = object;
    spare->id = id;
    spare->data = data;
    spare->next = __atomic_load_n(bucket, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(bucket, &spare->next, spare, 0, __ATOMIC_RELEASE,
                                        __ATOMIC_RELAXED))
        ;
    return 1;
}

NAHT_INLINE_ struct naht_shadow_table_ *naht_shadow_make_table_(void)
{
    struct naht_shadow_table_ *none = NULL;
    struct naht_shadow_table_ *made = (struct naht_shadow_table_ *)naht_calloc_(1, sizeof *made);
    if (made && !__atomic_compare_exchange_n(&naht_shadow_root, &none, made, 0,
                                             __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
        naht_free_(made); /* another thread was first */
        made = none;
    }
    return made;
}

NAHT_INLINE_ void *naht_shadow_get(const void *object, unsigned long id)
{
    struct naht_shadow_table_ *table = __atomic_load_n(&naht_shadow_root, __ATOMIC_ACQUIRE);
    void *data = NULL;
    if (!table || !naht_shadow_find_(naht_shadow_bucket_(table, object, id), object, id, &data))
        return NULL;
    return data;
}

/* What another thread made meanwhile, else `made`. No memory is taken while the lock is held. */
NAHT_INLINE_ void *naht_shadow_keep_first_(
    struct naht_shadow_table_ *table, const void *object, unsigned long id, void *made)
{
    struct naht_shadow_ **bucket = naht_shadow_bucket_(table, object, id);
    struct naht_shadow_ *spare = (struct naht_shadow_ *)naht_calloc_(1, sizeof *spare);
    void *found = NULL;
    int used = 0;
    if (!spare)
        return NULL;
    naht_shadow_lock_(table);
    if (!naht_shadow_find_(bucket, object, id, &found)) {
        used = naht_shadow_insert_(bucket, spare, object, id, made);
        found = made;
    }
    naht_shadow_unlock_(table);
    if (!used)
        naht_free_(spare);
    return found;
}

NAHT_INLINE_ void *naht_shadow_get_or_alloc(
    void *object, unsigned long id, size_t size, naht_shadow_function constructor)
{
    struct naht_shadow_table_ *table = __atomic_load_n(&naht_shadow_root, __ATOMIC_ACQUIRE);
    void *found = naht_shadow_get(object, id), *made;
    if (found || !object)
        return found;
    made = naht_calloc_(1, size ? size : 1);
    if (made && !table)
        table = naht_shadow_make_table_();
    if (made && table) {
        if (constructor)
            constructor(object, made);
        found = naht_shadow_keep_first_(table, object, id, made);
    }
    if (found != made)
        naht_free_(made);
    return found;
}

NAHT_INLINE_ void naht_shadow_free(
    void *object, unsigned long id, naht_shadow_function destructor)
{
    struct naht_shadow_table_ *table = __atomic_load_n(&naht_shadow_root, __ATOMIC_ACQUIRE);
    struct naht_shadow_ *entry;
    void *data = NULL;
    if (!table || !naht_shadow_get(object, id))
        return; /* most objects have none: a look, and no lock */
    naht_shadow_lock_(table);
    entry = naht_shadow_find_(naht_shadow_bucket_(table, object, id), object, id, &data);
    if (entry
        && !naht_shadow_write_(entry, __atomic_load_n(&entry->changes, __ATOMIC_ACQUIRE), NULL, 0,
                               NULL))
        entry = NULL;
    naht_shadow_unlock_(table);
    if (entry && destructor)
        destructor(object, data);
    if (entry)
        naht_free_(data);
}

#ifdef __cplusplus
}
#endif

#endif
