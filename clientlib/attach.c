/*
 * The session of this process with netd.
 *
 * Made at the first socket: connect to the control socket, Attach, map the client memory, check its
 * header against what the layout must be. The control connection stays open for the session's life;
 * its end-of-file is the only proof that the session is lost (a dead netd-inet does not end it: the
 * supervisor holds a duplicate). Then the session is marked broken: its sockets answer -ENETDOWN,
 * and the next new socket tries to attach again.
 *
 * Descriptors of the library are moved to high numbers, out of the way of applications that count
 * on low ones.
 *
 * Fork. The child must neither use the parent's memory nor hold its control connection (that would
 * hide the parent's death). The memory is not inherited (MADV_DONTFORK); the handlers below hold
 * every lock across the fork, then the child marks the session foreign and forgets it.
 */
#include "clientlib/session.h"
#include "proto/control.pb-c.h"
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/un.h>

#define ATTACH_TRIES   50
#define ATTACH_STEP_NS 100000000L
#define PASS_MAX       64
#define SERVERS_MAX    4

struct session *ns_current;
static struct session *all_sessions;
static pthread_mutex_t attach_lock = PTHREAD_MUTEX_INITIALIZER;
static struct endpoint pass[PASS_MAX];
static unsigned pass_count;
static char servers[SERVERS_MAX][64];
static int own_low = INT32_MAX;

struct reply {
	uint8_t *data;
	size_t len;
	int fds[8];
	int nfds;
};

/* Notes a descriptor as ours: none of ours is below own_low. */
static int owned(int fd)
{
	int low = load_once(&own_low);

	while (fd < low && !__atomic_compare_exchange_n(
			       &own_low, &low, fd, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		;
	return fd;
}

/* Moves a descriptor of ours to a high number, if there is room there. */
int fd_high(int fd)
{
	struct rlimit rl = {.rlim_cur = 1024};
	long base;
	int high;

	if (fd < 0)
		return fd;
	(void)sys_call(SYS_prlimit64, 0, RLIMIT_NOFILE, 0, (long)&rl, 0, 0);
	base = rl.rlim_cur > 1024 ? 960 : (long)rl.rlim_cur - 64;
	if (fd >= base || base < 64)
		return owned(fd);
	high = sys_fcntl(fd, F_DUPFD_CLOEXEC, base);
	if (high < 0)
		return owned(fd);
	sys_close(fd);
	return owned(high);
}

static void take_fds(struct reply *r, struct msghdr *mh)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(mh); c; c = CMSG_NXTHDR(mh, c)) {
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			if (r->nfds < (int)(sizeof(r->fds) / sizeof(r->fds[0])))
				r->fds[r->nfds++] = fd;
			else
				sys_close(fd);
		}
	}
}

static void reply_free(struct reply *r)
{
	for (int i = 0; i < r->nfds; i++)
		if (r->fds[i] >= 0)
			sys_close(r->fds[i]);
	free(r->data);
	*r = (struct reply){0};
}

/* Waits for one packet. 0, -EPIPE at end of file. */
static int control_recv(int fd, struct reply *r)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int) * 8)];
	} control;
	enum { ROOM = 65536 };

	r->nfds = 0;
	r->data = malloc(ROOM);
	if (!r->data)
		return -ENOMEM;
	for (;;) {
		struct iovec iov = {.iov_base = r->data, .iov_len = ROOM};
		struct msghdr mh = {.msg_iov = &iov,
		    .msg_iovlen = 1,
		    .msg_control = control.buf,
		    .msg_controllen = sizeof(control.buf)};
		ssize_t n = sys_recvmsg(fd, &mh, MSG_CMSG_CLOEXEC);

		if (n == -EINTR)
			continue;
		if (n > 0) {
			take_fds(r, &mh);
			r->len = (size_t)n;
			return 0;
		}
		free(r->data);
		r->data = NULL;
		return n < 0 && n != -ECONNRESET ? (int)n : -EPIPE;
	}
}

static int control_send(int fd, const Netd__Control__Request *q)
{
	uint8_t buf[512];
	struct iovec iov = {.iov_base = buf};
	struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t n;

	if (netd__control__request__get_packed_size(q) > sizeof(buf))
		return -EMSGSIZE;
	iov.iov_len = netd__control__request__pack(q, buf);
	do
		n = sys_sendmsg(fd, &mh, MSG_NOSIGNAL);
	while (n == -EINTR);
	return n < 0 ? (int)n : 0;
}

/* One request and its answer; answers to earlier ones (told twice after a restart) are passed over.
 */
static int control_call(
    int fd, const Netd__Control__Request *q, struct reply *r, Netd__Control__Response **out)
{
	int ret = control_send(fd, q);

	while (ret == 0) {
		ret = control_recv(fd, r);
		if (ret < 0)
			break;
		*out = netd__control__response__unpack(NULL, r->len, r->data);
		if (!*out) {
			reply_free(r);
			return -EPROTO;
		}
		if ((*out)->id == q->id) {
			if ((*out)->error >= 0)
				return 0;
			ret = (*out)->error < -4095 ? -EPROTO : (*out)->error;
		}
		netd__control__response__free_unpacked(*out, NULL);
		reply_free(r);
	}
	return ret;
}

static int control_connect(void)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	const char *path = secure_getenv("NETD_SOCKET");
	int ret, fd;

	if (!path || !*path)
		path = "/run/netd/netd.sock";
	if (strlen(path) >= sizeof(sa.sun_path))
		return -ENAMETOOLONG;
	memcpy(sa.sun_path, path, strlen(path));
	fd = sys_socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return fd;
	do
		ret = sys_connect(fd, &sa, sizeof(sa));
	while (ret == -EINTR);
	if (ret < 0) {
		sys_close(fd);
		return ret;
	}
	return fd_high(fd);
}

/* Keeps what the answer says about the world outside netd. */
static void keep_facts(const Netd__Control__Attached *a)
{
	pass_count = 0;
	for (size_t i = 0; i < a->n_pass_through && pass_count < PASS_MAX; i++) {
		const Netd__Control__PassThrough *p = a->pass_through[i];

		if (p->addr.len != 16 || p->port > 65535)
			continue;
		memcpy(pass[pass_count].addr.b, p->addr.data, 16);
		pass[pass_count++].port = (uint16_t)p->port;
	}
	memset(servers, 0, sizeof(servers));
	for (size_t i = 0; i < a->n_name_servers && i < SERVERS_MAX; i++)
		snprintf(servers[i], sizeof(servers[i]), "%s", a->name_servers[i]);
}

/* Maps the memory `fd` of `size` bytes and takes the header over. 0 or -EPROTO, -ENOMEM. */
static int session_map(struct session *ss, int fd, uint64_t size)
{
	long p;

	if (size < 65536 || size > (1ull << 46) || sys_lseek(fd, 0, SEEK_END) != (long)size)
		return -EPROTO;
	p = sys_mmap(size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd);
	if (p < 0 && p > -4096)
		return (int)p;
	ss->mem = (uint8_t *)p;
	sys_madvise(ss->mem, size, MADV_DONTDUMP);
	sys_madvise(ss->mem, size, MADV_DONTFORK);
	ss->h = (struct cm_header *)(void *)ss->mem;
	memcpy(&ss->lay, ss->h, sizeof(ss->lay));
	ss->home = (struct home){.mem = ss->mem,
	    .number = ss->lay.session,
	    .heap_off = ss->lay.heap_off,
	    .size = size};
	return cm_check(&ss->lay, size);
}

static int session_build(struct session *ss, const Netd__Control__Attached *a, struct reply *r)
{
	char path[32];
	int ret;

	if (a->version != CM_VERSION || r->nfds < 3)
		return -EPROTO;
	ret = session_map(ss, r->fds[0], a->memory_size);
	if (ret < 0)
		return ret;
	ss->free_slot = calloc(ss->lay.slots, sizeof(*ss->free_slot));
	ss->member_of_slot = calloc(ss->lay.slots, sizeof(*ss->member_of_slot));
	if (!ss->free_slot || !ss->member_of_slot)
		return -ENOMEM;
	ss->bell = fd_high(r->fds[1]);
	ss->spare[0] = (struct bell){.set = 0, .fd = fd_high(r->fds[2])};
	ss->spares = 1;
	r->fds[1] = r->fds[2] = -1; /* taken; the memory's and the clock page's are closed */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", ss->bell);
	ss->bell_reader = fd_high(sys_openat(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC));
	session_rings_init(ss);
	keep_facts(a);
	return 0;
}

static void session_unbuild(struct session *ss)
{
	if (ss->mem)
		(void)sys_call(SYS_munmap, (long)ss->mem, (long)ss->lay.size, 0, 0, 0, 0);
	for (uint32_t i = 0; i < ss->spares; i++)
		sys_close(ss->spare[i].fd);
	if (ss->bell >= 0)
		sys_close(ss->bell);
	if (ss->bell_reader >= 0)
		sys_close(ss->bell_reader);
	free(ss->free_slot);
	free(ss->member_of_slot);
	free(ss);
}

static int session_try(struct session **out)
{
	Netd__Control__Request q = NETD__CONTROL__REQUEST__INIT;
	Netd__Control__Attach attach = NETD__CONTROL__ATTACH__INIT;
	Netd__Control__Response *answer = NULL;
	struct reply r = {0};
	struct session *ss;
	int ret, fd = control_connect();

	if (fd < 0)
		return fd;
	attach.version = CM_VERSION;
	attach.name = program_invocation_short_name;
	q.id = 1;
	q.body_case = NETD__CONTROL__REQUEST__BODY_ATTACH;
	q.attach = &attach;
	ret = control_call(fd, &q, &r, &answer);
	if (ret < 0) {
		sys_close(fd);
		return ret;
	}
	ss = calloc(1, sizeof(*ss));
	ret = -ENOMEM;
	if (ss) {
		ss->ctl = fd;
		ss->bell = ss->bell_reader = ss->common_fd = -1;
		ss->pid = sys_getpid();
		ss->next_id = 2;
		ret = answer->body_case == NETD__CONTROL__RESPONSE__BODY_ATTACHED
			  ? session_build(ss, answer->attached, &r)
			  : -EPROTO;
		if (ret < 0)
			session_unbuild(ss);
	}
	netd__control__response__free_unpacked(answer, NULL);
	reply_free(&r);
	if (ret < 0)
		sys_close(fd);
	else
		*out = ss;
	return ret;
}

static void fork_prepare(void);
static void fork_parent(void);
static void fork_child(void);

/* The living session of this process, made if there is none. */
int session_get(struct session **out)
{
	static bool handlers;
	struct session *ss = load_acquire(&ns_current);
	int ret = 0;

	if (ss && !session_dead(ss)) {
		*out = ss;
		return 0;
	}
	pthread_mutex_lock(&attach_lock);
	ss = ns_current;
	if (!ss || session_dead(ss)) {
		if (!handlers)
			handlers = !pthread_atfork(fork_prepare, fork_parent, fork_child);
		/* End of file instead of an answer: it died on the way, and tells us to try again.
		 */
		for (int i = 0; i < ATTACH_TRIES; i++) {
			ret = session_try(&ss);
			if (ret != -EPIPE)
				break;
			sys_nanosleep(ATTACH_STEP_NS);
		}
		if (ret == 0) {
			ss->older = all_sessions;
			all_sessions = ss;
			store_release(&ns_current, ss);
		}
	}
	pthread_mutex_unlock(&attach_lock);
	*out = ss;
	return ret;
}

int ns_attach(void)
{
	struct session *ss;

	return session_get(&ss);
}

/* Asks for wait set number `set`; *fd is the reading end of its bell. */
int session_new_set(struct session *ss, uint32_t set, int *fd)
{
	Netd__Control__Request q = NETD__CONTROL__REQUEST__INIT;
	Netd__Control__NewSet ns = NETD__CONTROL__NEW_SET__INIT;
	Netd__Control__Response *answer = NULL;
	struct reply r = {0};
	int ret;

	ns.set = set;
	q.body_case = NETD__CONTROL__REQUEST__BODY_NEW_SET;
	q.new_set = &ns;
	pthread_mutex_lock(&ss->ctl_lock);
	q.id = ss->next_id++;
	ret = control_call(ss->ctl, &q, &r, &answer);
	pthread_mutex_unlock(&ss->ctl_lock);
	if (ret < 0) {
		if (ret == -EPIPE) {
			session_break(ss);
			ret = -ENETDOWN;
		}
		return ret;
	}
	if (answer->body_case == NETD__CONTROL__RESPONSE__BODY_SET_READY && r.nfds >= 1) {
		*fd = fd_high(r.fds[0]);
		r.fds[0] = -1;
	} else {
		ret = -EPROTO;
	}
	netd__control__response__free_unpacked(answer, NULL);
	reply_free(&r);
	return ret;
}

/* Is the control connection still there? If not, the session is marked broken. */
bool session_alive(struct session *ss)
{
	struct pollfd p = {.fd = ss->ctl, .events = POLLRDHUP};
	struct timespec none = {0, 0};

	if (session_dead(ss))
		return false;
	if (sys_ppoll(&p, 1, &none) == 1 &&
	    (p.revents & (POLLHUP | POLLERR | POLLNVAL | POLLRDHUP))) {
		session_break(ss);
		return false;
	}
	return true;
}

/* The session is of no use any more: everybody who sleeps in it wakes up to see that. */
void session_break(struct session *ss)
{
	if (__atomic_fetch_or(&ss->dead, SS_BROKEN, __ATOMIC_SEQ_CST))
		return;
	/* The other side is to learn of it too; the number stays taken, others may be using it. */
	(void)sys_call(SYS_shutdown, ss->ctl, SHUT_RDWR, 0, 0, 0, 0);
	sys_futex_wake(&ss->h->cq_seq, INT32_MAX);
}

bool ns_pass_through(const struct sockaddr *sa, socklen_t len)
{
	struct session *ss;
	struct endpoint ep;

	if (!sa || ns_from_sockaddr(sa->sa_family, sa, len, &ep) < 0 || session_get(&ss) < 0)
		return false;
	for (unsigned i = 0; i < pass_count; i++)
		if (ipaddr_eq(&pass[i].addr, &ep.addr) &&
		    (!pass[i].port || pass[i].port == ep.port))
			return true;
	return false;
}

const char *ns_name_server(int i)
{
	struct session *ss;

	if (i < 0 || i >= SERVERS_MAX || session_get(&ss) < 0)
		return NULL;
	return servers[i][0] ? servers[i] : NULL;
}

bool ns_owner(void)
{
	const struct session *ss = load_acquire(&ns_current);

	return !ss || ss->pid == sys_getpid();
}

/* ---- fork */

static void fork_prepare(void)
{
	struct session *ss;

	pthread_mutex_lock(&attach_lock);
	ss = ns_current;
	if (ss) {
		pthread_mutex_lock(&ss->ctl_lock);
		pthread_mutex_lock(&ss->ev_lock);
		pthread_mutex_lock(&ss->req_lock);
	}
	pool_fork_prepare();
}

static void fork_parent(void)
{
	struct session *ss = ns_current;

	pool_fork_done(false);
	if (ss) {
		pthread_mutex_unlock(&ss->req_lock);
		pthread_mutex_unlock(&ss->ev_lock);
		pthread_mutex_unlock(&ss->ctl_lock);
	}
	pthread_mutex_unlock(&attach_lock);
}

static void session_leave(struct session *ss)
{
	pthread_mutex_init(&ss->ctl_lock, NULL);
	pthread_mutex_init(&ss->ev_lock, NULL);
	pthread_mutex_init(&ss->make_lock, NULL);
	pthread_mutex_init(&ss->req_lock, NULL);
	if (ss->dead & SS_FOREIGN)
		return;
	ss->dead |= SS_FOREIGN;
	sys_close(ss->ctl);
	sys_close(ss->bell);
	if (ss->bell_reader >= 0)
		sys_close(ss->bell_reader);
	if (ss->common_fd >= 0)
		sys_close(ss->common_fd);
	for (uint32_t i = 0; i < ss->spares; i++)
		sys_close(ss->spare[i].fd);
	ss->ctl = ss->bell = ss->bell_reader = ss->common_fd = -1;
	ss->spares = 0;
}

static void fork_child(void)
{
	pool_fork_done(true);
	for (struct session *ss = all_sessions; ss; ss = ss->older)
		session_leave(ss);
	ns_current = NULL;
	pthread_mutex_init(&attach_lock, NULL);
}

/* ---- the library's own descriptors */

int ns_own_fds(int *fd, int max)
{
	int n = 0;

	for (struct session *ss = load_acquire(&ns_current); ss; ss = ss->older) {
		int own[4] = {ss->ctl, ss->bell, ss->bell_reader, ss->common_fd};

		if (session_dead(ss) & SS_FOREIGN)
			continue;
		for (int i = 0; i < 4; i++)
			if (own[i] >= 0 && n++ < max)
				fd[n - 1] = own[i];
		pthread_mutex_lock(&ss->ev_lock);
		for (uint32_t i = 0; i < ss->spares; i++)
			if (n++ < max)
				fd[n - 1] = ss->spare[i].fd;
		for (const struct nset *set = ss->sets; set; set = set->next) {
			int mine[3] = {set->bell, set->kick, set->fd};

			for (int i = 0; i < 3; i++)
				if (mine[i] >= 0 && n++ < max)
					fd[n - 1] = mine[i];
		}
		pthread_mutex_unlock(&ss->ev_lock);
	}
	return n < max ? n : max;
}

bool ns_own_fd(int fd)
{
	int own[256], n;

	if (fd < load_once(&own_low))
		return false;
	n = ns_own_fds(own, 256);

	for (int i = 0; i < n; i++)
		if (own[i] == fd)
			return true;
	return false;
}
