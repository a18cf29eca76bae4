/*
 * netd.h: sockets of netd, the TCP/IP server in user space.
 *
 * The calls are those of <sys/socket.h> with a prefix: the same arguments, the same results, -1 and
 * errno on failure with the same meaning. A netd descriptor is a real descriptor number of the
 * process (it is never given to anything else), but only netd's calls may be used on it; the netd_
 * calls on any other descriptor fail with ENOTSOCK.
 *
 * All calls are thread-safe. No call raises SIGPIPE. A restart of the server is seen as a pause at
 * most; if the server is gone for good, calls fail with ENETDOWN. After fork(), parent and child
 * hold the sockets together, and each closes its own hold. The server is looked for at $NETD_SOCKET, or /run/netd/netd.sock; if it is
 * not there, the first netd_socket() fails with what connect(2) says (ENOENT, ECONNREFUSED,
 * EACCES).
 *
 * Link with -lnetd (pkg-config netd).
 */
#pragma once
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* ---- the socket calls */

/*
 * AF_INET or AF_INET6; SOCK_STREAM or SOCK_DGRAM, or'ed with SOCK_NONBLOCK and SOCK_CLOEXEC.
 * Returns the descriptor. EAFNOSUPPORT, EINVAL, EPROTONOSUPPORT, EMFILE.
 */
int netd_socket(int family, int type, int protocol);
/* socket(7), bind(2): EADDRINUSE, EADDRNOTAVAIL, EACCES, EINVAL. */
int netd_bind(int fd, const struct sockaddr *addr, socklen_t len);
int netd_listen(int fd, int backlog);
/*
 * Waits for the connection unless the socket is non-blocking: then EINPROGRESS, and POLLOUT tells
 * the end.
 */
int netd_connect(int fd, const struct sockaddr *addr, socklen_t len);
int netd_accept(int fd, struct sockaddr *addr, socklen_t *len);
/* flags: SOCK_NONBLOCK, SOCK_CLOEXEC. */
int netd_accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags);
/*
 * Bytes sent. flags: MSG_DONTWAIT; MSG_NOSIGNAL and MSG_MORE are accepted. EPIPE, ECONNRESET,
 * EAGAIN.
 */
ssize_t netd_send(int fd, const void *buf, size_t len, int flags);
ssize_t netd_sendto(
    int fd, const void *buf, size_t len, int flags, const struct sockaddr *to, socklen_t tolen);
ssize_t netd_sendmsg(int fd, const struct msghdr *msg, int flags);
/*
 * Bytes received, 0 at the end of the stream. flags: MSG_DONTWAIT, MSG_PEEK, MSG_WAITALL,
 * MSG_TRUNC.
 */
ssize_t netd_recv(int fd, void *buf, size_t len, int flags);
ssize_t netd_recvfrom(
    int fd, void *buf, size_t len, int flags, struct sockaddr *from, socklen_t *fromlen);
ssize_t netd_recvmsg(int fd, struct msghdr *msg, int flags);
int netd_shutdown(int fd, int how);
/*
 * Closes the descriptor; threads that are blocked in it fail with EBADF. Bytes written before still
 * arrive.
 */
int netd_close(int fd);
/* A second number for the same socket, the lowest free one. */
int netd_dup(int fd);
int netd_getsockopt(int fd, int level, int name, void *val, socklen_t *len);
int netd_setsockopt(int fd, int level, int name, const void *val, socklen_t len);
int netd_getsockname(int fd, struct sockaddr *addr, socklen_t *len);
int netd_getpeername(int fd, struct sockaddr *addr, socklen_t *len);
/* FIONREAD, SIOCOUTQ, SIOCATMARK, FIONBIO: all take an int *. */
int netd_ioctl(int fd, unsigned long request, void *arg);
/* Switches O_NONBLOCK; netd_get_nonblock() returns 1 or 0. */
int netd_set_nonblock(int fd, bool on);
int netd_get_nonblock(int fd);
/* Is this a descriptor of netd? */
bool netd_is_socket(int fd);

/* ---- waiting */

/*
 * poll(2) over netd's and the kernel's descriptors mixed. Timeout in milliseconds, -1 for none.
 * Returns how many entries have revents, 0 after the timeout; EINTR.
 */
int netd_poll(struct pollfd *fds, nfds_t n, int timeout_ms);

/*
 * For event loops: a set of any number of sockets and one kernel descriptor, which is readable
 * (epoll, poll, select; level-triggered) when there is news on any of them. netd_set_open() returns
 * that descriptor, which names the set in the other calls and belongs to the library. A process has
 * up to 64 sets (EMFILE); they do not go along into a forked child.
 *
 * When it is readable: netd_set_events() silences it until there is further news, and says which
 * sockets have news, with what is true of each now in the bits of poll(2). It never waits. If it
 * returns `max` there may be more: call it again. News is told once, so use a socket until EAGAIN.
 * Do so once after adding it: the descriptor tells of what comes from then on. A socket that is
 * closed leaves its sets.
 */
struct netd_event {
	void *data; /* as given to netd_set_add() */
	int events; /* POLLIN | POLLOUT | ... */
};
int netd_set_open(void);
int netd_set_close(int set);
/* EEXIST if it is in there already. */
int netd_set_add(int set, int fd, void *data);
/* ENOENT if it is not. */
int netd_set_remove(int set, int fd);
/* Returns how many entries of `ev` were filled, 0 to max. */
int netd_set_events(int set, struct netd_event *ev, int max);

/*
 * The same for one socket, where there are few: the kernel lets no epoll descriptor watch more than
 * some 500 of these. One per socket, owned by the library, valid until the last close of `fd`. When
 * it is readable: call netd_event_ack(), which silences it until there is further news and returns
 * what is true of the socket now, in the bits of poll(2); then use the socket until EAGAIN, or
 * acknowledge again. Call netd_event_ack() once at the beginning.
 */
int netd_event_fd(int fd);
/* Returns POLLIN | POLLOUT | ... >= 0, or -1 and errno. */
int netd_event_ack(int fd);

/* ---- zero copy */

/*
 * Lends the bytes at the front of what was received: *len of them at *data, where they lie. Waits
 * for at least one unless the socket is non-blocking or flags has MSG_DONTWAIT. Returns 0; *len is
 * 0 at the end of the stream. For datagrams: exactly one, and its sender in `from` (may be NULL).
 * Until netd_recv_release() other receiving calls fail with EBUSY.
 */
int netd_recv_borrow(
    int fd, const void **data, size_t *len, int flags, struct sockaddr *from, socklen_t *fromlen);
/* Gives the bytes back; the first `used` are consumed (a datagram always whole). */
int netd_recv_release(int fd, size_t used);
/*
 * Reserves room for up to `want` bytes in the send ring: *len (at least 1) at *data. For datagrams
 * the room is exactly `want`, and `to` (NULL: the connected peer) says where it will go. Until
 * netd_send_commit() other sending calls fail with EBUSY.
 */
int netd_send_reserve(int fd, size_t want, void **data, size_t *len, int flags,
    const struct sockaddr *to, socklen_t tolen);
/* Sends the first `n` bytes of the room; -1 sends nothing. */
int netd_send_commit(int fd, ssize_t n);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
