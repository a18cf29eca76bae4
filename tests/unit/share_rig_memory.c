/* Memories of sessions and shares, and the places of rings in them. See share_rig_parts.h. */
#include "share_rig_parts.h"
#include "proto/channel.h"
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

struct mem rig_mems[MEMS];

struct cm_slot *rig_slot(unsigned mem, unsigned slot)
{
	return (struct cm_slot *)(void *)(rig_mems[mem].p + rig_mems[mem].h->slot_off) + slot;
}

unsigned rig_memory_new(void)
{
	unsigned i = 1;

	while (rig_mems[i].used)
		if (++i == MEMS)
			abort();
	rig_mems[i] =
	    (struct mem){.used = true, .fd = memory_create("rig", SIZE), .ctl = -1, .bell = -1};
	rig_mems[i].p = memory_map(rig_mems[i].fd, SIZE, PROT_READ | PROT_WRITE);
	rig_mems[i].h = (struct cm_header *)(void *)rig_mems[i].p;
	cm_layout(rig_mems[i].h, SIZE, SLOTS);
	rig_mems[i].h->session = i;
	rig_mems[i].heap = rig_mems[i].h->heap_off;
	for (unsigned k = 0; k < CM_SETS; k++)
		rig_mems[i].set_bell[k] = -1;
	return i;
}

void rig_memory_free(unsigned i)
{
	munmap(rig_mems[i].p, SIZE);
	close(rig_mems[i].fd);
	rig_mems[i].used = false;
}

void rig_place_free(unsigned mem, const struct ring_place *p)
{
	unsigned c = p->cap ? (unsigned)__builtin_ctz(p->cap) : 0;

	if (p->cap && rig_mems[mem].frees[c] < FREE)
		rig_mems[mem].free[c][rig_mems[mem].frees[c]++] = p->off;
}

void rig_place_new(const struct sock *k, struct ring_place *p, uint32_t cap, uint64_t base)
{
	struct mem *m = &rig_mems[k->mem];
	unsigned c = (unsigned)__builtin_ctz(cap);
	uint64_t off = m->heap;

	if (m->frees[c])
		off = m->free[c][--m->frees[c]];
	else
		m->heap += cap;
	if (m->heap > SIZE)
		abort();
	*p = (struct ring_place){
	    .off = off, .base = base, .cap = cap, .mem = k->mem + 1, .epoch = p->epoch + 1};
}

void rig_move_ring(struct sock *k, struct ring_place *p, uint32_t cap, uint64_t from, uint64_t to,
    unsigned old_mem)
{
	struct ring_place old = *p;

	rig_place_new(k, p, cap, from);
	for (uint64_t pos = from; old.cap && pos < to; pos++)
		rig_mems[k->mem].p[ring_place_at(p, pos)] =
		    rig_mems[old_mem].p[ring_place_at(&old, pos)];
	rig_place_free(old_mem, &old);
}
