/*
 * An epoll set that several processes have since a fork is one set, see pair.h: what one of them
 *adds, changes, removes or is told holds for the others.
 *
 *	 parent ---- ep ---- child           each has sockets that the other has not
 */
#include "tests/apps/relatives.h"
#include <sys/epoll.h>

enum { LONG = 10000, SHORT = 60 };

static int ctl(int ep, int op, int fd, uint32_t events, uint64_t data)
{
	struct epoll_event ev = {.events = events, .data.u64 = data};

	return epoll_ctl(ep, op, fd, &ev);
}

/* The data of the one event, 0 for none. */
static uint64_t next(int ep, int ms, uint32_t *events)
{
	struct epoll_event ev = {.data.u64 = 0};
	int n = epoll_wait(ep, &ev, 1, ms);

	CHECK(n >= 0);
	if (events)
		*events = n == 1 ? ev.events : 0;
	return n == 1 ? ev.data.u64 : 0;
}

/* Nothing is in the set any more: what the dead had open closes soon after them. */
static bool emptied(int ep)
{
	for (double until = seconds() + LONG / 1000; seconds() < until;)
		if (!next(ep, SHORT, NULL))
			return true;
	return false;
}

/* One process tells the other to go on. */
struct turn {
	int p[2];
};

static void turn_make(struct turn *t)
{
	CHECK(pipe(t->p) == 0);
}

static void turn_give(struct turn *t)
{
	CHECK(write(t->p[1], "!", 1) == 1);
}

static void turn_take(struct turn *t)
{
	char c;

	CHECK(read(t->p[0], &c, 1) == 1);
}

static void turn_end(struct turn *t)
{
	close_pair(t->p);
}

static void child_adds(void)
{
	int p[2], ep = epoll_create1(0);
	struct turn go;
	uint32_t events;
	pid_t pid;

	turn_make(&go);
	CHILD(pid)
	{
		make_pair(p);
		CHECK(ctl(ep, EPOLL_CTL_ADD, p[0], EPOLLIN, 77) == 0 && write(p[1], "x", 1) == 1);
		turn_take(&go);
		close(p[0]); /* its only holder: it leaves the set */
		CHECK(ctl(ep, EPOLL_CTL_ADD, p[1], EPOLLOUT, 78) == 0);
		turn_take(&go);
		leave();
	}
	CHECK(next(ep, LONG, &events) == 77 && events == EPOLLIN);
	turn_give(&go);
	for (double until = seconds() + LONG / 1000;
	     next(ep, LONG, NULL) != 78 && seconds() < until;)
		;
	CHECK(next(ep, LONG, NULL) == 78);
	turn_give(&go);
	CHECK(ended_well(pid));
	CHECK(emptied(ep));
	close(ep);
	turn_end(&go);
}

/* The other sleeps in the set already, or comes later. */
static void parent_adds_later(bool first)
{
	int p[2], ep = epoll_create1(0);
	struct turn go;
	pid_t pid;

	turn_make(&go);
	CHILD(pid)
	{
		if (!first)
			turn_take(&go);
		CHECK(next(ep, LONG, NULL) == 5);
		leave();
	}
	if (first)
		usleep(30000);
	make_pair(p);
	CHECK(ctl(ep, EPOLL_CTL_ADD, p[0], EPOLLIN | EPOLLRDHUP, 5) == 0);
	if (!first)
		turn_give(&go);
	else
		usleep(10000);
	CHECK(write(p[1], "x", 1) == 1);
	CHECK(ended_well(pid));
	CHECK(next(ep, LONG, NULL) == 5);
	close(ep);
	close_pair(p);
	turn_end(&go);
}

static void parent_adds(void)
{
	parent_adds_later(false);
	parent_adds_later(true);
}

static void child_changes(void)
{
	int p[2], ep = epoll_create1(0);
	uint32_t events;
	pid_t pid;

	make_pair(p);
	CHECK(ctl(ep, EPOLL_CTL_ADD, p[0], EPOLLIN, 1) == 0 &&
	      ctl(ep, EPOLL_CTL_ADD, p[1], EPOLLIN, 2) == 0);
	CHECK(write(p[1], "x", 1) == 1 && next(ep, LONG, NULL) == 1);
	CHILD(pid)
	{
		CHECK(ctl(ep, EPOLL_CTL_MOD, p[0], EPOLLOUT, 3) == 0);
		leave();
	}
	CHECK(ended_well(pid));
	CHECK(next(ep, LONG, &events) == 3 && events == EPOLLOUT);
	CHILD(pid)
	{
		CHECK(ctl(ep, EPOLL_CTL_DEL, p[0], 0, 0) == 0);
		FAILS(ctl(ep, EPOLL_CTL_DEL, p[0], 0, 0), ENOENT);
		FAILS(ctl(ep, EPOLL_CTL_ADD, p[1], EPOLLIN, 0), EEXIST);
		leave();
	}
	CHECK(ended_well(pid));
	FAILS(ctl(ep, EPOLL_CTL_MOD, p[0], EPOLLIN, 0), ENOENT);
	CHECK(next(ep, SHORT, NULL) == 0);
	CHECK(write(p[0], "y", 1) == 1 && next(ep, LONG, NULL) == 2);
	close(ep);
	close_pair(p);
}

/* What one was told the other is not. */
static void told_once(uint32_t how)
{
	int p[2], ep = epoll_create1(0);
	struct turn go, back;
	pid_t pid;

	turn_make(&go);
	turn_make(&back);
	make_pair(p);
	CHECK(ctl(ep, EPOLL_CTL_ADD, p[0], EPOLLIN | how, 9) == 0);
	CHECK(write(p[1], "1", 1) == 1 && next(ep, LONG, NULL) == 9);
	if (how & EPOLLONESHOT)
		CHECK(ctl(ep, EPOLL_CTL_MOD, p[0], how, 0) == 0);
	CHILD(pid)
	{
		CHECK(next(ep, SHORT, NULL) == 0); /* the parent was told, before the fork */
		turn_give(&back);
		turn_take(&go);
		CHECK(next(ep, LONG, NULL) == 9);
		turn_give(&back);
		turn_take(&go);
		CHECK(next(ep, SHORT, NULL) == 0);
		leave();
	}
	turn_take(&back);
	if (how & EPOLLONESHOT)
		CHECK(ctl(ep, EPOLL_CTL_MOD, p[0], EPOLLIN | how, 9) == 0);
	CHECK(write(p[1], "2", 1) == 1);
	turn_give(&go);
	turn_take(&back);
	CHECK(next(ep, SHORT, NULL) == 0);
	if (how & EPOLLONESHOT)
		CHECK(ctl(ep, EPOLL_CTL_MOD, p[0], EPOLLIN | how, 9) == 0);
	CHECK(write(p[1], "3", 1) == 1 && next(ep, LONG, NULL) == 9);
	turn_give(&go);
	CHECK(ended_well(pid));
	close(ep);
	close_pair(p);
	turn_end(&go);
	turn_end(&back);
}

static void edge_once(void)
{
	told_once(EPOLLET);
}

static void one_shot_once(void)
{
	told_once(EPOLLONESHOT);
}

/* A member is a number and a socket: the same number is another socket there. */
static void same_number(void)
{
	int p[2], q[2], ep = epoll_create1(0);
	struct turn go, back;
	pid_t pid;

	turn_make(&go);
	turn_make(&back);
	make_pair(p);
	CHILD(pid)
	{
		make_pair(q);
		CHECK(dup2(q[0], p[0]) == p[0]);
		CHECK(ctl(ep, EPOLL_CTL_ADD, p[0], EPOLLIN, 42) == 0 && write(q[1], "x", 1) == 1);
		close(q[0]);
		turn_give(&back);
		turn_take(&go);
		leave();
	}
	turn_take(&back);
	CHECK(ctl(ep, EPOLL_CTL_ADD, p[0], EPOLLIN, 41) == 0);
	CHECK(next(ep, LONG, NULL) == 42);
	CHECK(ctl(ep, EPOLL_CTL_DEL, p[0], 0, 0) == 0);
	FAILS(ctl(ep, EPOLL_CTL_DEL, p[0], 0, 0), ENOENT);
	CHECK(next(ep, LONG, NULL) == 42);
	turn_give(&go);
	CHECK(ended_well(pid));
	close(ep);
	close_pair(p);
	turn_end(&go);
	turn_end(&back);
}

/* Who closed its own number of a socket still is told of it, as long as another has it open. */
static void closed_here(void)
{
	int p[2], ep = epoll_create1(0);
	pid_t pid;

	make_pair(p);
	CHECK(ctl(ep, EPOLL_CTL_ADD, p[0], EPOLLIN, 6) == 0);
	CHILD(pid)
	{
		close(p[0]);
		CHECK(write(p[1], "x", 1) == 1);
		CHECK(next(ep, LONG, NULL) == 6);
		leave();
	}
	CHECK(ended_well(pid));
	CHECK(next(ep, LONG, NULL) == 6);
	close(ep);
	close_pair(p);
}

/* Waiting for somebody else's socket does not keep it open, however its holder goes. */
static void not_kept(bool killed)
{
	struct sockaddr_in at;
	int l, q, ep = epoll_create1(0);
	struct turn back;
	pid_t pid;
	char c;

	if (!over_tcp)
		return;
	turn_make(&back);
	l = tcp_listener(&at);
	CHILD(pid)
	{
		int s = socket(AF_INET, SOCK_STREAM, 0);

		CHECK(connect(s, (struct sockaddr *)&at, sizeof(at)) == 0);
		CHECK(ctl(ep, EPOLL_CTL_ADD, s, EPOLLIN, 8) == 0);
		CHECK(read(s, &c, 1) == 1);
		if (!killed)
			close(s);
		turn_give(&back);
		while (killed)
			pause();
		CHECK(next(ep, SHORT, NULL) == 0);
		leave();
	}
	q = accept(l, NULL, NULL);
	CHECK(next(ep, SHORT, NULL) == 0 && write(q, "x", 1) == 1);
	turn_take(&back);
	if (killed) {
		kill(pid, SIGKILL);
		CHECK(waitpid(pid, NULL, 0) == pid);
	} else {
		CHECK(ended_well(pid));
	}
	CHECK(read(q, &c, 1) == 0);
	CHECK(next(ep, SHORT, NULL) == 0);
	close(ep);
	close(l);
	close(q);
	turn_end(&back);
}

static void closed_there(void)
{
	not_kept(false);
}

static void killed_there(void)
{
	not_kept(true);
}

/* Workers of one listener that was put into an inherited set, and their connections: every one is
 * served by whoever comes. */
static void prefork(void)
{
	enum { WORKERS = 3, TURNS = 60 };
	struct sockaddr_in at;
	int l, ep = epoll_create1(0), s[TURNS];
	pid_t pid[WORKERS];
	uint64_t n;
	char c;

	if (!over_tcp)
		return;
	l = tcp_listener(&at);
	fcntl(l, F_SETFL, O_NONBLOCK);
	for (int i = 0; i < WORKERS; i++) {
		CHILD(pid[i])
		{
			while ((n = next(ep, LONG, NULL)) == 1) {
				int q = accept(l, NULL, NULL);

				if (q < 0)
					continue;
				CHECK(write(q, "!", 1) == 1);
				close(q);
			}
			CHECK(n == 2);
			leave();
		}
	}
	CHECK(ctl(ep, EPOLL_CTL_ADD, l, EPOLLIN, 1) == 0);
	for (int i = 0; i < TURNS; i++) {
		s[i] = socket(AF_INET, SOCK_STREAM, 0);
		CHECK(connect(s[i], (struct sockaddr *)&at, sizeof(at)) == 0);
	}
	for (int i = 0; i < TURNS; i++) {
		CHECK(read(s[i], &c, 1) == 1 && c == '!' && read(s[i], &c, 1) == 0);
		if (i)
			close(s[i]);
	}
	CHECK(ctl(ep, EPOLL_CTL_DEL, l, 0, 0) == 0);
	CHECK(ctl(ep, EPOLL_CTL_ADD, s[0], EPOLLRDHUP, 2) == 0);
	for (int i = 0; i < WORKERS; i++)
		CHECK(ended_well(pid[i]));
	close(s[0]);
	close(ep);
	close(l);
}

static void grandchild(void)
{
	int p[2], ep = epoll_create1(0);
	struct turn go;
	pid_t pid;

	turn_make(&go);
	CHILD(pid)
	{
		CHILD(pid)
		{
			make_pair(p);
			CHECK(ctl(ep, EPOLL_CTL_ADD, p[0], EPOLLOUT, 11) == 0);
			turn_take(&go); /* one for each who has to see it */
			turn_take(&go);
			leave();
		}
		CHECK(next(ep, LONG, NULL) == 11);
		turn_give(&go);
		CHECK(ended_well(pid));
		CHECK(emptied(ep));
		leave();
	}
	CHECK(next(ep, LONG, NULL) == 11);
	turn_give(&go);
	CHECK(ended_well(pid));
	CHECK(emptied(ep));
	close(ep);
	turn_end(&go);
}

static void all(void)
{
	int before_ = 0;

	RUN(child_adds);
	RUN(parent_adds);
	RUN(child_changes);
	RUN(edge_once);
	RUN(one_shot_once);
	RUN(same_number);
	RUN(closed_here);
	RUN(closed_there);
	RUN(killed_there);
	RUN(prefork);
	RUN(grandchild);
}

int main(int argc, char **argv)
{
	return test_main(argc, argv, all);
}
