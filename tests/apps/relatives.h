/* Helpers of the tests in which several processes hold the same sockets. */
#pragma once
#include "tests/apps/pair.h"

/* A child that runs the block. */
#define CHILD(pid)                                                                                 \
	fflush(NULL);                                                                              \
	(pid) = fork();                                                                            \
	CHECK((pid) >= 0);                                                                         \
	if ((pid) == 0)                                                                            \
		failures = 0;                                                                      \
	if ((pid) == 0)

enum { MOST_RIGHTS = 8 };

union rights {
	struct cmsghdr h;
	char room[CMSG_SPACE(MOST_RIGHTS * sizeof(int))];
};

/* A child's end: its failures are its status. */
_Noreturn void leave(void);
/* Waits for it, or for any. */
bool ended_well(pid_t pid);
/* Writes and reads one word through both ends. */
bool talk(int from, int to, const char *word);
/* Descriptors in one message, MOST_RIGHTS at most. */
int send_rights(int over, const int *fd, size_t n);
/* How many came, `room` at most; 0 if some did not. */
size_t take_rights(int over, int *fd, size_t room, int flags);
