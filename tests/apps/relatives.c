#include "tests/apps/relatives.h"

void leave(void)
{
	_exit(failures ? 1 : 0);
}

bool ended_well(pid_t pid)
{
	int status = -1;

	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

bool talk(int from, int to, const char *word)
{
	char buf[64];
	size_t len = strlen(word), done = 0;

	if (write(from, word, len) != (ssize_t)len)
		return false;
	while (done < len) {
		ssize_t n = read(to, buf + done, len - done);

		if (n <= 0)
			return false;
		done += (size_t)n;
	}
	return !memcmp(buf, word, len);
}

int send_rights(int over, const int *fd, size_t n)
{
	union rights c = {.h = {.cmsg_level = SOL_SOCKET,
			      .cmsg_type = SCM_RIGHTS,
			      .cmsg_len = CMSG_LEN(n * sizeof(int))}};
	struct iovec iov = {(char[]){'f'}, 1};
	struct msghdr m = {.msg_iov = &iov,
	    .msg_iovlen = 1,
	    .msg_control = &c,
	    .msg_controllen = CMSG_SPACE(n * sizeof(int))};

	memcpy(CMSG_DATA(&c.h), fd, n * sizeof(int));
	return sendmsg(over, &m, 0) == 1 ? 0 : -1;
}

size_t take_rights(int over, int *fd, size_t room, int flags)
{
	union rights c;
	char byte;
	struct iovec iov = {&byte, 1};
	struct msghdr m = {
	    .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &c, .msg_controllen = sizeof(c)};
	size_t n;

	if (recvmsg(over, &m, flags) != 1 || m.msg_controllen < CMSG_LEN(sizeof(int)) ||
	    (m.msg_flags & MSG_CTRUNC))
		return 0;
	n = (c.h.cmsg_len - CMSG_LEN(0)) / sizeof(int);
	if (n > room)
		return 0;
	memcpy(fd, CMSG_DATA(&c.h), n * sizeof(int));
	return n;
}
