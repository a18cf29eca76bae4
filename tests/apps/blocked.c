#include "tests/apps/blocked.h"
#include <sys/epoll.h>
#include <sys/select.h>

ssize_t fill(int fd)
{
	static const char buf[65536];
	ssize_t n;

	while ((n = write(fd, buf, sizeof(buf))) > 0)
		;
	return n;
}

static ssize_t blocked_call(struct blocked *b)
{
	struct epoll_event ev = {.events = (uint32_t)b->events};
	struct pollfd p = {.fd = b->fd, .events = b->events};
	struct iovec iov = {(char[8]){0}, 8};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t ret = -1;
	fd_set in;
	int ep;

	switch (b->what) {
	case READ:
		return read(b->fd, iov.iov_base, 8);
	case RECVMSG:
		return recvmsg(b->fd, &m, 0);
	case WRITE:
		return fill(b->fd);
	case ACCEPT:
		return accept(b->fd, NULL, NULL);
	case POLL:
		ret = poll(&p, 1, -1);
		b->revents = p.revents;
		return ret;
	case SELECT:
		FD_ZERO(&in);
		FD_SET(b->fd, &in);
		return select(b->fd + 1, &in, NULL, NULL, NULL);
	case EPOLL:
		ep = epoll_create1(0);
		epoll_ctl(ep, EPOLL_CTL_ADD, b->fd, &ev);
		ret = epoll_wait(ep, &ev, 1, -1);
		close(ep);
		return ret;
	}
	return ret;
}

static void *blocked_main(void *arg)
{
	struct blocked *b = arg;

	__atomic_store_n(&b->tid, (int)gettid(), __ATOMIC_SEQ_CST);
	errno = 0;
	b->ret = blocked_call(b);
	b->err = errno;
	__atomic_store_n(&b->over, true, __ATOMIC_SEQ_CST);
	return NULL;
}

/* How often the thread has gone to sleep so far, if it sleeps now; else -1. */
static long asleep(int tid)
{
	char path[64], line[128], state = 0;
	long sleeps = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/task/%d/status", tid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f)) {
		sscanf(line, "State: %c", &state);
		sscanf(line, "voluntary_ctxt_switches: %ld", &sleeps);
	}
	if (f)
		fclose(f);
	return state == 'S' ? sleeps : -1;
}

bool block_for(struct blocked *b, enum what what, int fd, short events)
{
	long before, now = -1;

	*b = (struct blocked){.what = what, .fd = fd, .events = events};
	pthread_create(&b->t, NULL, blocked_main, b);
	do {
		before = now;
		usleep(NAP / 4);
		now = asleep(__atomic_load_n(&b->tid, __ATOMIC_SEQ_CST));
	} while (!__atomic_load_n(&b->over, __ATOMIC_SEQ_CST) && (now < 0 || now != before));
	return !__atomic_load_n(&b->over, __ATOMIC_SEQ_CST);
}

void block(struct blocked *b, enum what what, int fd)
{
	CHECK(block_for(b, what, fd, POLLIN));
}

void join(struct blocked *b)
{
	pthread_join(b->t, NULL);
}

void connection_ends(struct blocked *b, const struct sockaddr_in *at)
{
	int s = socket(AF_INET, SOCK_STREAM, 0);

	CHECK(connect(s, (const struct sockaddr *)at, sizeof(*at)) == 0);
	join(b);
	CHECK(b->ret >= 0);
	close((int)b->ret);
	close(s);
}
