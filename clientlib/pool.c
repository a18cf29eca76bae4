/*
 * Socket objects: type-stable memory.
 *
 * Whoever holds an old pointer may ask with ns_try_get() whether it is (again) a socket, so objects
 * are never returned to the allocator; unused ones wait here.
 */
#include "clientlib/session.h"
#include <stdlib.h>
#include <string.h>

#define PIECE 32

static pthread_mutex_t pool_lock = PTHREAD_MUTEX_INITIALIZER;
static struct nsock *unused;

/* Some more, cut from one piece: there may be very many, and the allocator would round each up. pool_lock held. */
static void refill(void)
{
	struct nsock *s = malloc(PIECE * sizeof(*s));

	for (unsigned i = 0; s && i < PIECE; i++) {
		store_once(&s[i].refs, 0);
		s[i].pool_next = unused;
		unused = &s[i];
	}
}

/* A zeroed object without references; NULL if there is no memory. */
struct nsock *pool_take(void)
{
	struct nsock *s;

	pthread_mutex_lock(&pool_lock);
	if (!unused)
		refill();
	s = unused;
	if (s)
		unused = s->pool_next;
	pthread_mutex_unlock(&pool_lock);
	if (!s)
		return NULL;
	memset((char *)s + sizeof(s->refs), 0, sizeof(*s) - sizeof(s->refs));
	store_once(&s->refs, 0);
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
