/*
 * Requests on the control connection and their answers (control.proto), with the descriptors that
 * come beside them.
 *
 * An answer is peeked at, and consumed when its descriptors are there. If this process has too few numbers for them
 * (MSG_CTRUNC), it is received once more with room above the limit; where there may be none, the answer goes without them.
 */
#include "clientlib/control.h"
#include "clientlib/numbers.h"
#include "clientlib/own.h"
#include <linux/capability.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#define REQUEST_ROOM 2048

static char
    *first_path; /* $NETD_SOCKET when the program started: it may clean its environment later */

static void take_fds(struct reply *r, struct msghdr *mh)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(mh); c; c = CMSG_NXTHDR(mh, c)) {
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			if (r->nfds < (int)(sizeof(r->fds) / sizeof(r->fds[0])))
				r->fds[r->nfds++] = fd;
			else
				sys_close(fd);
		}
	}
}

static void close_fds(struct reply *r)
{
	for (int i = 0; i < r->nfds; i++)
		if (r->fds[i] >= 0)
			sys_close(r->fds[i]);
	r->nfds = 0;
}

void reply_free(struct reply *r)
{
	close_fds(r);
	free(r->data);
	*r = (struct reply){0};
}

#define ANSWER_ROOM 65536

/* Looks at the next packet, above the limit of descriptors if so told. Its length, 0 at end of file, a negative errno. */
static ssize_t look(int fd, struct reply *r, bool above)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int) * 8)];
	} control;
	struct iovec iov = {.iov_base = r->data, .iov_len = ANSWER_ROOM};
	struct msghdr mh = {.msg_iov = &iov,
	    .msg_iovlen = 1,
	    .msg_control = control.buf,
	    .msg_controllen = sizeof(control.buf)};
	int flags = MSG_PEEK | MSG_CMSG_CLOEXEC;
	ssize_t n;

	do
		n = above ? numbers_lifted(SYS_recvmsg, fd, (long)&mh, flags)
			  : sys_recvmsg(fd, &mh, flags);
	while (n == -EINTR);
	if (n <= 0)
		return n;
	take_fds(r, &mh);
	r->lost = mh.msg_flags & MSG_CTRUNC;
	if (r->lost)
		close_fds(r);
	return n;
}

static void consume(int fd)
{
	struct msghdr nothing = {0};

	while (sys_recvmsg(fd, &nothing, MSG_DONTWAIT) == -EINTR)
		;
}

/* Waits for one packet. 0, -EPIPE at end of file. */
static int control_recv(int fd, struct reply *r)
{
	ssize_t n;

	*r = (struct reply){.data = malloc(ANSWER_ROOM)};
	if (!r->data)
		return -ENOMEM;
	n = look(fd, r, false);
	if (n > 0 && r->lost)
		(void)look(fd, r, true);
	if (n > 0) {
		consume(fd);
		r->len = (size_t)n;
		return 0;
	}
	reply_free(r);
	return n < 0 && n != -ECONNRESET ? (int)n : -EPIPE;
}

/* With `who`, the request says with which rights it is made. */
static int control_send(int fd, const Netd__Control__Request *q, const struct ucred *who)
{
	uint8_t buf[REQUEST_ROOM];
	union {
		struct cmsghdr h;
		char buf[CMSG_SPACE(sizeof(struct ucred))];
	} control = {.h = {.cmsg_len = CMSG_LEN(sizeof(*who)),
			 .cmsg_level = SOL_SOCKET,
			 .cmsg_type = SCM_CREDENTIALS}};
	struct iovec iov = {.iov_base = buf};
	struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t n;

	if (who) {
		memcpy(CMSG_DATA(&control.h), who, sizeof(*who));
		mh.msg_control = control.buf;
		mh.msg_controllen = sizeof(control.buf);
	}

	if (netd__control__request__get_packed_size(q) > sizeof(buf))
		return -EMSGSIZE;
	iov.iov_len = netd__control__request__pack(q, buf);
	do
		n = sys_sendmsg(fd, &mh, MSG_NOSIGNAL);
	while (n == -EINTR);
	return n < 0 ? (int)n : 0;
}

/* Waits for the answer to request `id`; those to earlier ones (told twice after a restart) are
 * passed over. */
static int control_await(int fd, uint64_t id, struct reply *r, Netd__Control__Response **out)
{
	for (;;) {
		int ret = control_recv(fd, r);

		if (ret < 0)
			return ret;
		*out = netd__control__response__unpack(NULL, r->len, r->data);
		if (!*out) {
			reply_free(r);
			return -EPROTO;
		}
		ret = (*out)->error < -4095 ? -EPROTO : (*out)->error;
		if ((*out)->id == id && ret >= 0)
			return 0;
		if ((*out)->id != id)
			ret = 0;
		netd__control__response__free_unpacked(*out, NULL);
		*out = NULL;
		reply_free(r);
		if (ret < 0)
			return ret;
	}
}

int control_call(
    int fd, const Netd__Control__Request *q, struct reply *r, Netd__Control__Response **out)
{
	int ret = control_send(fd, q, NULL);

	return ret < 0 ? ret : control_await(fd, q->id, r, out);
}

int reply_holds(const struct reply *r, int n)
{
	return r->nfds >= n ? 0 : r->lost ? -EMFILE : -EPROTO;
}

int reply_take(struct reply *r, int i)
{
	int fd, ret = reply_holds(r, i + 1);

	if (ret < 0 || r->fds[i] < 0)
		return ret < 0 ? ret : -EPROTO;
	fd = own_place(r->fds[i]);
	r->fds[i] = -1;
	return fd;
}

int session_ask_locked(
    struct session *ss, Netd__Control__Request *q, struct reply *r, Netd__Control__Response **out)
{
	int ret;

	if (session_dead(ss))
		return -ENETDOWN;
	q->id = ss->next_id++;
	ret = control_call(ss->ctl, q, r, out);
	if (ret != -EPIPE)
		return ret;
	session_break(ss);
	return -ENETDOWN;
}

int session_ask(
    struct session *ss, Netd__Control__Request *q, struct reply *r, Netd__Control__Response **out)
{
	int ret;

	pthread_mutex_lock(&ss->ctl_lock);
	ret = session_ask_locked(ss, q, r, out);
	pthread_mutex_unlock(&ss->ctl_lock);
	return ret;
}

int control_list(
    Netd__Control__Request__BodyCase what, struct reply *r, Netd__Control__Response **out)
{
	Netd__Control__Request q = NETD__CONTROL__REQUEST__INIT;
	Netd__Control__Empty nothing = NETD__CONTROL__EMPTY__INIT;
	struct session *ss;
	int ret = session_get(&ss);

	if (ret < 0)
		return ret;
	q.body_case = what;
	q.link_list = &nothing; /* all members of the union are the same empty message */
	*r = (struct reply){0};
	return session_ask(ss, &q, r, out);
}

bool control_v4(const ProtobufCBinaryData *from, uint32_t *to)
{
	struct ipaddr a;

	*to = 0;
	if (from->len != sizeof(a.b))
		return false;
	memcpy(a.b, from->data, sizeof(a.b));
	if (ipaddr_is_any(&a))
		return true;
	if (!ipaddr_is_v4(&a))
		return false;
	*to = ipaddr_to_v4(&a);
	return true;
}

/* CM_RIGHT_*: which of these this thread has as capabilities. */
static uint32_t capabilities(void)
{
	struct __user_cap_header_struct h = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct set[2] = {{0}};
	uint32_t has;

	if (sys_call(SYS_capget, (long)&h, (long)set, 0, 0, 0, 0) < 0)
		return 0;
	has = set[0].effective;
	return (has >> CAP_NET_BIND_SERVICE & 1 ? CM_RIGHT_BIND : 0) |
	       (has >> CAP_NET_RAW & 1 ? CM_RIGHT_RAW : 0) |
	       (has >> CAP_NET_ADMIN & 1 ? CM_RIGHT_ADMIN : 0);
}

/*
 * Says who we are by now: after fork, and before what depends on it after setuid(). `wait` for it
 * to have been heard.
 */
int session_identify(struct session *ss, bool wait)
{
	Netd__Control__Request q = NETD__CONTROL__REQUEST__INIT;
	Netd__Control__Identify identify = NETD__CONTROL__IDENTIFY__INIT;
	struct ucred who = {.pid = sys_getpid(),
	    .uid = (uid_t)sys_call(SYS_geteuid, 0, 0, 0, 0, 0, 0),
	    .gid = (gid_t)sys_call(SYS_getegid, 0, 0, 0, 0, 0, 0)};
	Netd__Control__Response *answer = NULL;
	struct reply r = {0};
	int ret;

	if (session_dead(ss))
		return -ENETDOWN;
	q.body_case = NETD__CONTROL__REQUEST__BODY_IDENTIFY;
	q.identify = &identify;
	identify.keep = capabilities();
	pthread_mutex_lock(&ss->ctl_lock);
	q.id = ss->next_id++;
	ret = control_send(ss->ctl, &q, &who);
	if (ret == 0 && wait)
		ret = control_await(ss->ctl, q.id, &r, &answer);
	if (ret == 0) {
		store_once(&ss->uid, who.uid);
		store_once(&ss->kept, who.uid ? identify.keep : 0);
	}
	pthread_mutex_unlock(&ss->ctl_lock);
	if (answer)
		netd__control__response__free_unpacked(answer, NULL);
	reply_free(&r);
	return ret;
}

int session_identify_changed(struct session *ss)
{
	uint32_t kept = load_once(&ss->kept);

	if (load_once(&ss->uid) == (uint32_t)sys_call(SYS_geteuid, 0, 0, 0, 0, 0, 0) &&
	    (!kept || kept == capabilities()))
		return 0;
	return session_identify(ss, true);
}

/*
 * Root's capabilities, which netd cannot see: it takes root for root. One that the program had when it started and then
 * gave away is missed here, and so are all in a user namespace that it entered, for netd is outside.
 */
static uint32_t started_with, abroad;

void session_abroad(void)
{
	store_once(&abroad, 1);
}

int session_may(struct session *ss, uint32_t rights, int err)
{
	int ret;

	if (rights && load_once(&abroad))
		return err;
	ret = session_identify_changed(ss);
	if (ret < 0 || !rights || sys_call(SYS_geteuid, 0, 0, 0, 0, 0, 0) != 0)
		return ret;
	return started_with & rights && !(capabilities() & rights) ? err : 0;
}

/*
 * An answer can come twice: from a netd-inet that died before it consumed the request, and from its
 * successor. A second copy that lay unread in our connection would keep alive what came in it: a
 * clone's connection, a token. All copies stand before the answer to a later request, which passes
 * them over.
 */
void session_settle(struct session *ss)
{
	(void)session_identify(
	    ss, true); /* it fails with the session, and with that goes the connection */
}

__attribute__((constructor)) static void keep_path(void)
{
	const char *path = secure_getenv("NETD_SOCKET");

	if (path && *path)
		first_path = strdup(path);
	started_with = capabilities();
}

const char *ns_socket_path(void)
{
	const char *path = secure_getenv("NETD_SOCKET");

	return path && *path ? path : first_path ? first_path : "/run/netd/netd.sock";
}

int control_connect(void)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	const char *path = ns_socket_path();
	int ret, fd;

	if (strlen(path) >= sizeof(sa.sun_path))
		return -ENAMETOOLONG;
	memcpy(sa.sun_path, path, strlen(path));
	fd = own_make(SYS_socket, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return fd;
	do
		ret = sys_connect(fd, &sa, sizeof(sa));
	while (ret == -EINTR);
	if (ret < 0) {
		sys_close(fd);
		return ret;
	}
	return fd;
}
