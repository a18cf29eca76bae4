/*
 * The session of this process with netd.
 *
 * Made at the first socket: connect to the control socket, Attach, map the client memory, check its
 * header against what the layout must be. The control connection stays open for the session's life;
 * its end-of-file is the only proof that the session is lost (a dead netd-inet does not end it: the
 * supervisor holds a duplicate). Then the session is marked broken: its sockets answer -ENETDOWN,
 * and the next new socket tries to attach again.
 *
 * A forked child has a session of its own, made for it before the fork: see fork.c.
 */
#include "clientlib/control.h"
#include "clientlib/own.h"
#include "clientlib/space.h"
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define ATTACH_TRIES   50
#define ATTACH_STEP_NS 100000000L
#define PASS_MAX       64
#define MEMORY_A_SOCKET 65536u /* where there is little */
#define SERVERS_MAX    4

struct session *ns_current, *all_sessions;
pthread_mutex_t attach_lock = PTHREAD_MUTEX_INITIALIZER;
static struct endpoint pass[PASS_MAX];
static unsigned pass_count;
static char servers[SERVERS_MAX][64];

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
	p = space_map(fd, size);
	if (p < 0 && p > -4096)
		return (int)p;
	ss->mem = (uint8_t *)p;
	ss->h = (struct cm_header *)(void *)ss->mem;
	memcpy(&ss->lay, ss->h, sizeof(ss->lay));
	ss->home = (struct home){.mem = ss->mem,
	    .number = ss->lay.session,
	    .heap_off = ss->lay.heap_off,
	    .size = size};
	return cm_check(&ss->lay, size);
}

/*
 * Makes a session of an answer: its control connection is `ctl`, the descriptors in it begin at `first` with the memory's.
 * NULL and *err.
 */
struct session *session_build(
    const Netd__Control__Attached *a, struct reply *r, int first, int ctl, int *err)
{
	struct session *ss = calloc(1, sizeof(*ss));
	char path[32];

	*err = -ENOMEM;
	if (!ss)
		return NULL;
	ss->ctl = ctl;
	ss->bell = ss->bell_reader = ss->common_fd = -1;
	ss->pid = sys_getpid();
	ss->next_id = 2;
	ss->uid = (uid_t)sys_call(SYS_geteuid, 0, 0, 0, 0, 0, 0);
	*err = a->version == CM_VERSION ? reply_holds(r, first + 3) : -EPROTO;
	if (*err < 0)
		goto fail;
	*err = session_map(ss, r->fds[first], a->memory_size);
	if (*err < 0)
		goto fail;
	ss->free_slot = calloc(ss->lay.slots, sizeof(*ss->free_slot));
	ss->member_of_slot = calloc(ss->lay.slots, sizeof(*ss->member_of_slot));
	*err = -ENOMEM;
	if (!ss->free_slot || !ss->member_of_slot)
		goto fail;
	/* That of the memory is closed with the answer. */
	ss->bell = reply_take(r, first + 1);
	ss->spare[0] = (struct bell){.set = 0, .fd = reply_take(r, first + 2)};
	ss->spares = 1;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", ss->bell);
	ss->bell_reader =
	    own_make(SYS_openat, AT_FDCWD, (long)path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	session_rings_init(ss);
	return ss;
fail:
	session_unbuild(ss);
	return NULL;
}

/* Undoes session_build(), but for the control connection. Nobody may have seen the session. */
void session_unbuild(struct session *ss)
{
	if (ss->mem)
		space_unmap(ss->mem, ss->home.size);
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
	attach.memory = space_room();
	attach.slots = (uint32_t)(attach.memory / MEMORY_A_SOCKET);
	q.id = 1;
	q.body_case = NETD__CONTROL__REQUEST__BODY_ATTACH;
	q.attach = &attach;
	ret = control_call(fd, &q, &r, &answer);
	if (ret < 0) {
		sys_close(fd);
		return ret == -EMFILE ? -ENFILE : ret; /* it is netd that has none left */
	}
	ret = -EPROTO;
	ss = NULL;
	if (answer->body_case == NETD__CONTROL__RESPONSE__BODY_ATTACHED)
		ss = session_build(answer->attached, &r, 0, fd, &ret);
	if (ss)
		keep_facts(answer->attached);
	netd__control__response__free_unpacked(answer, NULL);
	reply_free(&r);
	if (!ss) {
		sys_close(fd);
		return ret;
	}
	sys_madvise(ss->mem, ss->lay.size, MADV_DONTFORK);
	*out = ss;
	return 0;
}

/* The living session of this process, made if there is none. */
int session_get(struct session **out)
{
	struct session *ss = load_acquire(&ns_current);
	int ret = 0;

	if (ss && !session_dead(ss)) {
		*out = ss;
		return 0;
	}
	pthread_mutex_lock(&attach_lock);
	ss = ns_current;
	if (!ss || session_dead(ss)) {
		ns_heed_forks();
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
	ret = session_ask(ss, &q, &r, &answer);
	if (ret < 0)
		return ret;
	*fd = answer->body_case == NETD__CONTROL__RESPONSE__BODY_SET_READY ? reply_take(&r, 0) : -EPROTO;
	netd__control__response__free_unpacked(answer, NULL);
	reply_free(&r);
	return *fd < 0 ? *fd : 0;
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

	if (len < sizeof(sa->sa_family) || ns_check_name(sa, len) < 0 ||
	    sa->sa_family == AF_PACKET || ns_from_sockaddr(sa->sa_family, sa, len, &ep) < 0 ||
	    session_get(&ss) < 0)
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
