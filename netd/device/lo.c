/*
 * lo, device 0: what is sent to our own addresses.
 *
 * Its chunks are private memory and its packets never outlive the cycle: lo_run() works them off
 * before the commit, so a death undoes sending and receiving together and nothing on lo is ever
 * lost. There is no link header; packets pass whole, GSO or not, and a checksum that was left open
 * is valid.
 *
 * A cycle's share is limited (LO_CYCLE_BYTES): then device_room() says that lo is full until the cycle is over. What does
 * not ask for room (acknowledgements) goes all the same.
 */
#include "device/layer.h"
#include "wire/ether.h"
#include "wire/flow.h"
#include <sys/mman.h>

static void *private_memory(size_t size)
{
	void *p = mmap(
	    NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

static struct device_rec *make_record(struct stack *s)
{
	struct device_rec *r;

	if (state_live(s->state, KIND_DEVICE, DEVICE_LO))
		return device_get(s, DEVICE_LO);
	r = state_alloc_at(s->state, KIND_DEVICE, DEVICE_LO);
	if (r) {
		memcpy(r->name, "lo", 3);
		memcpy(r->driver, "lo", 3);
		r->up = r->is_lo = 1;
		r->mtu = LO_MTU;
		r->chunks = LO_CHUNKS;
		r->features = REGION_F_CSUM | REGION_F_TSO4 | REGION_F_TSO6 | REGION_F_USO;
	}
	return r;
}

int lo_attach(struct stack *s)
{
	struct device_layer *l = s->device;
	struct device *d = &l->dev[DEVICE_LO];
	int ret;

	if (!state_live(s->state, KIND_DEVICE, DEVICE_LO) && !make_record(s))
		return -ENOSPC;
	if (d->mem)
		return 0;
	*d = (struct device){.bell = -1, .geo = {.chunk_size = LO_CHUNK_SIZE, .chunks = LO_CHUNKS}};
	l->lo.p = private_memory(LO_CHUNKS * sizeof(*l->lo.p));
	d->mem = private_memory((size_t)LO_CHUNKS * LO_CHUNK_SIZE);
	ret = l->lo.p && d->mem ? chunks_open(d) : -ENOMEM;
	if (ret < 0)
		lo_detach(s);
	if (l->count <= DEVICE_LO)
		l->count = DEVICE_LO + 1;
	return ret;
}

void lo_detach(struct stack *s)
{
	struct device_layer *l = s->device;

	if (l->lo.p)
		munmap(l->lo.p, LO_CHUNKS * sizeof(*l->lo.p));
	if (l->dev && l->dev[DEVICE_LO].mem)
		munmap(l->dev[DEVICE_LO].mem, (size_t)LO_CHUNKS * LO_CHUNK_SIZE);
	l->lo.p = NULL;
	if (l->dev)
		l->dev[DEVICE_LO].mem = NULL;
}

int lo_output(struct stack *s, struct packet *p)
{
	struct lo_queue *q = &s->device->lo;

	q->carried += max_of(p->len, LO_PACKET_BYTES);
	q->p[q->tail++ % LO_CHUNKS] = *p;
	p->segs = 0; /* the queue has it now */
	return 0;
}

static void input(struct stack *s, struct packet *p)
{
	static const uint8_t no_mac[6];
	uint8_t version;

	if (!packet_header(p, &version, 1))
		return;
	p->flags = p->flags & (DESC_CSUM_NEEDED | DESC_CSUM_VALID) ? DESC_CSUM_VALID : 0;
	p->csum_at = NULL;
	p->kept = false;
	if (!p->via)
		tap(s, p, false); /* it has been seen, going out */
	if (version >> 4 == 4)
		ethertype_input(s, p, ETHER_IPV4, no_mac);
	else if (version >> 4 == 6)
		ethertype_input(s, p, ETHER_IPV6, no_mac);
}

/* Notes the packet for the black box; true if its flow is dropped on sight. */
static bool noted_and_aside(struct stack *s, const struct packet *p)
{
	uint8_t head[FLOW_HEAD];
	uint32_t n = min_of(p->len, FLOW_HEAD);
	uint64_t flow = packet_read(p, 0, head, n) ? flow_of_local(head, n) : 0;

	box_note(s->box, BOX_LOCAL, 0, flow);
	if (!box_any(s->box) || !box_drops(s->box, flow, s->now))
		return false;
	s->count.set_aside++;
	return true;
}

void lo_run(struct stack *s)
{
	struct lo_queue *q = &s->device->lo;
	struct device_rec *r;
	struct packet p;

	if (q->head == q->tail || !(r = device_get(s, DEVICE_LO)))
		return;
	while (q->head != q->tail) {
		p = q->p[q->head++ % LO_CHUNKS];
		r->tx_frames++;
		r->tx_bytes += p.len;
		r->rx_frames++;
		r->rx_bytes += p.len;
		KILLPOINT("lo.packet");
		if (!noted_and_aside(s, &p))
			input(s, &p);
		packet_free(s, &p);
	}
}
