/* Putting one worker's stack together, and its steps. See world.h. */
#include "daemon/world.h"
#include "base/util.h"
#include "device/device.h"
#include "device/neigh.h"
#include "inet/sock.h"
#include "inet/udp.h"
#include "ip/ip.h"
#include "socket/socket.h"
#include "tcp/tcp.h"
#include <errno.h>


#define LO_ROUNDS 64

int world_open(struct stack *s, void *arena, uint64_t arena_size, void *mem0, uint64_t mem0_size)
{
	int ret;

	s->board = &switchboard;
	s->mem = memories_new();
	s->timers = timers_new();
	if (!s->mem || !s->timers)
		return -ENOMEM;
	if ((ret = state_open(&s->state, arena, arena_size, switchboard.records)) < 0)
		return ret;
	s->box = &state_header(s->state)->box;
	/* Its first page stays unused: offset 0 means "no ring". */
	if ((ret = memory_add(s->mem, 0, mem0, mem0_size, 4096)) < 0)
		return ret;
	if ((ret = device_layer_init(s)) < 0)
		return ret;
	if ((ret = ip_layer_init(s)) < 0)
		return ret;
	if ((ret = inet_layer_init(s)) < 0)
		return ret;
	return tcp_layer_init(s);
}

void world_close(struct stack *s)
{
	if (s->tcp)
		tcp_layer_exit(s);
	if (s->inet)
		inet_layer_exit(s);
	if (s->ip)
		ip_layer_exit(s);
	if (s->device)
		device_layer_exit(s);
	state_close(s->state);
	timers_free(s->timers);
	memories_free(s->mem);
	s->state = NULL;
	s->timers = NULL;
	s->mem = NULL;
}

/* What hangs on a corrupt record pays: its kind's owner decides how. */
static void on_corrupt(void *arg, enum record_kind kind, uint32_t index)
{
	struct stack *s = arg;

	if (s->board->records[kind].lost)
		s->board->records[kind].lost(s, index);
}

static int world_record(struct stack *s)
{
	struct world_rec *w = world_get(s);

	if (!w && !(w = state_alloc_at(s->state, KIND_WORLD, 0)))
		return -ENOMEM;
	if (w->inited)
		return 0;
	s->random(s->random_arg, &w->isn_key, sizeof(w->isn_key));
	s->random(s->random_arg, &w->hash_key, sizeof(w->hash_key));
	s->random(s->random_arg, &w->ts_offset, sizeof(w->ts_offset));
	s->random(s->random_arg, &w->ip_id, sizeof(w->ip_id));
	s->random(s->random_arg, &w->port_cursor, sizeof(w->port_cursor));
	w->inited = 1;
	return 0;
}

int world_recover(struct stack *s)
{
	int bad = state_recover(s->state, on_corrupt, s);
	int ret = world_record(s);

	return ret < 0 ? ret : bad;
}

int world_reindex(struct stack *s)
{
	int ret;

	if ((ret = device_reindex(s)) < 0 || (ret = neigh_reindex(s)) < 0 || (ret = ip_reindex(s)) < 0 ||
	    (ret = inet_reindex(s)) < 0 || (ret = tcp_reindex(s)) < 0)
		return ret;
	return s->socket ? socket_reindex(s) : 0;
}

void world_resume(struct stack *s, uint64_t down_ns)
{
	s->resumed_ns = s->now;
	tcp_resume(s, down_ns < s->now ? s->now - down_ns : 0);
}

static unsigned run_timers(struct stack *s, unsigned budget)
{
	enum record_kind kind;
	uint32_t index;
	unsigned n = 0;

	while (n < budget && timers_pop(s->timers, s->now, &kind, &index)) {
		box_note(s->box, BOX_TIMER, index, kind);
		if (s->board->records[kind].expired)
			s->board->records[kind].expired(s, index);
		n++;
	}
	return n;
}

unsigned world_work(struct stack *s, unsigned budget)
{
	unsigned work = 0;

	for (uint32_t dev = DEVICE_LO + 1; dev < device_count(s); dev++)
		work += device_gather(s, dev, budget);
	sock_resume(s);
	work += run_timers(s, budget * 4);
	/* What goes over lo is answered in the same cycle, within reason. */
	for (unsigned round = 0; round < LO_ROUNDS; round++) {
		tcp_flush(s);
		lo_run(s);
		if (tcp_next_work(s) > s->now)
			break;
		work++;
		if (!device_room(s, DEVICE_LO))
			break;
	}
	return work;
}

void world_commit(struct stack *s)
{
	uint32_t dirty = state_dirty(s->state);

	s->count.cycles++;
	if (!dirty)
		return;
	s->count.commits++;
	s->count.records_committed += dirty;
	box_note(s->box, BOX_COMMIT, 0, 0);
	state_commit(s->state);
	memories_commit(s->mem);
}

void world_speak(struct stack *s, bool all)
{
	device_speak(s, all);
}

uint64_t world_next_timer(const struct stack *s)
{
	return min_of(timers_next(s->timers), tcp_next_work(s));
}
