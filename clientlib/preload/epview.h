/*
 * Epoll sets that several processes have since a fork.
 *
 * Theory of operation
 *
 * - The kernel has one set for all who have the descriptor. Here each process has its own members
 * (epset.h), and beside them stands a table in memory that all of them share: which descriptor
 * number of which socket (struct ns_key) is in the set, for which events, with what data. It is
 * made at the first fork; from then on whoever changes the set writes it down there. Every change
 * has a number; before a process harvests or sleeps it follows the changes that it has not seen
 * yet. A socket that it does not hold itself it watches (ns_watch()), which does not keep it alive.
 * - Harvesting goes on under the table's lock, so a one-shot event is one among all processes, and
 * an edge that one of them was told of is not told another: the entry keeps what was true of the
 * socket then (ns_news()).
 * - While nobody else has the set, nothing is written down but what is there already: new members
 * go in at the next fork. So a process whose children are gone pays nothing more.
 * - Each process has a door: a datagram socket with a name that the kernel chose, which lies in the
 * kernel's epoll set. Who changes the table knocks at the doors of those who sleep in the set. Who
 * sleeps has said so first, and then looked once more. A door that nobody has open any more says
 * that its process is gone, or has closed the set.
 * - The socket is closed by its last holder: those who watch it are told by the daemon, and the
 * first to see it takes it out of the table. A process that closes its own last number of a socket
 * comes back to it as one who watches, if it still lives then.
 * - The lock is robust: an entry becomes valid with its last store (`used`), and after a death all
 * look at everything once more.
 * - Locks: the epset's, then the table's, then the core's.
 */
#pragma once
#include "clientlib/preload/epset.h"

enum { EPVIEW_PROCS = 256, EPVIEW_ENTRIES = 1 << 16, EPVIEW_LOG = 1024, EPVIEW_NAME = 16 };

struct epentry {
	uint32_t used;
	int32_t fd; /* of a free one: the next free one + 1 */
	uint32_t events;
	uint32_t mods; /* grows with each EPOLL_CTL_MOD */
	uint64_t data;
	struct ns_key key;
	uint64_t told; /* ns_news() at the last report, 0: none */
	uint64_t pad;
};
_Static_assert(sizeof(struct epentry) == 64, "one line");

struct epproc { /* a process that has the set */
	uint32_t used;
	uint32_t asleep, knocked;
	uint32_t name_len;
	char name[EPVIEW_NAME]; /* a struct sockaddr_un, as far as it is used */
	uint64_t seen_alive;	/* monotonic ns */
};

struct eptable {
	pthread_mutex_t lock;
	uint64_t version; /* number of the newest change; atomic for a look without the lock */
	uint32_t high, free;
	uint32_t log[EPVIEW_LOG]; /* what the newest changes were about */
	struct epproc proc[EPVIEW_PROCS];
	struct epentry e[EPVIEW_ENTRIES];
};

struct epplace { /* this process's member for an entry */
	struct epmember *m;
	uint32_t mods;
};

struct epview { /* one process's side of it */
	struct eptable *t;
	uint32_t me, child; /* in proc[]; `child` only during a fork */
	int door, child_door;
	uint64_t seen; /* changes up to here are followed */
	struct epplace *at;
	uint32_t size;
	uint32_t *later, laters, later_room; /* entries to come back to */
};

/* ---- epdoor.c: who has the set; under the table's lock */

/* A new process with its door: 0, and its number in *proc. */
int epdoor_new(struct eptable *t, uint32_t *proc, int *door);
/* Knocks at all doors behind which somebody sleeps, but our own. */
void epdoor_knock(const struct epview *v);
/* Is there anybody else? */
bool epdoor_others(const struct epview *v);
void epdoor_empty(const struct epview *v);

/* ---- epview.c; all under the epset's lock, and nothing to do without a view */

/* Gives the set a view if it has none, and holds the table from the one to the other. */
void epview_fork_prepare(struct epset *ep);
void epview_fork_done(struct epset *ep, bool child);
void epview_free(struct epset *ep);
/* May the set have members that this process has not got? */
bool epview_populated(const struct epset *ep);
/* Follows what others changed. */
void epview_sync(struct epset *ep);
/* What this process changed: a new member (0 or a negative errno), one that goes, other events. */
int epview_added(struct epset *ep, struct epmember *m);
void epview_removed(struct epset *ep, struct epmember *m);
void epview_changed(struct epset *ep, struct epmember *m);
/* The member goes because this process has closed the socket. */
void epview_left(struct epset *ep, struct epmember *m);
/* Somebody sleeps in the set, or nobody does; follows, too. */
void epview_announce(struct epset *ep, bool asleep);
/* After a wake: the door is silent. */
void epview_calm(struct epset *ep);
/* Around a harvest: in between the table is locked, and was followed. */
void epview_begin(struct epset *ep);
void epview_end(struct epset *ep);
/* In between, of a member: where is kept what was true when it was told last. */
uint64_t *epview_told(struct epset *ep, struct epmember *m);
/* In between: its socket, which was only watched, is closed. */
void epview_ended(struct epset *ep, struct epmember *m);
/* In between: a one-shot member has fired. */
void epview_fired(struct epset *ep, struct epmember *m);
