/*
 * Taking over from a supervisor that died: whoever answers on the control socket then (daemon/alone.h)
 * gives everything that it had. That the other one is dead the living netd-inet knows best; that there is
 * never a second one besides us is the office's affair (base/office.h).
 */
#include "supervisor/supervisor.h"
#include "base/office.h"
#include "proto/control.pb-c.h"
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ANSWER_MS 10000
#define OFFICE_MS 10000

static int receive(int fd, struct channel_msg *msg)
{
	int ret;

	while ((ret = channel_recv(fd, msg, 0)) == -EAGAIN) {
		struct pollfd p = {.fd = fd, .events = POLLIN};

		if (poll(&p, 1, ANSWER_MS) == 0)
			return -ETIMEDOUT;
	}
	return ret == 0 ? -ECONNRESET : ret;
}

/*
 * Everything that the other one had, until the end of file; all or nothing, for what we do not know of would go on
 * without us. Who gives it keeps it too: another supervisor can ask. 0 or a negative errno.
 */
static int take_all(struct supervisor *s, int fd)
{
	int ret = 1, kept = 0;

	while (!kept && (ret = channel_recv(fd, &s->msg, 0)) > 0) {
		to_component *m = netd__component__to_component__unpack(NULL, s->msg.len, s->msg.data);

		if (m && m->body_case == NETD__COMPONENT__TO_COMPONENT__BODY_KEEP && strcmp(m->keep->name, STORE_SUPERVISOR) != 0)
			kept = fdtable_own(&s->stored, m->keep->name, channel_take_fd(&s->msg, 0));
		netd__component__to_component__free_unpacked(m, NULL);
		channel_close_fds(&s->msg);
	}
	close(fd);
	if (!ret)
		return 0;
	log_error("what another netd left cannot all be taken up: %s",
	    ret == -EMSGSIZE ? "too many files are open (ulimit -n)" : strerror(ret < 0 ? -ret : -kept));
	return ret < 0 ? ret : kept;
}

int succession_occupied(const struct supervisor *s)
{
	pid_t pid = pidfile_read(s, "supervisor");
	char text[32] = "";

	if (pid)
		snprintf(text, sizeof(text), " (pid %d)", (int)pid);
	log_error("%s is served by another netd%s", s->config->socket, text);
	return -EBUSY;
}

static int refused(const struct supervisor *s, const Netd__Control__Response *a)
{
	if (a && a->error == -EBUSY)
		return succession_occupied(s);
	log_error("%s is served, and cannot be taken over: %s", s->config->socket,
	    a && *a->text ? a->text : "it gives no sensible answer");
	return a && a->error < 0 ? a->error : -EPROTO;
}

/* -EAGAIN: it is not time yet. */
static int ask(struct supervisor *s, int conn)
{
	Netd__Control__Request q = NETD__CONTROL__REQUEST__INIT;
	Netd__Control__Empty empty = NETD__CONTROL__EMPTY__INIT;
	Netd__Control__Response *a;
	int fd, ret;

	q.id = 1;
	q.body_case = NETD__CONTROL__REQUEST__BODY_SUCCEED;
	q.succeed = &empty;
	ret = channel_send(conn, &q.base, NULL, 0);
	if (!ret)
		ret = receive(conn, &s->msg);
	if (ret < 0) {
		log_error("%s is served, but netd-inet (pid %d) does not answer: %s", s->config->socket,
		    (int)pidfile_read(s, "inet"), strerror(-ret));
		return ret;
	}
	a = netd__control__response__unpack(NULL, s->msg.len, s->msg.data);
	fd = a && !a->error ? channel_take_fd(&s->msg, 0) : -1;
	channel_close_fds(&s->msg);
	if (fd >= 0)
		ret = take_all(s, fd);
	else
		ret = a && a->error == -EAGAIN ? -EAGAIN : refused(s, a);
	if (a)
		netd__control__response__free_unpacked(a, NULL);
	return ret;
}

int succession_ask(struct supervisor *s)
{
	uint64_t until = now_ns() + OFFICE_MS * NSEC_PER_MSEC;
	int conn, ret;

	/* Systemd's store has what there is; and its listening socket answers to nobody. */
	s->heir = store_has(s, "arena");
	if (s->stored.n)
		return 0;
	conn = listening_connect(s);
	if (conn == -ENOENT || conn == -ECONNREFUSED)
		return 0;
	if (conn < 0) {
		log_error("%s: %s", s->config->socket, strerror(-conn));
		return conn;
	}
	while ((ret = ask(s, conn)) == -EAGAIN && now_ns() < until)
		poll(NULL, 0, 1);
	close(conn);
	if (ret == -EAGAIN)
		return succession_occupied(s);
	if (ret < 0)
		return ret;
	s->succeeded = s->heir = true;
	if (store_has(s, "arena") && store_has(s, "control"))
		return 0;
	log_error("%s is served by a netd that systemd started: start it there", s->config->socket);
	return -EBUSY;
}

/* A netd-inet that has it gives it back when it has read what its predecessor said: milliseconds. */
int succession_office(struct supervisor *s)
{
	uint64_t until = now_ns() + OFFICE_MS * NSEC_PER_MSEC;
	int ret;

	while ((ret = office_take(s->arena, &s->office)) == OFFICE_BUSY && now_ns() < until)
		poll(NULL, 0, 1);
	if (ret == OFFICE_TAKEN)
		return 0;
	if (ret < 0)
		log_error("the lock on the arena cannot be had: %s", strerror(-ret));
	return ret < 0 ? ret : succession_occupied(s);
}
