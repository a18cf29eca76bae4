/* The control socket, as the supervisor makes it. */
#include "supervisor/supervisor.h"
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* netd-inet may not have accepted it yet, nor asked for credentials: the first request has them all the same. */
Test(listening, the_first_request_tells_its_sender)
{
	char dir[] = "/tmp/netd-listening-XXXXXX", path[64], byte;
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(struct ucred))];
	} control;
	struct iovec iov = {&byte, 1};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.buf, .msg_controllen = sizeof(control.buf)};
	struct config config = {.socket = path};
	struct supervisor s = {.config = &config};
	struct ucred who = {0};
	const struct cmsghdr *c;
	int out, in;

	cr_assert_not_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/netd.sock", dir);
	cr_assert_eq(listening_start(&s), 0);
	out = listening_connect(&s);
	cr_assert_geq(out, 0);
	in = accept(s.listening, NULL, NULL);
	cr_assert_geq(in, 0);
	cr_assert_eq(send(out, "x", 1, 0), 1);
	cr_assert_eq(recvmsg(in, &m, 0), 1);
	c = CMSG_FIRSTHDR(&m);
	cr_assert(c && c->cmsg_type == SCM_CREDENTIALS);
	if (c)
		memcpy(&who, CMSG_DATA(c), sizeof(who));
	cr_assert_eq(who.pid, getpid());
	close(in);
	close(out);
	fdtable_close(&s.store);
	close(s.listening);
	unlink(path);
	rmdir(dir);
}
