/* The doors of processes that share an epoll set (epview.h). */
#include "clientlib/own.h"
#include "clientlib/preload/epview.h"
#include <stddef.h>
#include <string.h>
#include <sys/un.h>

#define BELIEVED_NS 100000000ull /* who was there lately still is */

static int unix_socket(void)
{
	return own_make(SYS_socket, AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

/* Gives it a name of the kernel's choice. 0 or a negative errno. */
static int name_it(int fd, struct epproc *p)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	socklen_t len = sizeof(sa);
	int ret =
	    (int)sys_call(SYS_bind, fd, (long)&sa, offsetof(struct sockaddr_un, sun_path), 0, 0, 0);

	if (ret == 0)
		ret = (int)sys_call(SYS_getsockname, fd, (long)&sa, (long)&len, 0, 0, 0);
	if (ret == 0 && len > sizeof(p->name))
		ret = -EOVERFLOW;
	if (ret < 0)
		return ret;
	memcpy(p->name, &sa, len);
	p->name_len = len;
	return 0;
}

/* Is the door still open? Asked with a socket of its own: to connect the door would shut it to
 * others. */
static bool there(const struct epproc *p)
{
	int fd = unix_socket(), ret;

	if (fd < 0)
		return true;
	ret = (int)sys_call(SYS_connect, fd, (long)p->name, p->name_len, 0, 0, 0);
	sys_close(fd);
	return ret != -ECONNREFUSED;
}

static uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

static bool alive(struct epproc *p)
{
	uint64_t t;

	if (!p->used)
		return false;
	t = now();
	if (t - p->seen_alive < BELIEVED_NS)
		return true;
	p->used = there(p);
	p->seen_alive = t;
	return p->used;
}

bool epdoor_others(const struct epview *v)
{
	for (uint32_t i = 0; i < EPVIEW_PROCS; i++)
		if (i != v->me && alive(&v->t->proc[i]))
			return true;
	return false;
}

int epdoor_new(struct eptable *t, uint32_t *proc, int *door)
{
	uint32_t i = 0;
	int ret;

	while (i < EPVIEW_PROCS && t->proc[i].used && there(&t->proc[i]))
		i++;
	if (i == EPVIEW_PROCS)
		return -EUSERS;
	*door = unix_socket();
	if (*door < 0)
		return *door;
	t->proc[i] = (struct epproc){.seen_alive = now()};
	ret = name_it(*door, &t->proc[i]);
	if (ret < 0) {
		sys_close(*door);
		*door = -1;
		return ret;
	}
	t->proc[i].used = 1;
	epset_own(*door, true);
	*proc = i;
	return 0;
}

void epdoor_knock(const struct epview *v)
{
	for (uint32_t i = 0; i < EPVIEW_PROCS; i++) {
		struct epproc *p = &v->t->proc[i];

		if (i == v->me || !p->used || !p->asleep || p->knocked)
			continue;
		if (sys_call(SYS_sendto, v->door, (long)"", 1, MSG_DONTWAIT | MSG_NOSIGNAL,
			(long)p->name, p->name_len) == -ECONNREFUSED)
			p->used = 0;
		else
			p->knocked = 1;
	}
}

void epdoor_empty(const struct epview *v)
{
	char byte;

	while (sys_call(SYS_recvfrom, v->door, (long)&byte, 1, MSG_DONTWAIT, 0, 0) >= 0)
		;
	v->t->proc[v->me].knocked = 0;
}
