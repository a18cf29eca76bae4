/* The driver's side of each host, and the wire between them. See sim.h. */
#include "sim.h"
#include <stdlib.h>

const uint8_t sim_mac[SIM_HOSTS][6] = {{2, 0, 0, 0, 0, 1}, {2, 0, 0, 0, 0, 2}};

static struct region *region_of(struct sim_host *h)
{
	return h->region;
}

uint32_t wire_take(struct sim_host *h, uint8_t *data, uint16_t *gso_size, bool *csum_open)
{
	struct region_queue *q = &region_of(h)->queue[0];
	uint64_t prod = load_acquire(&q->transmit_prod.v), at = h->drv_tx;
	uint32_t len = 0;
	struct dev_desc d;

	if (prod == at)
		return 0;
	do {
		cr_assert_neq(prod, at, "a chain without an end");
		d = *region_desc(h->region, &h->geo, 0, RING_TRANSMIT, at);
		cr_assert(desc_in_bounds(&h->geo, &d));
		cr_assert_leq(len + d.len, SIM_FRAME);
		if (!len) {
			*gso_size = d.gso_type ? d.gso_size : 0;
			*csum_open = d.flags & DESC_CSUM_NEEDED;
		}
		memcpy(data + len, region_chunk(h->region, &h->geo, d.chunk) + d.off, d.len);
		len += d.len;
		*region_desc(h->region, &h->geo, 0, RING_COMPLETION, at) =
		    (struct dev_desc){.chunk = d.chunk};
		at++;
	} while (d.flags & DESC_MORE);
	h->drv_tx = at;
	store_release(&q->transmit_cons.v, at);
	store_release(&q->completion_prod.v, at);
	return len;
}

bool wire_push(
    struct sim_host *h, const uint8_t *data, uint32_t len, uint16_t gso_size, bool csum_open)
{
	struct region_queue *q = &region_of(h)->queue[0];
	uint64_t avail = load_acquire(&q->fill_prod.v) - h->drv_rx, n = 0;
	uint32_t size = h->geo.chunk_size;
	bool first = true;

	if (avail < (len + size - 1) / size)
		return false;
	for (; len; n++, first = false) {
		struct dev_desc d = *region_desc(h->region, &h->geo, 0, RING_FILL, h->drv_rx + n);
		uint32_t run = min_of(len, size);

		memcpy(region_chunk(h->region, &h->geo, d.chunk), data, run);
		d = (struct dev_desc){.chunk = d.chunk, .len = run};
		if (first && csum_open)
			d.flags |= DESC_CSUM_NEEDED;
		if (first && gso_size) {
			d.gso_type = GSO_TCPV4;
			d.gso_size = gso_size;
		}
		data += run;
		len -= run;
		d.flags |= len ? DESC_MORE : 0;
		*region_desc(h->region, &h->geo, 0, RING_RECEIVE, h->drv_rx + n) = d;
	}
	h->drv_rx += n;
	store_release(&q->receive_prod.v, h->drv_rx);
	store_release(&q->fill_cons.v, h->drv_rx);
	return true;
}

/* ---- the wire */

static void put_frame(struct sim *m, const struct sim_frame *f, const uint8_t *data)
{
	struct sim_frame *to;

	if (m->frames == m->room) {
		m->room = m->room ? m->room * 2 : 64;
		m->frame = realloc(m->frame, m->room * sizeof(*m->frame));
		cr_assert(m->frame);
	}
	to = &m->frame[m->frames++];
	*to = *f;
	to->order = m->order++;
	to->data = malloc(f->len);
	cr_assert(to->data);
	memcpy(to->data, data, f->len);
}

static void send_frame(
    struct sim *m, unsigned from, uint8_t *data, uint32_t len, uint16_t gso, bool open)
{
	struct sim_link *l = &m->link[from];
	struct sim_frame f = {.at = m->now + l->delay,
	    .to = 1 - from,
	    .len = len,
	    .gso_size = gso,
	    .csum_open = open};

	l->frames++;
	if ((m->watch && !m->watch(m, from, data, len)) || sim_roll(m, l->loss)) {
		l->dropped++;
		return;
	}
	if (l->rate) {
		uint64_t start = max_of(l->busy_until, m->now);

		if ((start - m->now) * l->rate / SIM_SEC > l->queue) {
			l->dropped++;
			return;
		}
		l->busy_until = start + len * SIM_SEC / l->rate;
		f.at = l->busy_until + l->delay;
	}
	if (l->jitter && sim_roll(m, l->reorder ? l->reorder : 1000000))
		f.at += sim_random(m) % l->jitter;
	if (sim_roll(m, l->corrupt))
		data[34 + sim_random(m) % (len - 34)] ^= (uint8_t)(1 + sim_random(m) % 255);
	put_frame(m, &f, data);
	if (sim_roll(m, l->duplicate)) {
		f.at += sim_random(m) % (l->delay + 1);
		put_frame(m, &f, data);
	}
}

void wire_collect(struct sim *m)
{
	static uint8_t data[SIM_FRAME];
	uint16_t gso;
	bool open;
	uint32_t len;

	for (unsigned i = 0; i < SIM_HOSTS; i++)
		while (m->host[i].region && !m->script &&
		       (len = wire_take(&m->host[i], data, &gso, &open)))
			send_frame(m, i, data, len, gso, open);
}

static int next_frame(const struct sim *m)
{
	int best = -1;

	for (unsigned i = 0; i < m->frames; i++)
		if (best < 0 || m->frame[i].at < m->frame[best].at ||
		    (m->frame[i].at == m->frame[best].at &&
			m->frame[i].order < m->frame[best].order))
			best = (int)i;
	return best;
}

uint64_t wire_next(const struct sim *m)
{
	int i = next_frame(m);

	return i < 0 ? UINT64_MAX : m->frame[i].at;
}

void wire_deliver(struct sim *m)
{
	for (;;) {
		int i = next_frame(m);
		struct sim_frame f;

		if (i < 0 || m->frame[i].at > m->now)
			return;
		f = m->frame[i];
		m->frame[i] = m->frame[--m->frames];
		(void)wire_push(&m->host[f.to], f.data, f.len, f.gso_size,
		    f.csum_open); /* else: its queue is full */
		free(f.data);
	}
}

void wire_free(struct sim *m)
{
	for (unsigned i = 0; i < m->frames; i++)
		free(m->frame[i].data);
	free(m->frame);
}
