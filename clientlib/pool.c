/*
 * Pools of small objects (pool.h), and that of the sockets, whose memory is type-stable: whoever
 * holds an old pointer may ask with ns_try_get() whether it is (again) a socket. So an unused one
 * keeps its `refs` at 0, and its place in the pool lies behind them.
 */
#include "clientlib/session.h"
#include <stdlib.h>
#include <string.h>

#define AT_ONCE 32

static pthread_mutex_t pool_lock = PTHREAD_MUTEX_INITIALIZER;

/* pool_lock held. */
static void refill(struct pool *p)
{
	char *at = calloc(AT_ONCE, p->size);

	for (unsigned i = 0; at && i < AT_ONCE; i++, at += p->size) {
		*(void **)(void *)at = p->unused;
		p->unused = at;
	}
}

void *pool_take(struct pool *p)
{
	void *o;

	pthread_mutex_lock(&pool_lock);
	if (!p->unused)
		refill(p);
	o = p->unused;
	if (o)
		p->unused = *(void **)o;
	pthread_mutex_unlock(&pool_lock);
	return o ? memset(o, 0, p->size) : NULL;
}

void pool_give(struct pool *p, void *o)
{
	pthread_mutex_lock(&pool_lock);
	*(void **)o = p->unused;
	p->unused = o;
	pthread_mutex_unlock(&pool_lock);
}

/* ---- sockets */

static struct nsock *unused;

/* pool_lock held. */
static void refill_sockets(void)
{
	struct nsock *s = malloc(AT_ONCE * sizeof(*s));

	for (unsigned i = 0; s && i < AT_ONCE; i++) {
		store_once(&s[i].refs, 0);
		s[i].pool_next = unused;
		unused = &s[i];
	}
}

/* A zeroed object without references; NULL if there is no memory. */
struct nsock *sock_take(void)
{
	struct nsock *s;

	pthread_mutex_lock(&pool_lock);
	if (!unused)
		refill_sockets();
	s = unused;
	if (s)
		unused = s->pool_next;
	pthread_mutex_unlock(&pool_lock);
	if (!s)
		return NULL;
	memset((char *)s + sizeof(s->refs), 0, sizeof(*s) - sizeof(s->refs));
	s->d = &s->own_desc;
	return s;
}

void sock_give(struct nsock *s)
{
	pthread_mutex_lock(&pool_lock);
	s->pool_next = unused;
	unused = s;
	pthread_mutex_unlock(&pool_lock);
}

void pool_fork_prepare(void)
{
	pthread_mutex_lock(&pool_lock);
}

void pool_fork_done(bool child)
{
	if (child)
		pthread_mutex_init(&pool_lock, NULL);
	else
		pthread_mutex_unlock(&pool_lock);
}
