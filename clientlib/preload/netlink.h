/* Netlink sockets of NETLINK_ROUTE, by which programs ask for interfaces, addresses, routes and neighbours. */
#pragma once
#include "clientlib/preload/hook.h"
#include <linux/netlink.h>

/* Is the number one of them? A quick question for the hooks of other calls. */
bool netlink_has(int fd);
/* Is this process in the network namespace in which its program was started? */
bool netlink_at_home(void);
/* A new one, its number; `type` as given to socket(). Negative errno. */
int netlink_open(int type);
/* `copy` was made by dup() of one of them. */
void netlink_dup(int fd, int copy);
int netlink_bind(int fd, const struct sockaddr *sa, socklen_t len);
int netlink_name(int fd, struct sockaddr *sa, socklen_t *len);
int netlink_getsockopt(int fd, int level, int name, void *val, socklen_t *len);
int netlink_setsockopt(int fd, int level, int name, const void *val, socklen_t len);
/* Takes requests; their answers can be received when it returns. */
ssize_t netlink_send(int fd, const struct msghdr *m, int flags);
ssize_t netlink_recv(int fd, struct msghdr *m, int flags);

/* rtnetlink.c: messages for the program, one behind the other. */
struct netlink_reply {
	uint8_t *buf;
	size_t len, room;
	size_t open; /* where the message that is being written begins */
	uint32_t port;
	uint32_t seq; /* of the request */
	bool failed;  /* there was no memory */
};
/* Answers one request, whose header and length are right. */
void rtnetlink_answer(struct netlink_reply *r, const struct nlmsghdr *q);
