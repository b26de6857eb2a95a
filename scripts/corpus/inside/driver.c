/* The program that a library is patched in. Threads call `exercise` of the package's driver for
 * ever; without one (DRIVER_LOADS) they only run, beside the object named on the command line.
 * Lines on standard input are answered on standard output: progress, prove, quit. */
#define _GNU_SOURCE
#include "driver.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { THREADS = 4, LINE = 512 };

static unsigned long rounds[THREADS];
static int failed;
static char failure[LINE];
static pthread_mutex_t failing = PTHREAD_MUTEX_INITIALIZER;

void driver_fail(const char *format, ...)
{
	va_list arguments;

	pthread_mutex_lock(&failing);
	if (!failed) {
		va_start(arguments, format);
		vsnprintf(failure, sizeof(failure), format, arguments);
		va_end(arguments);
	}
	failed = 1;
	pthread_mutex_unlock(&failing);
}

const char *driver_data(const char *name)
{
	static __thread char path[LINE];

	snprintf(path, sizeof(path), "/corpus/data/%s", name);
	return path;
}

#ifdef DRIVER_LOADS
void exercise(void)
{
	usleep(1000);
}
#endif

static void *work(void *argument)
{
	unsigned long *counter = argument;

	for (;;) {
		exercise();
		__atomic_add_fetch(counter, 1, __ATOMIC_RELAXED);
		usleep(200); /* the machine is shared */
	}
	return NULL;
}

static void load(int count, char **objects)
{
	for (int i = 0; i < count; i++)
		if (!dlopen(objects[i], RTLD_NOW | RTLD_GLOBAL)) {
			printf("error: %s\n", dlerror());
			exit(1);
		}
}

static void say_progress(void)
{
	if (failed)
		printf("failed: %s", failure);
	else
		printf("rounds:");
	for (int i = 0; i < THREADS && !failed; i++)
		printf(" %lu", __atomic_load_n(&rounds[i], __ATOMIC_RELAXED));
	putchar('\n');
}

static void answer(const char *question)
{
	if (strcmp(question, "progress\n") == 0)
		say_progress();
	else if (strcmp(question, "prove\n") == 0)
		printf("proof: %s\n", prove ? prove() : "");
	else
		exit(0);
}

int main(int count, char **arguments)
{
	char line[LINE];
	pthread_t thread;

	setvbuf(stdout, NULL, _IOLBF, 0);
	load(count - 1, arguments + 1);
	if (setup)
		setup();
	for (int i = 0; i < THREADS; i++)
		if (pthread_create(&thread, NULL, work, &rounds[i])) {
			puts("error: no thread");
			return 1;
		}
	puts("ready");
	while (fgets(line, sizeof(line), stdin))
		answer(line);
	return 0;
}
