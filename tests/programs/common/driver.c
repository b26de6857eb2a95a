/* The target program: answers one-line commands on stdin while worker threads call the case.
 *
 *   target [WORKERS [NAP_MICROSECONDS]]
 *   call N | text N        the case's answer
 *   beat                   how many rounds all workers made
 *   broken                 how many rounds saw a broken invariant
 *   scrub                  overwrites dead frames, so that they hold no old return addresses
 *   fork                   a child that answers "to CHILD COMMAND"; prints its pid
 *   load PATH | unload     only with -DDLOPEN
 *   quit                   a normal end
 */
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "case.h"

#define LONGEST_LINE 4096
#define MOST_CHILDREN 256
#define ROUNDS_BETWEEN_NAPS 16
#define WORKER_STACK (256 * 1024)

#ifndef DLOPEN
#pragma weak text
#pragma weak invariant
#pragma weak extra
#pragma weak on_thread_start
#define START(name) = name
#else
#define START(name)
#endif

static long (*volatile answer_entry)(long) START(answer);
static const char *(*volatile text_entry)(long) START(text);
static long (*volatile invariant_entry)(long) START(invariant);
static const char *(*volatile extra_entry)(const char *) START(extra);
static void (*volatile thread_start_entry)(long) START(on_thread_start);

static pthread_rwlock_t loaded = PTHREAD_RWLOCK_INITIALIZER;
static atomic_long beats, broken;
static useconds_t nap = 100;

static struct {
    pid_t pid;
    FILE *commands, *replies;
} children[MOST_CHILDREN];
static int child_count;

static void round_of_work(long worker)
{
    pthread_rwlock_rdlock(&loaded);
    if (invariant_entry) {
        if (invariant_entry(worker) != 0)
            atomic_fetch_add(&broken, 1);
    } else if (answer_entry) {
        answer_entry(1);
    }
    pthread_rwlock_unlock(&loaded);
    atomic_fetch_add(&beats, 1);
}

static void *work(void *argument)
{
    long worker = (long)argument;
    if (thread_start_entry)
        thread_start_entry(worker);
    for (unsigned long round = 1;; round++) {
        round_of_work(worker);
        if (nap && round % ROUNDS_BETWEEN_NAPS == 0)
            usleep(nap);
    }
    return NULL;
}

static void start_workers(long count)
{
    sigset_t all, before;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    if (count > 100)
        pthread_attr_setstacksize(&attributes, WORKER_STACK);
    sigfillset(&all); /* signals go to the main thread */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (long worker = 0; worker < count; worker++) {
        pthread_t thread;
        if (pthread_create(&thread, &attributes, work, (void *)worker) != 0)
            _exit(71);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static const char *load(const char *path)
{
#ifdef DLOPEN
    static void *handle;
    pthread_rwlock_wrlock(&loaded);
    if (handle)
        dlclose(handle);
    handle = *path ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
    answer_entry = handle ? (long (*)(long))dlsym(handle, "answer") : NULL;
    text_entry = handle ? (const char *(*)(long))dlsym(handle, "text") : NULL;
    invariant_entry = handle ? (long (*)(long))dlsym(handle, "invariant") : NULL;
    extra_entry = handle ? (const char *(*)(const char *))dlsym(handle, "extra") : NULL;
    pthread_rwlock_unlock(&loaded);
    return *path && !handle ? dlerror() : "ok";
#else
    (void)path;
    return "not built for dlopen";
#endif
}

void serve(FILE *commands, FILE *replies);

static long spawn_child(void)
{
    int down[2], up[2];
    if (child_count == MOST_CHILDREN || pipe(down) || pipe(up))
        return -1;
    pid_t pid = fork();
    if (pid == 0) {
        close(down[1]);
        close(up[0]);
        serve(fdopen(down[0], "r"), fdopen(up[1], "w"));
        _exit(0);
    }
    close(down[0]);
    close(up[1]);
    children[child_count].pid = pid;
    children[child_count].commands = fdopen(down[1], "w");
    children[child_count].replies = fdopen(up[0], "r");
    child_count++;
    return pid;
}

static const char *ask_child(char *line)
{
    static char reply[LONGEST_LINE];
    long child = strtol(line, &line, 10);
    if (child < 0 || child >= child_count)
        return "no such child";
    fprintf(children[child].commands, "%s\n", line + 1);
    fflush(children[child].commands);
    if (!fgets(reply, sizeof reply, children[child].replies))
        return "gone";
    reply[strcspn(reply, "\n")] = 0;
    return reply;
}

static void end_children(void)
{
    for (int child = 0; child < child_count; child++) {
        fputs("quit\n", children[child].commands); /* its siblings hold this pipe open, too */
        fclose(children[child].commands);
        waitpid(children[child].pid, NULL, 0);
    }
}

/* Overwrites what earlier calls left behind on the main thread's stack. */
static const char *scrub(void)
{
    volatile char old_frames[64 * 1024];
    for (unsigned long at = 0; at < sizeof old_frames; at++)
        old_frames[at] = 0;
    return extra_entry ? extra_entry("scrub") : "ok";
}

static const char *number(long value)
{
    static char buffer[32];
    snprintf(buffer, sizeof buffer, "%ld", value);
    return buffer;
}

static const char *reply_to(char *line)
{
    if (!strncmp(line, "call ", 5))
        return answer_entry ? number(answer_entry(atol(line + 5))) : "nothing loaded";
    if (!strncmp(line, "text ", 5))
        return text_entry ? text_entry(atol(line + 5)) : "no text";
    if (!strcmp(line, "beat"))
        return number(atomic_load(&beats));
    if (!strcmp(line, "broken"))
        return number(atomic_load(&broken));
    if (!strcmp(line, "scrub"))
        return scrub();
    if (!strcmp(line, "fork"))
        return number(spawn_child());
    if (!strncmp(line, "to ", 3))
        return ask_child(line + 3);
    if (!strncmp(line, "load ", 5))
        return load(line + 5);
    if (!strcmp(line, "unload"))
        return load("");
    return extra_entry ? extra_entry(line) : "what?";
}

void serve(FILE *commands, FILE *replies)
{
    char line[LONGEST_LINE];
    while (fgets(line, sizeof line, commands)) {
        line[strcspn(line, "\n")] = 0;
        if (!strcmp(line, "quit"))
            break;
        fprintf(replies, "%s\n", reply_to(line));
        fflush(replies);
    }
}

int main(int count, char **arguments)
{
    if (count > 2)
        nap = (useconds_t)atol(arguments[2]);
    start_workers(count > 1 ? atol(arguments[1]) : 0);
    serve(stdin, stdout);
    end_children();
    return 0;
}
