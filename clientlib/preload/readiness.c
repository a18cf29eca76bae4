/*
 * What a socket is ready for, and children of listeners that wait for a descriptor number.
 *
 * The kernel takes a number before it takes a connection; here the connection is there first. When
 * no number is free then, accept() fails with EMFILE and the child waits in this short list; its
 * listener stays readable, and the next accept() gets the child.
 */
#include "clientlib/preload/hook.h"
#include <pthread.h>
#include <stdlib.h>

struct stashed {
	struct nsock *listener, *child;
	struct endpoint peer;
	struct stashed *next;
};

static struct stashed *stash; /* oldest first */
static unsigned stash_size;   /* atomic: usually 0, and then nobody looks further */
static pthread_mutex_t stash_lock = PTHREAD_MUTEX_INITIALIZER;

static struct stashed **stash_find(const struct nsock *listener)
{
	struct stashed **p = &stash;

	while (*p && (*p)->listener != listener)
		p = &(*p)->next;
	return p;
}

unsigned readiness(struct nsock *s)
{
	unsigned ev = ns_poll(s);

	if (!__atomic_load_n(&stash_size, __ATOMIC_ACQUIRE) || (ev & POLLNVAL))
		return ev;
	pthread_mutex_lock(&stash_lock);
	if (*stash_find(s))
		ev |= POLLIN | POLLRDNORM;
	pthread_mutex_unlock(&stash_lock);
	return ev;
}

/* Takes the child's reference over. */
void stash_put(struct nsock *listener, struct nsock *child, const struct endpoint *peer)
{
	struct stashed *new = malloc(sizeof(*new)), **p = &stash;

	if (!new) {
		ns_close(child);
		ns_put(child);
		return;
	}
	*new = (struct stashed){.listener = listener, .child = child, .peer = *peer};
	pthread_mutex_lock(&stash_lock);
	while (*p)
		p = &(*p)->next;
	*p = new;
	__atomic_add_fetch(&stash_size, 1, __ATOMIC_RELEASE);
	pthread_mutex_unlock(&stash_lock);
}

bool stash_take(struct nsock *listener, struct nsock **child, struct endpoint *peer)
{
	struct stashed *found, **p;

	if (!__atomic_load_n(&stash_size, __ATOMIC_ACQUIRE))
		return false;
	pthread_mutex_lock(&stash_lock);
	p = stash_find(listener);
	found = *p;
	if (found) {
		*p = found->next;
		__atomic_sub_fetch(&stash_size, 1, __ATOMIC_RELEASE);
	}
	pthread_mutex_unlock(&stash_lock);
	if (!found)
		return false;
	*child = found->child;
	*peer = found->peer;
	free(found);
	return true;
}

void stash_forget(struct nsock *listener)
{
	struct nsock *child;
	struct endpoint peer;

	while (stash_take(listener, &child, &peer)) {
		ns_close(child);
		ns_put(child);
	}
}

/* ---- fork: what waits for a number in the parent is not the child's */

void stash_fork_prepare(void)
{
	pthread_mutex_lock(&stash_lock);
}

void stash_fork_done(bool child)
{
	if (!child) {
		pthread_mutex_unlock(&stash_lock);
		return;
	}
	pthread_mutex_init(&stash_lock, NULL);
	stash = NULL;
	stash_size = 0;
}
