/* Descriptor numbers to sockets: see fdtable.h. */
#include "clientlib/fdtable.h"
#include "clientlib/own.h"
#include "clientlib/session.h"
#include <stdlib.h>

#define CHUNK  1024u
#define CHUNKS 1024u

static struct nsock **chunks[CHUNKS]; /* never freed */
static pthread_mutex_t table_lock = PTHREAD_MUTEX_INITIALIZER;
static int anchor = -1;
static int limit;

static struct nsock **entry(int fd)
{
	struct nsock **chunk;

	if (fd < 0 || (unsigned)fd >= CHUNK * CHUNKS)
		return NULL;
	chunk = load_acquire(&chunks[(unsigned)fd / CHUNK]);
	return chunk ? &chunk[(unsigned)fd % CHUNK] : NULL;
}

/* table_lock held. */
static struct nsock **entry_make(int fd)
{
	if (fd < 0 || (unsigned)fd >= CHUNK * CHUNKS)
		return NULL;
	if (!chunks[(unsigned)fd / CHUNK])
		store_release(&chunks[(unsigned)fd / CHUNK], calloc(CHUNK, sizeof(struct nsock *)));
	return entry(fd);
}

/* The anchor, made at first use. table_lock held. */
static int get_anchor(void)
{
	if (anchor < 0)
		anchor = own_make(SYS_socket, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	return anchor;
}

/* A socket that lost a number, with the reference that the table had for it. */
struct leaver {
	struct nsock *s; /* NULL: none */
	bool last;	 /* it was its last number */
};

/*
 * Takes the number out of the table. table_lock held: a fork that comes next must find no socket that counts a number it
 * has not got, for its child would keep it open.
 */
static struct leaver take_out(int fd)
{
	struct nsock **e = entry(fd), *s = e ? *e : NULL;

	if (s)
		store_release(e, NULL);
	return (struct leaver){.s = s, .last = s && __atomic_sub_fetch(&s->fds, 1, __ATOMIC_RELEASE) == 0};
}

/*
 * Gives the table's reference up. A socket without a number is closed when the last call in it has ended, which may be a
 * long time, as in the kernel.
 */
static void leave(struct leaver l)
{
	if (l.last && load_acquire(&l.s->refs) <= 2) /* ours and maybe our caller's: nobody is in a call */
		ns_linger(l.s);
	if (l.last)
		ns_unnamed(l.s);
	if (l.s)
		ns_put(l.s);
}

static int install(struct nsock *s, int fd, struct leaver *old)
{
	struct nsock **e = entry_make(fd);

	if (!e)
		return -EMFILE;
	ns_get(s);
	__atomic_add_fetch(&s->fds, 1, __ATOMIC_RELEASE);
	*old = take_out(fd);
	store_release(e, s);
	if (fd >= limit)
		store_once(&limit, fd + 1);
	return fd;
}

/* A copy of the placeholder `from` at the lowest free number >= min, for this socket. table_lock held. */
static int open_from(int from, struct nsock *s, bool cloexec, int min, struct leaver *old)
{
	int ret, fd = sys_fcntl(from, cloexec ? F_DUPFD_CLOEXEC : F_DUPFD, min);

	ret = fd < 0 ? fd : install(s, fd, old);
	if (fd >= 0 && ret < 0)
		sys_close(fd);
	return ret;
}

/*
 * The own number of an anchor that has just taken the last one, if it is one of the program's, for this socket. The next
 * socket needs a new anchor. table_lock held.
 */
static int open_anchor(struct nsock *s, bool cloexec, int min, struct leaver *old)
{
	int ret = -EMFILE;

	if (anchor >= min && own_counts(anchor))
		ret = cloexec ? 0 : sys_fcntl(anchor, F_SETFD, 0);
	if (ret == 0)
		ret = install(s, anchor, old);
	if (ret >= 0)
		anchor = -1;
	return ret;
}

int fdtable_open(struct nsock *s, bool cloexec, int min)
{
	struct leaver old = {0};
	int from, ret;
	bool there;

	pthread_mutex_lock(&table_lock);
	there = anchor >= 0;
	from = get_anchor();
	ret = from < 0 ? from : open_from(from, s, cloexec, min, &old);
	if (ret == -EBADF) { /* somebody closed everything */
		anchor = -1;
		there = false;
		from = get_anchor();
		ret = from < 0 ? from : open_from(from, s, cloexec, min, &old);
	}
	if (ret == -EMFILE && !there)
		ret = open_anchor(s, cloexec, min, &old);
	pthread_mutex_unlock(&table_lock);
	leave(old); /* was closed behind our back */
	return ret;
}

int fdtable_dup(struct nsock *s, int from, bool cloexec, int min)
{
	struct nsock **e = entry(from);
	struct leaver old = {0};
	int ret = -EBADF;

	pthread_mutex_lock(&table_lock);
	if (e && *e == s)
		ret = open_from(from, s, cloexec, min, &old);
	pthread_mutex_unlock(&table_lock);
	leave(old);
	return ret;
}

int fdtable_dup_at(struct nsock *s, int from, bool cloexec, int fd)
{
	struct nsock **e = entry(from);
	struct leaver old = {0};
	int ret = -EBADF;

	pthread_mutex_lock(&table_lock);
	if (e && *e == s)
		ret = (int)ns_numbers_dup(from, fd, cloexec ? O_CLOEXEC : 0);
	if (ret >= 0)
		ret = install(s, fd, &old);
	pthread_mutex_unlock(&table_lock);
	leave(old);
	return ret;
}

int fdtable_join(int fd)
{
	struct leaver old = {0};
	struct nsock *s;
	int ret;

	if (fdtable_has(fd))
		return fd;
	ret = ns_join(fd, &s);
	if (ret < 0)
		return ret;
	pthread_mutex_lock(&table_lock);
	ret = install(s, fd, &old);
	pthread_mutex_unlock(&table_lock);
	leave(old);
	ns_put(s);
	return ret;
}

int fdtable_token(int fd)
{
	struct nsock *s = fdtable_get(fd);
	int token, ret = 0;

	if (!s)
		return -EBADF;
	if (ns_is_token(fd)) {
		ns_put(s);
		return 0;
	}
	token = ns_token(s);
	if (token < 0) {
		ns_put(s);
		return token;
	}
	pthread_mutex_lock(&table_lock);
	for (int i = 0; i < limit && ret >= 0; i++) {
		struct nsock **e = entry(i);
		int flags = e && *e == s ? sys_fcntl(i, F_GETFD, 0) : -1;

		if (flags >= 0)
			ret = sys_dup3(token, i, flags & FD_CLOEXEC ? O_CLOEXEC : 0);
	}
	pthread_mutex_unlock(&table_lock);
	sys_close(token);
	ns_put(s);
	return ret < 0 ? ret : 0;
}

struct nsock *fdtable_get(int fd)
{
	struct nsock **e = entry(fd), *s;

	while (e && (s = load_acquire(e))) {
		if (!ns_try_get(s))
			continue; /* being taken out just now */
		if (load_acquire(e) == s)
			return s;
		ns_put(s);
	}
	return NULL;
}

bool fdtable_has(int fd)
{
	struct nsock **e = entry(fd);

	return e && load_acquire(e);
}

int fdtable_close(int fd)
{
	struct leaver l;

	if (!fdtable_has(fd))
		return -EBADF;
	pthread_mutex_lock(&table_lock);
	l = take_out(fd);
	/* Out of the table first: the number may be given out again as soon as it is closed. */
	if (l.s)
		sys_close(fd);
	pthread_mutex_unlock(&table_lock);
	leave(l);
	return l.s ? 0 : -EBADF;
}

int fdtable_forget(int fd)
{
	struct leaver l;

	pthread_mutex_lock(&table_lock);
	l = take_out(fd);
	pthread_mutex_unlock(&table_lock);
	leave(l);
	return l.s ? 0 : -EBADF;
}

int fdtable_limit(void)
{
	return load_once(&limit);
}

int fdtable_anchor(void)
{
	return load_once(&anchor);
}

/* ---- fork */

unsigned fdtable_sockets(struct nsock **v, unsigned max)
{
	unsigned n = 0;

	for (int fd = 0; fd < limit; fd++) {
		struct nsock **e = entry(fd), *s = e ? *e : NULL;

		if (!s || s->seen)
			continue;
		s->seen = true;
		if (n++ < max)
			v[n - 1] = s;
	}
	for (int fd = 0; fd < limit; fd++) {
		struct nsock **e = entry(fd);

		if (e && *e)
			(*e)->seen = false;
	}
	return n;
}

void fdtable_fork_prepare(void)
{
	pthread_mutex_lock(&table_lock);
}

void fdtable_fork_done(bool child)
{
	if (child)
		pthread_mutex_init(&table_lock, NULL);
	else
		pthread_mutex_unlock(&table_lock);
}
