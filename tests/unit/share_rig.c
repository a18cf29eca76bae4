/* The process of the make-believe netd-inet. See share_rig.h. */
#include "share_rig_parts.h"
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

volatile struct share_rig *share_rig;
static char path[64];
static int listener;
static pid_t rig_pid;

static void run(void)
{
	for (;;) {
		struct pollfd p = {.fd = listener, .events = POLLIN};

		if (poll(&p, 1, 0) == 1) {
			unsigned n = rig_memory_new();

			rig_mems[n].ctl =
			    rig_with_credentials(accept4(listener, NULL, NULL, SOCK_CLOEXEC));
		}
		for (unsigned n = 1; n < MEMS; n++) {
			if (rig_mems[n].used && rig_mems[n].ctl >= 0)
				rig_serve_rings(n);
			if (rig_mems[n].used && rig_mems[n].ctl >= 0)
				rig_serve_control(n);
		}
		for (int t = 0; t < TOKENS; t++)
			rig_token_end(t);
		for (int i = 0; i < SOCKS; i++)
			rig_look(i);
		usleep(20);
	}
}

void share_rig_start(void)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};

	share_rig = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	snprintf(path, sizeof(path), "/tmp/share-rig-%d.sock", getpid());
	unlink(path);
	memcpy(sa.sun_path, path, sizeof(path));
	listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (bind(listener, (struct sockaddr *)&sa, sizeof(sa)) < 0 || listen(listener, 128) < 0)
		abort();
	setenv("NETD_SOCKET", path, 1);
	rig_pid = fork();
	if (!rig_pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		signal(SIGPIPE, SIG_IGN);
		run();
	}
	close(listener);
}

void share_rig_stop(void)
{
	kill(rig_pid, SIGKILL);
	waitpid(rig_pid, NULL, 0);
	unlink(path);
}
