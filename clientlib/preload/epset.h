/*
 * Epoll sets that hold sockets of netd.
 *
 * Theory of operation
 *
 * - An epoll descriptor stays a kernel epoll descriptor, and kernel descriptors in it stay the
 * kernel's affair. Beside it stands an epset with the members that are sockets of netd: their
 * events and data, a list of those that may be ready, and a wait set of the core.
 * - The wait set's bell, and an eventfd of ours (the kick), are members of the kernel's epoll set,
 * marked by two secret words as their user data. So a thread sleeps in the kernel's epoll_wait() on
 * everything at once, and the epoll descriptor itself becomes readable for whoever polls it or
 * nests it.
 * - The bell rings only while the wait set is armed: it is armed whenever somebody is asleep in
 * this set (sleepers), polls its descriptor (watchers), or it is nested in another epoll set. A
 * thread that leaves with others still asleep arms again and looks once more (epset_settle); what
 * is still ready then turns the kick on, which wakes the next one: nobody sleeps over something
 * that is ready.
 * - What a nested set is in reads its descriptor, so that is made true before each sleep there, and the bell, which rings
 * once an arming, is armed anew whenever the nested set itself was asked: the next news is an edge outside again.
 * - The ready list follows the kernel's rules. News puts a member on it. epoll_wait() takes members
 * off the front and asks each socket what is true now: nothing, then it stays off; otherwise it is
 *   reported, and a level-triggered one goes to the back again, an edge-triggered one waits for the
 * next news, a one-shot one is silent until EPOLL_CTL_MOD. ADD and MOD look at once. News of an
 * edge counts only if something is true of the socket that was not when it was last told
 * (ns_news()): after a restart of netd-inet everything is news.
 * - Objects are never freed, only reused, and the table of descriptor numbers is read without a
 * lock: take a reference, then see whether the entry still stands.
 * - Locks: list_lock, then an epset's lock, then the core's. The core's event callback runs inside
 * the epset's lock of the thread that called ns_set_events(), and takes none.
 * - A member holds a reference on its socket, so it must go when the socket's last number is
 * closed: epset_forget(). ns_user() of a socket counts its memberships (under list_lock).
 */
#pragma once
#include "clientlib/preload/hook.h"
#include "proto/halt_poll.h"
#include <pthread.h>

struct epview;

struct epmember {
	struct nsock *sock;
	unsigned fd : 30; /* as it was when added: with the socket, the member's name */
	bool listed : 1;  /* on the ready list */
	bool first : 1;	  /* the one that the wait set knows */
	uint32_t events;
	epoll_data_t data;
	struct epmember *prev, *next;
	struct epmember *fd_next; /* same number */
	struct epmember *twin;	  /* next one of the same socket under another number */
	uint64_t told;		  /* of an edge: ns_news() at the last report */
	uint32_t shared;	  /* its place + 1 in what processes share (epview.h); 0: none */
};
_Static_assert(sizeof(struct epmember) == 72, "compact: a process may have a hundred thousand");

struct epset {
	unsigned refs; /* atomic: table entries and calls under way */
	int epfd;      /* a number of the kernel's epoll descriptor */
	pthread_mutex_t lock;
	struct nset *set; /* atomic; NULL until the first member */
	int kick;
	bool kicked, armed, kernel_first;
	bool nested; /* in another epoll set ... */
	bool nests;  /* ... such as this one, of a set of ours; atomic */
	bool looking; /* a thread looks for news before it sleeps */
	struct halt_poll halt;
	unsigned sleepers, watchers; /* sleepers: atomic */
	unsigned kernel_fds;	     /* at most so many kernel members; atomic */
	unsigned members;
	struct epview *view; /* several processes have it (epview.h); NULL */
	struct epmember **by_fd;
	int by_fd_size;
	struct epmember *head, *tail;
	unsigned ready;
	struct epset *all_prev, *all_next, *pool_next;
};

/* The bits that epoll_ctl() takes besides events. */
#define EPSET_PRIVATE (EPOLLET | EPOLLONESHOT | EPOLLWAKEUP | EPOLLEXCLUSIVE)

extern uint64_t epset_secret; /* user data of the bell; + 1: of the kick */

/* eptable.c: numbers */
struct epset *epset_get(int epfd); /* with a reference, or NULL */
bool epset_has(int epfd);
void epset_put(struct epset *ep);
/* A new epset for the number. `foreign`: an epoll descriptor that we did not see made. NULL: no
 * memory. */
struct epset *epset_open(int epfd, bool foreign);
void epset_dup(int from, int to); /* also drops what `to` named */
void epset_drop(int epfd);
bool epset_own_fd(int fd);
int epset_own_fds(int *fd, int max);
void epset_own(int fd, bool own);
int epset_limit(void);
/* The socket's last number, `fd`, was closed: out of every set. */
void epset_forget(struct nsock *s, int fd);
/* Its numbers became kernel sockets: their memberships go on in the kernel. */
void epset_to_kernel(struct nsock *s);
/* One membership more or less. Without an epset's lock. */
void epset_count(struct nsock *s, int by);
/* Before a sleep in a set that nests others: these are readable only if something in them is ready. */
void epset_refresh_nested(void);
void epset_fork_prepare(void);
void epset_fork_done(bool child);

/* epmember.c: members; under the epset's lock */
struct epmember *epmember_find(struct epset *ep, int fd, const struct nsock *s);
int epmember_add(struct epset *ep, int fd, struct nsock *s, const struct epoll_event *ev);
void epmember_del(struct epset *ep, struct epmember *m);
void epmember_mod(struct epset *ep, struct epmember *m, const struct epoll_event *ev);
void epmember_drop_all(struct epset *ep);
int epset_prepare(struct epset *ep);
/* After a fork or a lost session: members without a wait set get one. Without the lock. */
void epset_revive(struct epset *ep);
void epset_discard(struct epset *ep);
void epset_pump(struct epset *ep);
bool epset_needed(const struct epset *ep); /* somebody sleeps in it, watches or nests it */
bool epset_any_ready(struct epset *ep);
int epset_harvest(struct epset *ep, struct epoll_event *ev, int max);
void epset_settle(struct epset *ep);
void epset_calm(struct epset *ep);
/* With the lock held, of a nested set: the descriptor is readable only if something is ready. An edge that was not taken stays. */
void epset_refresh(struct epset *ep);

/* For poll() on the epoll descriptor itself: begin, [sleep in the kernel, refresh]..., end. */
void epset_watch_begin(struct epset *ep);
void epset_watch_refresh(struct epset *ep);
void epset_watch_end(struct epset *ep);
