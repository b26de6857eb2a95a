/* Starts a program that no library can be preloaded into (linked statically), and leaves it stopped
 * at its first instruction: SIGCONT releases it. "$NAHT_HOLD/begin.held" appears when it stands
 * there. Ends as the program ends. */
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

static char mark[PATH_MAX];

static int end_as(int status)
{
	if (WIFSIGNALED(status)) {
		signal(WTERMSIG(status), SIG_DFL);
		raise(WTERMSIG(status));
	}
	return WEXITSTATUS(status);
}

static int become(char **command)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	ptrace(PTRACE_TRACEME, 0, NULL, NULL);
	unsetenv("NAHT_HOLD");
	execv(command[0], command);
	perror(command[0]);
	return 127;
}

int main(int count, char **arguments)
{
	const char *directory = getenv("NAHT_HOLD");
	int status = 0;
	pid_t child;

	if (count < 2 || !directory)
		return 125;
	snprintf(mark, sizeof(mark), "%s/begin.held", directory);
	child = fork();
	if (child == 0)
		return become(arguments + 1);
	if (waitpid(child, &status, 0) != child || !WIFSTOPPED(status))
		return end_as(status);
	ptrace(PTRACE_DETACH, child, NULL, (void *)(long)SIGSTOP);
	close(open(mark, O_WRONLY | O_CREAT | O_CLOEXEC, 0666));
	while (waitpid(child, &status, 0) == child && !WIFEXITED(status) && !WIFSIGNALED(status))
		;
	return end_as(status);
}
