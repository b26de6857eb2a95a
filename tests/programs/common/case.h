/* What the driver asks of a case. Everything but `answer` is optional. */
#pragma once

#include <stdio.h>

#define API __attribute__((visibility("default")))
#ifdef __clang__
#define NOINLINE __attribute__((noinline))
#else
#define NOINLINE __attribute__((noinline, noclone))
#endif

#ifdef __cplusplus
extern "C" {
#endif
API long answer(long n);        /* "call N" prints it */
API const char *text(long n);   /* "text N" prints it */
API long invariant(long worker); /* called by every worker for ever; not 0 means broken */
API const char *extra(const char *command); /* any other command */
API void on_thread_start(long worker);

/* The driver's loop, for a case that goes on in another thread. */
void serve(FILE *commands, FILE *replies);
#ifdef __cplusplus
}
#endif
