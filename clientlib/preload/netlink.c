/*
 * Netlink sockets of NETLINK_ROUTE.
 *
 * Theory of operation. What a program gets is an AF_UNIX datagram socket that is connected to itself: it can be waited
 * for, duplicated and closed like any other. A request that is sent is worked here and now, and its answers are put into
 * that socket's own queue, from where the program receives them as it would the kernel's; only names are netlink's again.
 * Nothing ever comes unasked: who joins a group hears of no changes. A process that has left the network namespace it was
 * started in (sandboxes: they bring up a loopback of their own there) talks to the kernel's.
 *
 * The table says which numbers they are. A number that went another way than by close() may stand in it still: so the
 * socket's own name, which nobody else has, is compared before a number is believed. Copies by dup() have that name too, and
 * what changes of a socket is told to all of its numbers. A socket with a number beyond the table is the kernel's.
 */
#include "clientlib/preload/netlink.h"
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>

#define NUMBERS	    1024
#define REQUEST_MAX 8192
#define NAME_LEN    8 /* of a name that the kernel chose: family, NUL, five digits */

static struct entry {
	uint32_t used;
	uint32_t port;
	uint32_t type;
	uint32_t groups[2]; /* kept and told; nothing is ever sent to one */
	char name[NAME_LEN];
} table[NUMBERS];

static int own_name(int fd, char *name)
{
	struct sockaddr_un un = {.sun_family = AF_UNSPEC};
	socklen_t len = sizeof(un);

	if (sys_call(SYS_getsockname, fd, (long)&un, (long)&len, 0, 0, 0) < 0 || len != NAME_LEN ||
	    un.sun_family != AF_UNIX)
		return -ENOTSOCK;
	memcpy(name, &un, NAME_LEN);
	return 0;
}

bool netlink_has(int fd)
{
	char name[NAME_LEN];
	struct entry *e;

	if (fd < 0 || fd >= NUMBERS)
		return false;
	e = &table[fd];
	if (!__atomic_load_n(&e->used, __ATOMIC_ACQUIRE))
		return false;
	if (own_name(fd, name) == 0 && !memcmp(name, e->name, sizeof(name)))
		return true;
	__atomic_store_n(&e->used, 0, __ATOMIC_RELEASE);
	return false;
}

static ino_t home; /* the network namespace that the program was started in */

static ino_t namespace_now(void)
{
	struct stat st;
	int saved = errno;
	ino_t now = stat("/proc/self/ns/net", &st) == 0 ? st.st_ino : 0;

	errno = saved;
	return now;
}

__attribute__((constructor)) static void note_home(void)
{
	home = namespace_now();
}

bool netlink_at_home(void)
{
	return namespace_now() == home;
}

int netlink_open(int type)
{
	int base = type & 0xf, fd, ret;
	sa_family_t nameless = AF_UNIX;
	char name[NAME_LEN];

	if (base != SOCK_RAW && base != SOCK_DGRAM)
		return -ESOCKTNOSUPPORT;
	fd = (int)sys_call(SYS_socket, AF_UNIX, SOCK_DGRAM | (type & ~0xf), 0, 0, 0, 0);
	if (fd < 0)
		return fd;
	ret = (int)sys_call(SYS_bind, fd, (long)&nameless, sizeof(nameless), 0, 0, 0);
	if (ret == 0)
		ret = own_name(fd, name);
	if (ret == 0)
		ret = sys_connect(fd, (const void *)name, sizeof(name));
	if (ret == 0 && fd >= NUMBERS)
		ret = -EMFILE;
	if (ret < 0) {
		sys_close(fd);
		return ret;
	}
	memcpy(table[fd].name, name, sizeof(name));
	table[fd].port = 0;
	table[fd].type = (uint32_t)base;
	table[fd].groups[0] = table[fd].groups[1] = 0;
	__atomic_store_n(&table[fd].used, 1, __ATOMIC_RELEASE);
	return fd;
}

static void copy_to(int fd, const struct entry *e)
{
	memcpy(table[fd].name, e->name, sizeof(e->name));
	table[fd].port = e->port;
	table[fd].type = e->type;
	memcpy(table[fd].groups, e->groups, sizeof(e->groups));
	__atomic_store_n(&table[fd].used, 1, __ATOMIC_RELEASE);
}

void netlink_dup(int fd, int copy)
{
	if (copy < NUMBERS)
		copy_to(copy, &table[fd]);
}

/* The socket's state has changed: under its other numbers too. */
static void tell_copies(int fd)
{
	for (int i = 0; i < NUMBERS; i++)
		if (i != fd && __atomic_load_n(&table[i].used, __ATOMIC_ACQUIRE) &&
		    !memcmp(table[i].name, table[fd].name, sizeof(table[i].name)))
			copy_to(i, &table[fd]);
}

/* The socket's number among netlink's: chosen by the program, or else one that differs from its others. */
static uint32_t port_of(int fd)
{
	struct entry *e = &table[fd];

	if (!e->port) {
		e->port = (uint32_t)sys_getpid() | (uint32_t)fd << 22;
		tell_copies(fd);
	}
	return e->port;
}

int netlink_bind(int fd, const struct sockaddr *sa, socklen_t len)
{
	struct sockaddr_nl nl;

	if (len < sizeof(nl))
		return -EINVAL;
	if (copy_from_user(&nl, sa, sizeof(nl)) < 0)
		return -EFAULT;
	if (nl.nl_family != AF_NETLINK ||
	    (table[fd].port && nl.nl_pid && nl.nl_pid != table[fd].port))
		return -EINVAL;
	table[fd].port = nl.nl_pid;
	table[fd].groups[0] = nl.nl_groups;
	(void)port_of(fd);
	tell_copies(fd);
	return 0;
}

int netlink_name(int fd, struct sockaddr *sa, socklen_t *len)
{
	struct sockaddr_storage name = {.ss_family = AF_NETLINK};
	struct sockaddr_nl nl = {
	    .nl_family = AF_NETLINK, .nl_pid = table[fd].port, .nl_groups = table[fd].groups[0]};

	memcpy(&name, &nl, sizeof(nl));
	return ns_copy_name(sa, len, &name, sizeof(nl));
}

/* Without NETLINK_GET_STRICT_CHK programs choose among what they are told; of the rest nothing depends on this side. */
static int set_group(int fd, const void *val, socklen_t len, bool on)
{
	struct entry *e = &table[fd];
	uint32_t group;

	if (len < sizeof(group) || copy_from_user(&group, val, sizeof(group)) < 0)
		return len < sizeof(group) ? -EINVAL : -EFAULT;
	if (!group || group > 8 * sizeof(e->groups))
		return -EINVAL;
	group--;
	if (on)
		e->groups[group / 32] |= 1u << group % 32;
	else
		e->groups[group / 32] &= ~(1u << group % 32);
	tell_copies(fd);
	return 0;
}

int netlink_setsockopt(int fd, int level, int name, const void *val, socklen_t len)
{
	if (level == SOL_SOCKET)
		return (int)sys_call(SYS_setsockopt, fd, level, name, (long)val, len, 0);
	if (level == SOL_NETLINK &&
	    (name == NETLINK_ADD_MEMBERSHIP || name == NETLINK_DROP_MEMBERSHIP))
		return set_group(fd, val, len, name == NETLINK_ADD_MEMBERSHIP);
	return level == SOL_NETLINK && name != NETLINK_GET_STRICT_CHK ? 0 : -ENOPROTOOPT;
}

/* The groups, as bits: as many as the reader has room for, and the length of all. */
static int list_groups(const struct entry *e, void *val, socklen_t room, socklen_t *len)
{
	room = room < sizeof(e->groups) ? room & ~3u : sizeof(e->groups);
	if (copy_to_user(val, e->groups, room) < 0)
		return -EFAULT;
	return copy_to_user(len, &(socklen_t){sizeof(e->groups)}, sizeof(*len));
}

int netlink_getsockopt(int fd, int level, int name, void *val, socklen_t *len)
{
	socklen_t room;
	int v;

	if (copy_from_user(&room, len, sizeof(room)) < 0)
		return -EFAULT;
	if ((int)room < 0)
		return -EINVAL;
	if (level == SOL_NETLINK)
		return name == NETLINK_LIST_MEMBERSHIPS ? list_groups(&table[fd], val, room, len)
							: -ENOPROTOOPT;
	if (level != SOL_SOCKET || (name != SO_DOMAIN && name != SO_PROTOCOL && name != SO_TYPE))
		return (int)sys_call(SYS_getsockopt, fd, level, name, (long)val, (long)len, 0);
	v = name == SO_DOMAIN ? AF_NETLINK : name == SO_TYPE ? (int)table[fd].type : NETLINK_ROUTE;
	room = room < sizeof(v) ? room : sizeof(v);
	if (copy_to_user(val, &v, room) < 0)
		return -EFAULT;
	return copy_to_user(len, &room, sizeof(room));
}

/*
 * Into the socket's own queue, in pieces that any reader has room for: whole messages, and what ends them by itself, as from
 * the kernel.
 */
static int deliver(int fd, const struct netlink_reply *r)
{
	enum { PIECE = 4096 };
	size_t at = 0;

	while (at < r->len) {
		size_t n = 0;
		ssize_t ret;

		while (at + n < r->len) {
			struct nlmsghdr h;

			memcpy(&h, r->buf + at + n, sizeof(h));
			if (n && (n + h.nlmsg_len > PIECE || h.nlmsg_type < NLMSG_MIN_TYPE))
				break;
			n += NLMSG_ALIGN(h.nlmsg_len);
		}
		ret = sys_call(SYS_sendto, fd, (long)(r->buf + at), (long)n,
		    MSG_DONTWAIT | MSG_NOSIGNAL, 0, 0);
		if (ret < 0)
			return ret == -EAGAIN ? -ENOBUFS : (int)ret;
		at += n;
	}
	return 0;
}

static int work(int fd, const uint8_t *buf, size_t len)
{
	struct netlink_reply r = {.port = port_of(fd)};
	int ret = 0;

	while (len >= sizeof(struct nlmsghdr) && ret == 0) {
		const struct nlmsghdr *q = (const void *)buf;
		size_t step;

		if (q->nlmsg_len < sizeof(*q) || q->nlmsg_len > len)
			break;
		r.seq = q->nlmsg_seq;
		r.len = 0;
		if (q->nlmsg_flags & NLM_F_REQUEST && q->nlmsg_type >= NLMSG_MIN_TYPE)
			rtnetlink_answer(&r, q);
		ret = r.failed ? -ENOBUFS : deliver(fd, &r);
		step = NLMSG_ALIGN(q->nlmsg_len);
		step = step < len ? step : len;
		buf += step;
		len -= step;
	}
	free(r.buf);
	return ret;
}

ssize_t netlink_send(int fd, const struct msghdr *m, int flags)
{
	_Alignas(8) uint8_t buf[REQUEST_MAX];
	size_t len = 0;
	int ret;

	if (flags & MSG_OOB)
		return -EOPNOTSUPP;
	if (!user_readable(m->msg_iov, m->msg_iovlen * sizeof(*m->msg_iov)))
		return -EFAULT;
	for (size_t i = 0; i < m->msg_iovlen; i++) {
		size_t n = m->msg_iov[i].iov_len;

		if (n > sizeof(buf) - len)
			return -EMSGSIZE;
		if (copy_from_user(buf + len, m->msg_iov[i].iov_base, n) < 0)
			return -EFAULT;
		len += n;
	}
	ret = work(fd, buf, len);
	return ret < 0 ? ret : (ssize_t)len;
}

ssize_t netlink_recv(int fd, struct msghdr *m, int flags)
{
	struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
	struct sockaddr_un un;
	void *name = m->msg_name;
	socklen_t room = m->msg_namelen;
	ssize_t ret;

	m->msg_name = name ? &un : NULL;
	m->msg_namelen = name ? sizeof(un) : 0;
	ret = sys_recvmsg(fd, m, flags);
	m->msg_name = name;
	m->msg_namelen = room;
	if (ret < 0 || !name)
		return ret;
	if (copy_to_user(name, &kernel, room < sizeof(kernel) ? room : sizeof(kernel)) < 0)
		return -EFAULT;
	m->msg_namelen = sizeof(kernel);
	return ret;
}
