/* Capability sets to and from text and files, and threads made through the wrapper that keeps the
 * capabilities of all threads the same.
 *
 * object: libcap.so.2* libpsx.so.2*
 * link: -lcap -lpsx -Wl,-wrap,pthread_create
 */
#include "driver.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/psx_syscall.h>
#include <unistd.h>

static void *nothing(void *argument) { return argument; }

static void use_text(void) {
    ssize_t length;
    cap_t set = cap_from_text("cap_net_raw,cap_chown=ep cap_kill+i");
    char *text = cap_to_text(set, &length);
    cap_t again = cap_from_text(text);
    if (!set || !again || cap_compare(set, again)) driver_fail("a set is not read back");
    char *name = cap_to_name(CAP_CHOWN);
    if (!name || strcmp(name, "cap_chown")) driver_fail("a name");
    cap_iab_t iab = cap_iab_from_text("!cap_chown,^cap_setuid");
    char *iab_text = cap_iab_to_text(iab);
    cap_free(iab_text);
    cap_free(iab);
    cap_free(name);
    cap_free(text);
    cap_free(again);
    cap_free(set);
}

static void use_files(void) {
    char path[60];
    snprintf(path, sizeof path, "/tmp/naht-cap-%lx", (long)pthread_self());
    FILE *file = fopen(path, "w");
    if (file) fclose(file);
    cap_t set = cap_from_text("cap_net_raw=ep");
    if (!cap_set_file(path, set)) {
        cap_t found = cap_get_file(path);
        if (!found || cap_compare(found, set)) driver_fail("the set of a file");
        cap_free(found);
    }
    if (!cap_set_file("/tmp", set) || !cap_set_file("/none", set))
        driver_fail("a directory has a set");
    cap_set_file(path, NULL);
    cap_free(set);
    unlink(path);
}

static void use_threads(void) {
    static pthread_mutex_t one = PTHREAD_MUTEX_INITIALIZER;
    pthread_t thread;
    pthread_mutex_lock(&one);
    if (pthread_create(&thread, NULL, nothing, NULL)) driver_fail("no thread");
    else pthread_join(thread, NULL);
    pthread_mutex_unlock(&one);
}

void exercise(void) {
    static _Thread_local unsigned round;
    use_text();
    use_files();
    if (round++ % 20 == 0) use_threads(); /* every thread is remembered for a while */
}
