/* Calls on a socket that neither move bytes nor change numbers: names, options, connect, listen,
 * shutdown. */
#include "clientlib/preload/netlink.h"
#include <netinet/in.h>

HOOK int bind(int fd, __CONST_SOCKADDR_ARG sa, socklen_t len)
{
	struct nsock *s = fdtable_get(fd);
	int ret;

	if (!s && netlink_has(fd))
		return (int)done(netlink_bind(fd, sa.__sockaddr__, len));
	if (!s)
		return real.bind(fd, sa, len);
	if (ns_pass_through(sa.__sockaddr__, len)) {
		ret = passthrough_switch(s);
		ns_put(s);
		return ret < 0 ? (int)done(ret) : real.bind(fd, sa, len);
	}
	return (int)done_put(s, ns_bind(s, sa.__sockaddr__, len));
}

HOOK int connect(int fd, __CONST_SOCKADDR_ARG sa, socklen_t len)
{
	struct nsock *s = fdtable_get(fd);
	int ret;

	if (!s && netlink_has(fd))
		return 0; /* there is nobody else to talk to */
	if (!s)
		return real.connect(fd, sa, len);
	if (ns_pass_through(sa.__sockaddr__, len)) {
		ret = passthrough_switch(s);
		ns_put(s);
		return ret < 0 ? (int)done(ret) : real.connect(fd, sa, len);
	}
	return (int)done_put(s, ns_connect(s, sa.__sockaddr__, len, ns_nonblock(s)));
}

HOOK int listen(int fd, int backlog)
{
	struct nsock *s = fdtable_get(fd);

	return s ? (int)done_put(s, ns_listen(s, backlog)) : real.listen(fd, backlog);
}

HOOK int shutdown(int fd, int how)
{
	struct nsock *s = fdtable_get(fd);

	return s ? (int)done_put(s, ns_shutdown(s, how)) : real.shutdown(fd, how);
}

HOOK int getsockname(int fd, __SOCKADDR_ARG sa, socklen_t *restrict len)
{
	struct nsock *s = fdtable_get(fd);

	if (!s && netlink_has(fd))
		return (int)done(netlink_name(fd, sa.__sockaddr__, len));
	if (!s)
		return real.getsockname(fd, sa, len);
	return (int)done_put(s, ns_getname(s, false, sa.__sockaddr__, len));
}

HOOK int getpeername(int fd, __SOCKADDR_ARG sa, socklen_t *restrict len)
{
	struct nsock *s = fdtable_get(fd);

	if (!s)
		return real.getpeername(fd, sa, len);
	return (int)done_put(s, ns_getname(s, true, sa.__sockaddr__, len));
}

HOOK int getsockopt(int fd, int level, int name, void *restrict val, socklen_t *restrict len)
{
	struct nsock *s = fdtable_get(fd);

	if (!s && netlink_has(fd))
		return (int)done(netlink_getsockopt(fd, level, name, val, len));
	if (!s)
		return real.getsockopt(fd, level, name, val, len);
	return (int)done_put(s, ns_getsockopt(s, level, name, val, len));
}

HOOK int setsockopt(int fd, int level, int name, const void *val, socklen_t len)
{
	struct nsock *s = fdtable_get(fd);

	if (!s && netlink_has(fd))
		return (int)done(netlink_setsockopt(fd, level, name, val, len));
	return s ? (int)done_put(s, ns_setsockopt(s, level, name, val, len))
		 : real.setsockopt(fd, level, name, val, len);
}
