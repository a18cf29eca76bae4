/*
 * Runs a program, and what it starts, on a make-believe netd-inet (tests/unit/share_rig.h):
 * loopback LIBRARY PROGRAM ARGS... Ends as the program ends, unless it left something behind.
 */
#include "tests/unit/share_rig.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static bool nothing_left(void)
{
	return !share_rig->sessions && !share_rig->socks && !share_rig->tokens &&
	       !share_rig->shares;
}

int main(int argc, char **argv)
{
	int status;
	pid_t pid;

	if (argc < 3)
		return 2;
	share_rig_start();
	pid = fork();
	if (pid == 0) {
		setenv("LD_PRELOAD", argv[1], 1);
		execvp(argv[2], argv + 2);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return 2;
	for (int i = 0; i < 2000 && !nothing_left(); i++)
		usleep(1000);
	if (!nothing_left())
		fprintf(stderr, "left: %d sessions, %d sockets, %d tokens, %d shares\n",
		    share_rig->sessions, share_rig->socks, share_rig->tokens, share_rig->shares);
	status = WIFEXITED(status) && nothing_left() ? WEXITSTATUS(status) : 1;
	share_rig_stop();
	return status;
}
