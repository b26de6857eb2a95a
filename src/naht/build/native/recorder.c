/* Stands in for a compiler driver, a linker or a make during a recorded build: runs the real one with
 * the arguments unchanged (the linker also gets -Map, which does not alter its output) and leaves a
 * record of what was run, with copies of what the build may overwrite, strip or delete later.
 *
 * Refuses nothing and repairs nothing: trouble while recording never fails the user's build; the
 * reader of the records notices what is missing.
 *
 * Layout, found from /proc/self/exe, so that a build that scrubs its environment is recorded too:
 *   HOME/recorder     this program            HOME/bin/NAME    link to it, first in PATH
 *   HOME/real/NAME    link to the real tool   HOME/records, HOME/files   what it leaves
 *
 * A record is a sequence of NUL-terminated strings, key and value in turn.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static char home[PATH_MAX], id[64], real_tool[PATH_MAX];
static FILE *record;

static bool starts(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

static void note(const char *key, const char *value)
{
    if (record) {
        fputs(key, record), fputc(0, record);
        fputs(value, record), fputc(0, record);
    }
}

static const char *format(const char *pattern, ...)
{
    static char text[4 * PATH_MAX];
    va_list list;
    va_start(list, pattern);
    vsnprintf(text, sizeof text, pattern, list);
    va_end(list);
    return text;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* ---- copies ---- */

static bool copy_content(int from, const char *to)
{
    int out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (out < 0)
        return false;
    static char buffer[1 << 16];
    ssize_t got;
    while ((got = read(from, buffer, sizeof buffer)) > 0)
        if (write(out, buffer, got) != got)
            got = -1;
    close(out);
    return got == 0;
}

/* The same file version is copied once: many links share the same archives. */
static void keep(const char *key, const char *path)
{
    struct stat s;
    char copy[PATH_MAX + 128], draft[PATH_MAX + 256];
    int from = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (from < 0)
        return;
    if (fstat(from, &s) == 0 && S_ISREG(s.st_mode)) {
        snprintf(copy, sizeof copy, "%s/files/%lx-%lx-%lx.%lx-%lx", home, (long)s.st_dev,
                 (long)s.st_ino, (long)s.st_mtim.tv_sec, s.st_mtim.tv_nsec, (long)s.st_size);
        snprintf(draft, sizeof draft, "%s.%s", copy, id);
        if (access(copy, F_OK) == 0 ||
            (copy_content(from, draft) && rename(draft, copy) == 0)) {
            note(key, path);
            note("copy", base_name(copy));
        }
    }
    close(from);
}

static void keep_response_files(char **argv)
{
    for (int i = 1; argv[i]; i++)
        if (argv[i][0] == '@')
            keep("response", argv[i] + 1);
}

/* ---- running the real tool ---- */

static int run(char **argv)
{
    pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGTERM); /* make kills only the process that it started */
        execv(real_tool, argv);
        fprintf(stderr, "%s: cannot run %s: %s\n", base_name(argv[0]), real_tool, strerror(errno));
        _exit(127);
    }
    int status = 127 << 8;
    while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    return status;
}

static void open_record(const char *kind, char **argv)
{
    char cwd[PATH_MAX];
    record = fopen(format("%s/records/.%s", home, id), "wxe");
    note("kind", kind);
    note("tool", real_tool);
    note("cwd", getcwd(cwd, sizeof cwd) ? cwd : "");
    const char *parent = getenv("NAHT_RECORDER_PARENT");
    note("parent", kind[0] == 'l' && parent ? parent : "");
    for (int i = 1; argv[i]; i++)
        note("arg", argv[i]);
    for (char **e = environ; *e; e++)
        if (!starts(*e, "NAHT_RECORDER_"))
            note("env", *e);
    keep_response_files(argv);
}

/* A record appears under its final name only when it is complete. */
static void close_record(void)
{
    char draft[PATH_MAX + 128], final[PATH_MAX + 128];
    snprintf(draft, sizeof draft, "%s/records/.%s", home, id);
    snprintf(final, sizeof final, "%s/records/%s", home, id);
    if (record && fclose(record) == 0)
        rename(draft, final);
}

static void finish_like(int status)
{
    if (WIFSIGNALED(status)) {
        signal(WTERMSIG(status), SIG_DFL);
        raise(WTERMSIG(status));
    }
    exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
}

/* ---- compiler drivers ---- */

static bool has(char **argv, const char *option)
{
    for (int i = 1; argv[i]; i++)
        if (strcmp(argv[i], option) == 0)
            return true;
    return false;
}

/* The value of an option that is written joined or as two arguments; the last one wins. */
static const char *value_of(char **argv, const char *option)
{
    const char *found = NULL;
    for (int i = 1; argv[i]; i++)
        if (strcmp(argv[i], option) == 0 && argv[i + 1])
            found = argv[++i];
        else if (starts(argv[i], option) && argv[i][strlen(option)])
            found = argv[i] + strlen(option);
    return found;
}

static const char *with_extension(const char *path, const char *extension)
{
    const char *dot = strrchr(base_name(path), '.');
    return format("%.*s%s", dot ? (int)(dot - path) : (int)strlen(path), path, extension);
}

/* automake renames its dependency file right after the compilation, so it is copied now. */
static void keep_dependencies(char **argv, const char *own)
{
    const char *output = value_of(argv, "-o");
    const char *file = value_of(argv, "-MF");
    for (int i = 1; argv[i] && !file; i++)
        if (starts(argv[i], "-Wp,-MD,"))
            file = argv[i] + strlen("-Wp,-MD,");
        else if (starts(argv[i], "-Wp,-MMD,"))
            file = argv[i] + strlen("-Wp,-MMD,");
    if (file)
        keep("dependencies", file);
    else if ((has(argv, "-MD") || has(argv, "-MMD")) && output)
        keep("dependencies", with_extension(output, ".d"));
    else if (access(own, F_OK) == 0)
        note("dependencies", ""), note("copy", base_name(own));
}

/* Without -o, every argument that looks like a file is tried: a wrong guess finds no object. */
static void keep_objects(char **argv)
{
    const char *output = value_of(argv, "-o");
    if (!has(argv, "-c"))
        return;
    if (output)
        keep("output", output);
    for (int i = 1; argv[i] && !output; i++)
        if (argv[i][0] != '-' && strchr(base_name(argv[i]), '.'))
            keep("output", with_extension(base_name(argv[i]), ".o"));
}

static int run_driver(char **argv)
{
    char own[PATH_MAX + 128];
    const char *path = getenv("COMPILER_PATH");
    snprintf(own, sizeof own, "%s/files/%s.d", home, id);
    open_record("driver", argv);
    /* gcc then finds our ld, also when it was configured with an absolute one. */
    setenv("COMPILER_PATH", path ? format("%s/bin:%s", home, path) : format("%s/bin", home), 1);
    setenv("NAHT_RECORDER_PARENT", id, 1);
    /* gcc lists all headers there, unless the command asks for dependencies itself. */
    setenv("SUNPRO_DEPENDENCIES", own, 0);
    argv[0] = real_tool;
    int status = run(argv);
    note("status", format("%d", status));
    if (status == 0) {
        keep_dependencies(argv, own);
        keep_objects(argv);
    }
    return status;
}

/* ---- linkers ---- */

static bool is_object_or_archive(const char *path)
{
    char head[18] = {0};
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    bool read_all = file >= 0 && read(file, head, sizeof head) >= 8;
    if (file >= 0)
        close(file);
    return read_all && (starts(head, "!<arch>\n") || starts(head, "!<thin>\n") ||
                        (starts(head, "\177ELF") && head[16] == 1)); /* ET_REL */
}

static bool is_installed(const char *path)
{
    return starts(path, "/usr/") || starts(path, "/lib");
}

/* The map names every file that was loaded, also through -l, response files and scripts. Copies are
 * taken now: drivers and libtool delete temporary objects, and strip rewrites the output. */
static void keep_linked(const char *map)
{
    char *line = NULL;
    size_t room = 0;
    FILE *lines = fopen(map, "re");
    while (lines && getline(&line, &room, lines) > 0) {
        line[strcspn(line, "\n")] = 0;
        if (starts(line, "LOAD ") && !is_installed(line + 5) && is_object_or_archive(line + 5))
            keep("input", line + 5);
        char *end = strrchr(line, ' ');
        if (starts(line, "OUTPUT(") && end)
            *end = 0, keep("output", line + strlen("OUTPUT("));
    }
    free(line);
    if (lines)
        fclose(lines);
}

static bool mentions_map(char **argv)
{
    for (int i = 1; argv[i]; i++)
        if (starts(argv[i], "-Map") || starts(argv[i], "--Map") || !strcmp(argv[i], "-M") ||
            !strcmp(argv[i], "--print-map"))
            return true;
    return false;
}

static const char *map_of(char **argv)
{
    const char *value = value_of(argv, "-Map");
    value = value ? value : value_of(argv, "--Map");
    return value && value[0] == '=' ? value + 1 : value;
}

static int run_linker(int argc, char **argv, bool gnu)
{
    static char own[PATH_MAX + 128], option[PATH_MAX + 160];
    char **more = calloc(argc + 2, sizeof *more);
    if (!more)
        abort();
    memcpy(more, argv, argc * sizeof *more);
    snprintf(own, sizeof own, "%s/files/%s.map", home, id);
    snprintf(option, sizeof option, "-Map=%s", own);
    open_record(gnu ? "linker" : "linker-other", argv);
    bool add = gnu && !mentions_map(argv);
    if (add)
        more[argc] = option;
    more[0] = real_tool;
    int status = run(more);
    const char *map = add ? own : map_of(argv);
    note("status", format("%d", status));
    if (status == 0 && map) {
        keep("map", map);
        keep_linked(map);
    }
    return status;
}

/* ---- makes ---- */

static bool is_maker(const char *name)
{
    return !strcmp(name, "make") || !strcmp(name, "gmake") || !strcmp(name, "ninja");
}

/* debian/rules is a script that happens to be a makefile: what it runs is of interest. */
static bool runs_package_rules(char **argv)
{
    const char *file = value_of(argv, "-f");
    return file && strcmp(file, "debian/rules") == 0;
}

/* Only the outermost make of a build is recorded: the others follow from it. Its name stays as it
 * was called, because makefiles call themselves by it ($(MAKE)). */
static int run_maker(char **argv)
{
    if (getenv("NAHT_RECORDER_MAKER") || runs_package_rules(argv)) {
        execv(real_tool, argv);
        return 127;
    }
    open_record("maker", argv);
    setenv("NAHT_RECORDER_MAKER", id, 1);
    int status = run(argv);
    note("status", format("%d", status));
    return status;
}

/* ---- */

static void find_home(const char *name)
{
    char link[PATH_MAX + 128];
    ssize_t size = readlink("/proc/self/exe", home, sizeof home - 1);
    if (size > 0)
        home[size] = 0;
    if (strrchr(home, '/'))
        *strrchr(home, '/') = 0;
    snprintf(link, sizeof link, "%s/real/%s", home, name);
    size = readlink(link, real_tool, sizeof real_tool - 1);
    if (size <= 0) {
        fprintf(stderr, "naht recorder: no real tool known for %s\n", name);
        exit(127);
    }
    real_tool[size] = 0;
}

static bool only_asks(char **argv)
{
    return !argv[1] || !argv[2] || has(argv, "--version") || has(argv, "--help");
}

int main(int argc, char **argv)
{
    struct timespec now;
    char resolved[PATH_MAX];
    const char *name = base_name(argv[0]);
    find_home(name);
    clock_gettime(CLOCK_MONOTONIC, &now);
    snprintf(id, sizeof id, "%012lld%09ld-%d", (long long)now.tv_sec, now.tv_nsec, getpid());
    int status;
    if (is_maker(name)) {
        status = run_maker(argv);
    } else if (strcmp(name, "ld") != 0 && !starts(name, "ld.") && !strstr(name, "-ld")) {
        status = run_driver(argv);
    } else if (only_asks(argv)) {
        argv[0] = real_tool;
        execv(real_tool, argv);
        return 127;
    } else {
        bool gnu = realpath(real_tool, resolved) && !strstr(base_name(resolved), "gold") &&
                   !strstr(base_name(resolved), "lld") && !strstr(base_name(resolved), "mold");
        status = run_linker(argc, argv, gnu);
    }
    close_record();
    finish_like(status);
}
