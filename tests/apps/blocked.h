/* A thread that is blocked in a call. */
#pragma once
#include "tests/apps/pair.h"

#define NAP 60000 /* microseconds in which what must not happen would have happened */

enum what { READ, RECVMSG, WRITE, ACCEPT, POLL, SELECT, EPOLL };

struct blocked {
	enum what what;
	int fd;
	short events;
	pthread_t t;
	ssize_t ret; /* of the call */
	int err;
	short revents;
	bool over; /* atomic */
	int tid;   /* atomic */
};

/* Another thread begins the call and, unless it has returned, sleeps in it: one and the same sleep over two looks. */
bool block_for(struct blocked *b, enum what what, int fd, short events);
/* The same; it must sleep. */
void block(struct blocked *b, enum what what, int fd);
void join(struct blocked *b);
/* Somebody connects: the blocked accept() has it. */
void connection_ends(struct blocked *b, const struct sockaddr_in *at);
/* Writes until that fails. */
ssize_t fill(int fd);
