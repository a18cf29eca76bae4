/*
 * One program, run once on the kernel and once on netd: what each call answers, a line each, in the
 * same order. A line is a key, a tab, and the answer. Keys are unique; answers hold nothing that
 * differs from run to run (ports, cookies, times).
 */
#pragma once
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* The kinds and states of sockets that everything is tried on. */
enum state {
	STREAM_NEW,
	STREAM_BOUND,
	STREAM_LISTENING,
	STREAM_CONNECTED,
	STREAM_EOF,  /* the peer has closed */
	STREAM_DATA, /* the peer has written "hello" */
	STREAM_SHUT_WR,
	STREAM_SHUT_RD,
	STREAM_RESET,	/* and nobody has looked yet */
	STREAM_REFUSED, /* after a connect() that was refused */
	STREAM6_NEW,
	STREAM6_LISTENING,
	STREAM6_CONNECTED, /* to a mapped address */
	DGRAM_NEW,
	DGRAM_BOUND,
	DGRAM_CONNECTED,
	DGRAM_DATA,    /* connected, "hello" waits */
	DGRAM_REFUSED, /* connected, an ICMP error waits */
	DGRAM_SHUT,
	DGRAM6_NEW,
	DGRAM6_CONNECTED,
	STATES
};
extern const char *const state_name[STATES];

struct subject {
	int fd;		       /* the socket in that state */
	int other;	       /* its peer or partner, -1 */
	struct sockaddr_in at; /* of the partner, or of the listener */
};

/* Makes one; ends the program if that fails. */
struct subject make(enum state st);
void unmake(struct subject *s);
static inline bool is_dgram(enum state st)
{
	return st >= DGRAM_NEW;
}
static inline bool is_v6(enum state st)
{
	return (st >= STREAM6_NEW && st <= STREAM6_CONNECTED) || st >= DGRAM6_NEW;
}

/* Until these bits of poll() hold; ends the program after ten seconds. */
void await(int fd, short events);

/* A result of a call: "3", or "-1 EINVAL". Takes errno along at once. */
const char *said(long ret);
/* Prints a line. */
void line(const char *answer, const char *key, ...) __attribute__((format(printf, 2, 3)));
#define CALL(expr, ...) line((errno = 0, said(expr)), __VA_ARGS__)

/* data.c */
/* A message as recvmsg() gives it, in words. */
const char *message(int fd, size_t room, size_t control, int flags);
/* An option becomes 1. */
void on(int fd, int level, int name);
/* Sends `data` with one control message. */
long send_with(int fd, int level, int type, const void *v, size_t len, const char *data);

void do_options(void);
void do_structs(void);
void do_calls(void);
void do_creation(void);
void do_data(void);
void do_ready(void);
void do_raw(void);
void do_send(void);
