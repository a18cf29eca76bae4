/* Descriptor numbers to sockets: see fdtable.h. */
#include "clientlib/fdtable.h"
#include "clientlib/session.h"
#include <stdlib.h>

#define CHUNK  1024u
#define CHUNKS 1024u

static struct nsock **chunks[CHUNKS]; /* never freed */
static pthread_mutex_t table_lock = PTHREAD_MUTEX_INITIALIZER;
static int anchor = -1;
static int limit;

static void before_fork(void)
{
	pthread_mutex_lock(&table_lock);
}

static void after_fork(void)
{
	pthread_mutex_unlock(&table_lock);
}

static void child_fork(void)
{
	pthread_mutex_init(&table_lock, NULL);
}

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
	static bool handlers;

	if (!handlers)
		handlers = !pthread_atfork(before_fork, after_fork, child_fork);
	if (anchor < 0)
		anchor = fd_high(sys_socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
	return anchor;
}

/*
 * Takes the number out of the table; the socket that was there, still with the table's reference.
 * table_lock held.
 */
static struct nsock *take_out(int fd)
{
	struct nsock **e = entry(fd), *s = e ? *e : NULL;

	if (s)
		store_release(e, NULL);
	return s;
}

/* Gives the table's reference up; closes the socket if this was its last number. */
static void leave(struct nsock *s)
{
	bool last;

	pthread_mutex_lock(&table_lock);
	last = --s->fds == 0;
	pthread_mutex_unlock(&table_lock);
	if (last)
		ns_close(s);
	ns_put(s);
}

static int install(struct nsock *s, int fd, struct nsock **old)
{
	struct nsock **e = entry_make(fd);

	if (!e)
		return -EMFILE;
	*old = take_out(fd);
	ns_get(s);
	s->fds++;
	store_release(e, s);
	if (fd >= limit)
		store_once(&limit, fd + 1);
	return fd;
}

int fdtable_open(struct nsock *s, bool cloexec, int min)
{
	struct nsock *old = NULL;
	int fd, ret;

	pthread_mutex_lock(&table_lock);
	fd = get_anchor();
	if (fd >= 0)
		fd = sys_fcntl(fd, cloexec ? F_DUPFD_CLOEXEC : F_DUPFD, min);
	if (fd == -EBADF) { /* somebody closed everything */
		anchor = -1;
		fd = get_anchor();
		if (fd >= 0)
			fd = sys_fcntl(fd, cloexec ? F_DUPFD_CLOEXEC : F_DUPFD, min);
	}
	ret = fd < 0 ? fd : install(s, fd, &old);
	if (fd >= 0 && ret < 0)
		sys_close(fd);
	pthread_mutex_unlock(&table_lock);
	if (old) /* was closed behind our back */
		leave(old);
	return ret;
}

int fdtable_open_at(struct nsock *s, bool cloexec, int fd)
{
	struct nsock *old = NULL;
	int from, ret;

	pthread_mutex_lock(&table_lock);
	from = get_anchor();
	ret = from < 0 ? from : sys_dup3(from, fd, cloexec ? O_CLOEXEC : 0);
	if (ret >= 0)
		ret = install(s, fd, &old);
	pthread_mutex_unlock(&table_lock);
	if (old)
		leave(old);
	return ret;
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
	struct nsock *s;

	if (!fdtable_has(fd))
		return -EBADF;
	pthread_mutex_lock(&table_lock);
	s = take_out(fd);
	/* Out of the table first: the number may be given out again as soon as it is closed. */
	if (s)
		sys_close(fd);
	pthread_mutex_unlock(&table_lock);
	if (!s)
		return -EBADF;
	leave(s);
	return 0;
}

int fdtable_forget(int fd)
{
	struct nsock *s;

	pthread_mutex_lock(&table_lock);
	s = take_out(fd);
	pthread_mutex_unlock(&table_lock);
	if (!s)
		return -EBADF;
	leave(s);
	return 0;
}

int fdtable_limit(void)
{
	return load_once(&limit);
}
