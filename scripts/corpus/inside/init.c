/* The first process of a live root: keeps its namespaces, reaps what is orphaned there, brings the
 * loopback interface up. When it ends, the kernel ends all the others. */
#include <errno.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static void bring_loopback_up(void)
{
	struct ifreq request;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	memset(&request, 0, sizeof(request));
	strcpy(request.ifr_name, "lo");
	if (fd >= 0 && ioctl(fd, SIOCGIFFLAGS, &request) == 0) {
		request.ifr_flags |= IFF_UP;
		(void)ioctl(fd, SIOCSIFFLAGS, &request);
	}
	if (fd >= 0)
		close(fd);
}

int main(void)
{
	bring_loopback_up();
	for (;;)
		if (waitpid(-1, NULL, 0) < 0 && errno == ECHILD)
			usleep(20000);
}
