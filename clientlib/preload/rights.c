/*
 * SCM_RIGHTS: descriptors that go from process to process.
 *
 * A netd socket that is to go gets a token at its numbers (fdtable_token), and the message is sent
 * as it is: what arrives is a copy of the token, kept by the kernel for as long as the message lies
 * in a queue. Whoever receives it under this library joins the socket at the number that the kernel
 * gave, with the flags that the kernel gave.
 */
#include "clientlib/preload/hook.h"
#include <string.h>

static void each_fd(const struct msghdr *m, void (*fn)(int fd))
{
	struct msghdr copy = *m;

	if (!m->msg_control || m->msg_controllen < sizeof(struct cmsghdr))
		return;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&copy); c; c = CMSG_NXTHDR(&copy, c)) {
		size_t room = m->msg_controllen - (size_t)((char *)c - (char *)m->msg_control);
		int fd;

		if (c->cmsg_len < CMSG_LEN(0) || c->cmsg_len > room)
			return;
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t at = CMSG_LEN(0); at + sizeof(fd) <= c->cmsg_len; at += sizeof(fd)) {
			memcpy(&fd, (char *)c + at, sizeof(fd));
			fn(fd);
		}
	}
}

static void make_token(int fd)
{
	if (fdtable_has(fd))
		(void)fdtable_token(fd);
}

/* Something new is at this number, whatever the table says. */
static void arrived(int fd)
{
	int saved = errno;

	if (fdtable_has(fd))
		number_forget(fd);
	(void)fdtable_join(fd);
	errno = saved;
}

void rights_send(const struct msghdr *m)
{
	if (user_readable(m, sizeof(*m)) && m->msg_control &&
	    user_readable(m->msg_control, m->msg_controllen) && ns_owner())
		each_fd(m, make_token);
}

void rights_received(struct msghdr *m)
{
	if (m->msg_control && ns_owner())
		each_fd(m, arrived);
}
