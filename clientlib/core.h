/*
 * The core of the client library: sockets of netd as objects of this process.
 *
 * Used by the public calls (netd.h) and by the preload library. Everything here returns >= 0 or a
 * negative errno, never touches errno, and makes only the system calls of clientlib/sys.h, so that
 * it may run below interposed libc functions. All calls are thread-safe unless said otherwise. None
 * is safe in a signal handler that interrupted another one on the same socket.
 *
 * Blocking calls: sleep until there is something to do, a signal came (-EINTR; calls without a
 * timeout restart by themselves under SA_RESTART, as in the kernel), or SO_RCVTIMEO / SO_SNDTIMEO
 * ran out (-EAGAIN). A pause of the daemon is just a longer sleep.
 *
 * Errors that any call may give: -EBADF (closed meanwhile), -ENETDOWN (the session is lost: netd is gone for good,
 * or broke the contract).
 */
#pragma once
#include "proto/endpoint.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/types.h>

struct nsock; /* a socket: reference counted */
struct nset; /* a wait set: a descriptor to sleep on, and its member sockets with their user data */

/* ---- the session */

/*
 * Attaches this process to netd if it is not yet. 0, or what connect() said (-ENOENT,
 * -ECONNREFUSED, -EACCES), -EPROTO, -EMFILE (this process has too many descriptors), -ENFILE (netd has).
 */
int ns_attach(void);
/* To be called before the process gives up what it needs to attach (the way to the control socket, its user): it and its children do without from then on. */
void ns_enclose(void);
/*
 * Is this one of the library's own descriptors (control socket, bells)? Then an application's
 * close() of it must not succeed.
 */
bool ns_own_fd(int fd);
/* Every own descriptor, for close_range() and the like: fills fd[], returns how many there are. */
int ns_own_fds(int *fd, int max);
/*
 * False in a vfork() child (or raw clone): shares our memory but is another process; must leave
 * sockets and tables alone.
 */
bool ns_owner(void);
/*
 * Must this destination stay with the kernel (configuration: pass_through)? Attaches if need be;
 * false if netd is not there.
 */
bool ns_pass_through(const struct sockaddr *sa, socklen_t len);
/* Where netd's control socket is. */
const char *ns_socket_path(void);
/* The i-th configured name server as text; NULL beyond the last. */
const char *ns_name_server(int i);

/*
 * What the caller has to do at a fork: `prepare` before the library takes its locks, `done` after it gave them up, in the
 * parent and in the child. Once, before the first socket.
 */
void ns_on_fork(void (*prepare)(void), void (*fork_done)(bool child));
/* From here on; the first socket does the same. */
void ns_heed_forks(void);

/*
 * RLIMIT_AS as the program thinks of it, without what this library has mapped (space.c). 0 or a negative errno.
 */
int ns_space_get(struct rlimit *l);
int ns_space_set(const struct rlimit *l);
/* Around an exec(): the limit is what the program thinks; back, as the exec failed. */
void ns_space_exec(struct rlimit *was);
void ns_space_stay(const struct rlimit *was);

/*
 * RLIMIT_NOFILE as the program thinks of it, without what this library opens (numbers.c). 0 or a negative errno.
 */
int ns_numbers_get(struct rlimit *l);
int ns_numbers_set(const struct rlimit *l);
/* dup3() to a number that is none of the library's, also to one of those that are kept back for it. */
int ns_numbers_dup(int from, int fd, int flags);
/* Once, before the program begins: keeps room for the library's own. */
void ns_numbers_reserve(void);
/* Around an exec(), and a call that makes a process which does one: the limit is what the program thinks; back again. */
void ns_numbers_exec(void);
void ns_numbers_stay(void);

/* ---- life of a socket */

/*
 * AF_INET, AF_INET6 or AF_PACKET; SOCK_CLOEXEC has no meaning here, SOCK_NONBLOCK sets the socket's flag. The
 * kernel's errno: -EAFNOSUPPORT, -EINVAL, -ESOCKTNOSUPPORT, -EPROTONOSUPPORT, -EMFILE. The new
 * socket has one reference.
 */
int ns_socket(int family, int type, int protocol, struct nsock **out);
void ns_get(struct nsock *s);
/*
 * ns_get() that fails on an object whose last reference is gone; objects are type-stable, so any
 * pointer that once was a socket may be asked.
 */
bool ns_try_get(struct nsock *s);
/* The last put closes. Never sleeps. */
void ns_put(struct nsock *s);
/*
 * Closes now: wakes threads that are blocked in it, further calls give -EBADF. References still
 * have to be put. Idempotent.
 */
int ns_close(struct nsock *s);
/* Before the last number is closed: sleeps as long as SO_LINGER says, or until a signal. */
void ns_linger(struct nsock *s);
/*
 * Its last number is gone: it closes with the last reference. One that came by fork is closed at once, for references may
 * be of threads that the fork left behind.
 */
void ns_unnamed(struct nsock *s);
/* Does a number stand for it? */
bool ns_named(const struct nsock *s);
/*
 * O_NONBLOCK of the open file description. Only a place to keep it: calls below take `nonblock` as
 * an argument.
 */
bool ns_nonblock(const struct nsock *s);
void ns_set_nonblock(struct nsock *s, bool on);
/* What fcntl() keeps with an open file description beside O_NONBLOCK: F_SETFL's flags, F_SETOWN, F_SETSIG. */
enum ns_kept { NS_KEPT_FLAGS, NS_KEPT_OWNER, NS_KEPT_SIG };
int ns_kept(const struct nsock *s, enum ns_kept what);
void ns_keep(struct nsock *s, enum ns_kept what, int v);
/* A count of the caller's kept with the socket; atomic. Starts at 0. */
unsigned ns_user(const struct nsock *s);
void ns_user_add(struct nsock *s, int by);
int ns_family(const struct nsock *s);
int ns_type(const struct nsock *s);
int ns_protocol(const struct nsock *s);
bool ns_listening(struct nsock *s);
/* Belongs to a process that forked us and could not be taken along: only ns_put() and ns_close() do anything. */
bool ns_foreign(const struct nsock *s);
/* Do, or did, several processes hold it? Then nothing of it can be lent (zero copy: -EOPNOTSUPP). */
bool ns_shared(const struct nsock *s);

/* ---- sockets that go to other programs: by exec, or over a Unix socket (proto/share.h) */

/* A descriptor whose copies keep the socket alive, and from which whoever holds one can join it. Ours, close-on-exec. */
int ns_token(struct nsock *s);
/* Does a token's packet wait in this descriptor? */
bool ns_is_token(int fd);
/* The socket of a token, with one reference. -ENOTSOCK if it is none. The descriptor stays. */
int ns_join(int fd, struct nsock **out);

/*
 * ---- watching sockets of other processes: of whom one is told their place, and this process hears their news
 */

/* Names a socket among all processes of this netd. */
struct ns_key {
	uint32_t share, slot;
	uint8_t secret[16];
};
/* The socket's, which is shared for that if it was not and `share` says so. 0, -ENOENT, or what the daemon said. */
int ns_key(struct nsock *s, bool share, struct ns_key *key);
bool ns_has_key(const struct nsock *s, const struct ns_key *key);
/*
 * The socket of this key with one reference: as this process holds it, or else one to be watched only: it does not keep
 * the socket alive. -ENOENT: it is closed.
 */
int ns_watch(const struct ns_key *key, struct nsock **out);
bool ns_watches(const struct nsock *s);
/* It was only watched, and is closed. */
bool ns_ended(const struct nsock *s);
/*
 * A number for what the daemon has told of the socket so far: another after every piece of news, whoever asks. 0 if there
 * is none: of a listener, or with errors queued.
 */
uint64_t ns_news(const struct nsock *s);

/* ---- the calls */

int ns_bind(struct nsock *s, const struct sockaddr *sa, socklen_t len);
int ns_listen(struct nsock *s, int backlog);
/* -EINPROGRESS, -EALREADY, -EISCONN as connect(2); AF_UNSPEC dissolves. */
int ns_connect(struct nsock *s, const struct sockaddr *sa, socklen_t len, bool nonblock);
/* `peer` may be NULL. The child has one reference and its O_NONBLOCK flag off. */
int ns_accept(struct nsock *l, bool nonblock, struct nsock **child, struct endpoint *peer);
int ns_shutdown(struct nsock *s, int how);
/*
 * Bytes sent; -EPIPE without a signal: SIGPIPE is the caller's business. MSG_DONTWAIT is honoured
 * like `nonblock`.
 */
ssize_t ns_sendmsg(struct nsock *s, const struct msghdr *m, int flags, bool nonblock);
/*
 * Fills msg_name, msg_namelen, msg_flags, msg_controllen in, as recvmsg(2). MSG_PEEK, MSG_DONTWAIT,
 * MSG_WAITALL, MSG_TRUNC.
 */
ssize_t ns_recvmsg(struct nsock *s, struct msghdr *m, int flags, bool nonblock);
/* The same for splice(): gets to an urgent byte and no further; returns 0 before it, -EAGAIN if it may not block. */
ssize_t ns_recv_to_mark(struct nsock *s, struct msghdr *m, bool nonblock);
int ns_getsockopt(struct nsock *s, int level, int name, void *val, socklen_t *len);
int ns_setsockopt(struct nsock *s, int level, int name, const void *val, socklen_t len);
/* `*len` is the room on entry and the whole length on return; -ENOTCONN. */
int ns_getname(struct nsock *s, bool peer, struct sockaddr *sa, socklen_t *len);
/* FIONREAD (SIOCINQ), SIOCOUTQ (TIOCOUTQ), SIOCATMARK, FIONBIO, SIOCGIF... of interfaces; -ENOTTY for the rest. */
int ns_ioctl(struct nsock *s, unsigned long req, void *arg);
/*
 * POLLIN POLLOUT POLLERR POLLHUP POLLRDHUP POLLPRI POLLRDNORM POLLWRNORM that hold now. If POLLOUT
 * is not among them, room will be news. Never sleeps.
 */
unsigned ns_poll(struct nsock *s);
/*
 * Sleeps until one of `events` (POLLERR and POLLHUP always count) holds, as poll(2) of this one
 * socket: the bits, 0 after timeout_ms (-1: none), -EINTR.
 */
int ns_wait(struct nsock *s, unsigned events, int timeout_ms);
/*
 * Before a look at sockets: if this process talks to itself, waits until what it sent has arrived (self.c). True if it
 * does: what an earlier look did not find may be there now.
 */
bool ns_settle(void);

/* The process has entered another user namespace: it has no privileges any more that count here. */
void session_abroad(void);

/* ---- netd's interfaces */

#define NS_IFACE_ADDRS 16
struct ns_iface_addr {
	uint32_t addr; /* IPv4, host order */
	unsigned prefix;
};
struct ns_iface {
	uint32_t index; /* as programs see it: lo is 1 */
	char name[16];
	uint8_t mac[6];
	bool up, loopback;
	bool superframes; /* longer than the MTU */
	uint32_t mtu;
	struct ns_iface_count {
		uint64_t frames, bytes, dropped;
	} rx, tx;
	unsigned addrs;
	struct ns_iface_addr addr[NS_IFACE_ADDRS];
};
/* All of them, to be freed; how many. */
int ns_ifaces(struct ns_iface **out);
struct ns_route {
	uint32_t dst, gateway, source; /* IPv4, host order; 0: none */
	unsigned prefix, metric;
	uint32_t ifindex;
};
struct ns_neigh {
	uint32_t addr; /* IPv4, host order */
	uint32_t ifindex;
	uint16_t state; /* NUD_REACHABLE ... */
	uint8_t mac[6];
};
/* Likewise; `v` are the `n` interfaces, by which they are numbered. */
int ns_routes(const struct ns_iface *v, int n, struct ns_route **out);
int ns_neighs(const struct ns_iface *v, int n, struct ns_neigh **out);
/* A socket of netd's, whoever has it; packet sockets are not among them. */
struct ns_sock_row {
	char proto[8];		/* "tcp", "udp", "raw" ... */
	unsigned state;		/* TCP_ESTABLISHED ...; TCP_CLOSE of one without connection */
	int family;		/* AF_INET, AF_INET6 */
	struct endpoint local, remote;
	uint32_t uid;
	uint64_t recv_q, send_q;
	uint32_t rto_us, cwnd; /* of a connection; cwnd and ssthresh in segments, -1: none */
	int ssthresh;
};
int ns_socks(struct ns_sock_row **out);
/*
 * The ioctl()s of netdevice(7): whether a socket of any family is asked this, and the answer, -ENOTTY for other requests.
 * Those that would change something answer -EPERM.
 */
bool ns_iface_of_any(unsigned long req);
int ns_iface_ioctl(unsigned long req, void *arg);
/* IFF_UP ... */
unsigned ns_iface_flags(const struct ns_iface *i);
/* To give those of `mask` the values in `flags`: 0 where they have them and this is root (scripts bring up what is up), or -EPERM. */
int ns_iface_keep_flags(const struct ns_iface *i, unsigned flags, unsigned mask);
/* What has passed, as the kernel counts it for programs. */
struct rtnl_link_stats;
void ns_iface_stats(const struct ns_iface *i, struct rtnl_link_stats *to);
/* mmap() of a packet socket's PACKET_RX_RING. -ENODEV if it has none, -EINVAL. */
int ns_mmap(struct nsock *s, void *addr, size_t len, int flags, off_t off, void **out);

/* An endpoint as a sockaddr of `family` (room for a sockaddr_storage), and back. */
socklen_t ns_to_sockaddr(int family, const struct endpoint *ep, struct sockaddr *sa);
/* `family` is the socket's. -EINVAL (too short), -EAFNOSUPPORT. */
int ns_from_sockaddr(int family, const struct sockaddr *sa, socklen_t len, struct endpoint *ep);
/* Can a name be taken from the caller? 0, -EINVAL (too long), -EFAULT. */
int ns_check_name(const struct sockaddr *sa, socklen_t len);
/*
 * Gives the caller as much of a name as there is room for, and its whole length. 0, -EINVAL (a negative room), -EFAULT.
 */
int ns_copy_name(
    struct sockaddr *sa, socklen_t *len, const struct sockaddr_storage *name, socklen_t size);
int ns_give_name(int family, const struct endpoint *ep, struct sockaddr *sa, socklen_t *len);

/* ---- zero copy; the bytes lie in the ring */

/*
 * The bytes that can be read without a copy: *len of them at *data, at least 1 (0: end of file).
 * -EAGAIN. Only ns_recv_release() may follow.
 */
int ns_recv_borrow(
    struct nsock *s, const void **data, size_t *len, struct endpoint *from, bool nonblock);
/* Ends the borrowing; `used` bytes are consumed (a datagram always whole). */
int ns_recv_release(struct nsock *s, size_t used);
/*
 * Room for up to `want` bytes: *len (at least 1) at *data. `to` names a datagram's destination,
 * NULL for the connected peer.
 */
int ns_send_reserve(struct nsock *s, size_t want, void **data, size_t *len,
    const struct endpoint *to, bool nonblock);
/*
 * Sends the first `n` bytes of what was reserved; 0 gives it back (for streams; a datagram of 0
 * bytes goes out: use `n` < 0 to drop it).
 */
int ns_send_commit(struct nsock *s, ssize_t n);

/*
 * ---- wait sets: how one thread sleeps on many sockets, mixed with kernel descriptors.
 *
 *	for (;;) {
 *		ns_set_events(set, collect, arg);  // news since last asked: look at those sockets with ns_poll()
 *		if (something is ready)
 *			break;
 *		ns_set_arm(set);
 *		if (!ns_set_events(set, collect, arg))  // once more after arming
 *			sleep in the kernel on ns_set_fd(set) (readable: there is news) and other descriptors;
 *		ns_set_disarm(set);
 *	}
 *
 * News is a hint that something may have changed, never a promise. A socket that is just added counts as news.
 * ns_close() takes a socket out of all its sets (ns_set_del() then says -ENOENT). Several threads may sleep on
 * one set: each arms before and disarms after; news wakes at least one of them.
 */
int ns_set_new(struct nset **out);
/* Sockets are in this set only while a call is under way, as of poll(): they stay when their last number goes. */
void ns_set_of_calls(struct nset *set);
void ns_set_free(struct nset *set);
int ns_set_fd(const struct nset *set);
/*
 * The set keeps a reference on the socket until ns_set_del() or ns_set_free(). -EEXIST if (set,
 * sock) is a member already.
 */
int ns_set_add(struct nset *set, struct nsock *s, void *udata);
/* -ENOENT. After the return, `udata` is never handed out again. */
int ns_set_del(struct nset *set, struct nsock *s);
int ns_set_arm(struct nset *set);
void ns_set_disarm(struct nset *set);
/* Would ns_set_events() find something? Costs no system call and no lock. */
bool ns_set_news(const struct nset *set);
/*
 * Calls each() for every member with news; returns how many. each() runs under the library's event
 * lock: it must not call ns_set_*(), ns_close() or ns_put(), and must not take a lock that its
 * owner holds while calling those. ns_poll() is fine.
 */
int ns_set_events(
    struct nset *set, void (*each)(void *arg, void *udata, struct nsock *s), void *arg);
/* At most `max` of them; the rest stays for the next call, without another ring of the bell. */
int ns_set_some(
    struct nset *set, void (*each)(void *arg, void *udata, struct nsock *s), void *arg, int max);
/*
 * True if the set cannot tell anything any more: its session is lost, or another process's. Free it
 * and make a new one.
 */
bool ns_set_lost(const struct nset *set);
/*
 * A wait set for this socket alone, always armed, made at the first call: its descriptor. It goes
 * with the socket (ns_close). ns_event_ack() silences it and returns ns_poll().
 */
int ns_event_fd(struct nsock *s);
int ns_event_ack(struct nsock *s);
/* Counts this member as news again (a level-triggered one that is still ready, say). */
void ns_set_again(struct nset *set, struct nsock *s);
