/* Preloaded: holds a program before its main and once more at its end, until a byte is written to
 * the FIFO "$NAHT_HOLD/begin" or "$NAHT_HOLD/end". The file "begin.held" (or "end.held") appears
 * when the program stands there. Children of the program run freely. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char directory[PATH_MAX / 2];
static pid_t held_process;

static void announce(const char *moment)
{
	char path[PATH_MAX];
	int fd;

	snprintf(path, sizeof(path), "%s/%s.held", directory, moment);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
	if (fd >= 0)
		close(fd);
}

static void wait_for_release(const char *moment)
{
	char path[PATH_MAX], byte;
	int saved = errno;
	struct pollfd wait = {.events = POLLIN};

	snprintf(path, sizeof(path), "%s/%s", directory, moment);
	wait.fd = open(path, O_RDWR | O_CLOEXEC);
	if (wait.fd < 0)
		return;
	announce(moment);
	/* A thread in poll(2) can hold no lock of the loader; one that reads a named file might. */
	while (poll(&wait, 1, -1) < 0 && errno == EINTR)
		;
	(void)!read(wait.fd, &byte, 1);
	close(wait.fd);
	errno = saved;
}

static void hold_at_end(void)
{
	static int once;

	if (held_process == 0 || getpid() != held_process || __atomic_exchange_n(&once, 1, 5))
		return;
	fflush(NULL);
	wait_for_release("end");
}

static void hold_before_main(void)
{
	const char *wanted = getenv("NAHT_HOLD");

	if (!wanted || strlen(wanted) >= sizeof(directory))
		return;
	strcpy(directory, wanted);
	held_process = getpid();
	unsetenv("NAHT_HOLD");
	unsetenv("LD_PRELOAD");
	wait_for_release("begin");
}

typedef int main_function(int, char **, char **);
typedef int start_function(main_function *, int, char **, void (*)(void), void (*)(void),
			   void (*)(void), void *);

/* Called by the program's first instructions, with all libraries ready. Not in a constructor: what
 * the loader's own first frames hold can't be told from callers, and main would look busy. */
int __libc_start_main(main_function *entry, int count, char **arguments, void (*init)(void),
		      void (*fini)(void), void (*loader_fini)(void), void *stack_end)
{
	start_function *next = (start_function *)dlsym(RTLD_NEXT, "__libc_start_main");

	hold_before_main();
	return next(entry, count, arguments, init, fini, loader_fini, stack_end);
}

/* The way of exit(3): after the program's own handlers. */
__attribute__((destructor)) static void hold_after_handlers(void)
{
	hold_at_end();
}

/* The ways around exit(3). */
__attribute__((noreturn)) void _exit(int status)
{
	void (*next)(int) = (void (*)(int))dlsym(RTLD_NEXT, "_exit");

	hold_at_end();
	next(status);
	__builtin_unreachable();
}

__attribute__((noreturn)) void _Exit(int status)
{
	_exit(status);
}
