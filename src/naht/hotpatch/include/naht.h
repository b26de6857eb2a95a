/* SPDX-License-Identifier: Apache-2.0
 *
 * naht.h: hooks of a hotpatch, for what a plain exchange of code can't do.
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
 */
#ifndef NAHT_H
#define NAHT_H

#define NAHT_PRE_APPLY(function) NAHT_HOOK_(pre_apply, function)
#define NAHT_POST_APPLY(function) NAHT_HOOK_(post_apply, function)
#define NAHT_PRE_REVERT(function) NAHT_HOOK_(pre_revert, function)

/* The builder finds hooks by these sections; the pointer's type makes a wrong signature an error
 * in C++ and a warning in C. */
#define NAHT_HOOK_(kind, function)                                                     \
    static int (*const naht_hook_##kind)(void)                                         \
        __attribute__((used, section(".naht.hooks." #kind))) = (function)

#endif
