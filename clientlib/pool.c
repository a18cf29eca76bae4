/*
 * Socket objects: type-stable memory.
 *
 * Whoever holds an old pointer may ask with ns_try_get() whether it is (again) a socket, so objects
 * are never returned to the allocator; unused ones wait here.
 */
#include "clientlib/session.h"
#include <stdlib.h>
#include <string.h>

static pthread_mutex_t pool_lock = PTHREAD_MUTEX_INITIALIZER;
static struct nsock *unused;

/* A zeroed object without references; NULL if there is no memory. */
struct nsock *pool_take(void)
{
	struct nsock *s;

	pthread_mutex_lock(&pool_lock);
	s = unused;
	if (s)
		unused = s->pool_next;
	pthread_mutex_unlock(&pool_lock);
	if (!s)
		s = aligned_alloc(64, (sizeof(*s) + 63) & ~(size_t)63);
	if (!s)
		return NULL;
	memset((char *)s + sizeof(s->refs), 0, sizeof(*s) - sizeof(s->refs));
	store_once(&s->refs, 0);
	pthread_mutex_init(&s->wait_lock, NULL);
	pthread_mutex_init(&s->own_desc.rx_lock, NULL);
	pthread_mutex_init(&s->own_desc.tx_lock, NULL);
	s->d = &s->own_desc;
	return s;
}

void pool_give(struct nsock *s)
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
