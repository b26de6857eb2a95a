/* A handle of SFTP that is one beyond the last. The table of handles is ours, so that there is
 * something beyond its end.
 *
 * object: libssh.so.4*
 * link: -l:libssh.so.4
 * proves: 0004-CVE-2025-5318-sftpserver-Fix-possible-buffer-overrun.patch
 */
#include "driver.h"

#define WITH_SERVER 1
#include <libssh/libssh.h>
#include <libssh/sftp.h>
#include <stdio.h>
#include <string.h>

enum { HANDLES = 256 };
static void *table[HANDLES + 2];
static struct sftp_session_struct sftp = {.handles = table};

static void *find(unsigned number) {
    ssh_string text = ssh_string_new(4);
    ssh_string_fill(text, &number, 4);
    void *found = sftp_handle(&sftp, text);
    ssh_string_free(text);
    return found;
}

void setup(void) {
    for (int i = 0; i < HANDLES + 2; i++) table[i] = i < HANDLES ? "a handle" : "not a handle";
}

void exercise(void) {
    if (!find(0) || strcmp(find(HANDLES - 1), "a handle")) driver_fail("a handle is not found");
}

const char *prove(void) {
    void *found = find(HANDLES);
    return found ? found : "none";
}
