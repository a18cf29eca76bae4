/*
 * Addresses that stay with the kernel (configuration: pass_through).
 *
 * A socket is netd's from the start, as its destination is not known then. At the first bind,
 * connect or send to such an address every number of the socket gets a kernel socket of the same
 * kind instead: the options that a program may have set are copied, memberships in epoll sets go on
 * in the kernel's.
 */
#include "clientlib/own.h"
#include "clientlib/preload/epset.h"
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/time.h>

static const struct {
	int level, name;
	bool time; /* a timeval, else an int */
	int type;  /* only for sockets of this type, 0 for all */
} copied[] = {
    {SOL_SOCKET, SO_REUSEADDR, false, 0},
    {SOL_SOCKET, SO_REUSEPORT, false, 0},
    {SOL_SOCKET, SO_KEEPALIVE, false, 0},
    {SOL_SOCKET, SO_BROADCAST, false, 0},
    {SOL_SOCKET, SO_RCVLOWAT, false, 0},
    {SOL_SOCKET, SO_RCVTIMEO, true, 0},
    {SOL_SOCKET, SO_SNDTIMEO, true, 0},
    {IPPROTO_IP, IP_TOS, false, 0},
    {IPPROTO_IP, IP_TTL, false, 0},
    {IPPROTO_IP, IP_RECVERR, false, SOCK_DGRAM},
    {IPPROTO_IP, IP_PKTINFO, false, SOCK_DGRAM},
    {IPPROTO_IPV6, IPV6_V6ONLY, false, 0},
    {IPPROTO_TCP, TCP_NODELAY, false, SOCK_STREAM},
    {IPPROTO_TCP, TCP_KEEPIDLE, false, SOCK_STREAM},
    {IPPROTO_TCP, TCP_KEEPINTVL, false, SOCK_STREAM},
    {IPPROTO_TCP, TCP_KEEPCNT, false, SOCK_STREAM},
    {IPPROTO_TCP, TCP_USER_TIMEOUT, false, SOCK_STREAM},
};

static void copy_options(struct nsock *s, int to)
{
	for (size_t i = 0; i < sizeof(copied) / sizeof(copied[0]); i++) {
		union {
			int i;
			struct timeval tv;
		} v;
		socklen_t len = copied[i].time ? sizeof(v.tv) : sizeof(v.i);

		if (copied[i].type && copied[i].type != ns_type(s))
			continue;
		if (copied[i].level == IPPROTO_IPV6 && ns_family(s) != AF_INET6)
			continue;
		if (ns_getsockopt(s, copied[i].level, copied[i].name, &v, &len) == 0)
			(void)sys_call(
			    SYS_setsockopt, to, copied[i].level, copied[i].name, (long)&v, len, 0);
	}
}

/* Puts the kernel socket at every number of the socket's. */
static int replace_all(struct nsock *s, int with)
{
	int end = fdtable_limit(), ret = 0;

	for (int fd = 0; fd < end && ret >= 0; fd++) {
		struct nsock *t = fdtable_has(fd) ? fdtable_get(fd) : NULL;
		int flags;

		if (!t)
			continue;
		if (t == s) {
			flags = sys_fcntl(fd, F_GETFD, 0);
			fdtable_forget(fd);
			ret = sys_dup3(with, fd, flags > 0 && flags & FD_CLOEXEC ? O_CLOEXEC : 0);
		}
		ns_put(t);
	}
	return ret < 0 ? ret : 0;
}

int passthrough_switch(struct nsock *s)
{
	int fd, ret;

	if (!ns_owner())
		return -EAGAIN;
	fd = own_make(SYS_socket, ns_family(s),
	    ns_type(s) | SOCK_CLOEXEC | (ns_nonblock(s) ? SOCK_NONBLOCK : 0), ns_protocol(s));
	if (fd < 0)
		return fd;
	copy_options(s, fd);
	ret = replace_all(s, fd);
	sys_close(fd);
	epset_to_kernel(s);
	return ret;
}
