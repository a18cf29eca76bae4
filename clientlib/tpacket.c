/*
 * PACKET_RX_RING: libpcap reads frames from memory that it maps over the socket, and from nothing
 * else.
 *
 * Theory of operation. The mapped ring (TPACKET_V2: frames of one size, each with a status word)
 * is this process's own memory. Frames wait in the socket's datagram ring like any other message;
 * whoever asks whether the socket is readable (poll, select, epoll: they all come through
 * ns_poll()) moves them into frames that the program has given back. So the kernel's part is done
 * at the moment when a program that waits looks, and frames survive a restart of the daemon like
 * datagrams do. A program that only watches the status words, and never waits, sees nothing.
 *
 * Other versions are refused as an old kernel refuses them (EINVAL); libpcap then takes this one.
 * Each mmap() is one more mapping of the same pages; it lives until the program unmaps it.
 */
#include "clientlib/link.h"
#include "clientlib/usermem.h"
#include "proto/link.h"
#include <linux/if_packet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define PAGE	 4096u
#define MAP_MAX	 (256u << 20)
#define HEAD	 (TPACKET_ALIGN(sizeof(struct tpacket2_hdr)))
#define HEAD_ALL (HEAD + (unsigned)sizeof(struct sockaddr_ll)) /* TPACKET2_HDRLEN */

struct tpacket {
	int version; /* enum tpacket_versions */
	unsigned reserve;
	struct tpacket_req req; /* tp_block_nr 0: no ring */
	uint8_t *mem;
	size_t size;
	unsigned next, filled; /* the frame to be filled next; any filled yet? */
};

static struct tpacket *state_of(struct nsock *s)
{
	if (!s->tpacket)
		s->tpacket = calloc(1, sizeof(*s->tpacket));
	return s->tpacket;
}

bool tpacket_on(const struct nsock *s)
{
	return s->tpacket && load_acquire(&s->tpacket->mem);
}

static void drop_ring(struct tpacket *t)
{
	if (t->mem)
		sys_munmap(t->mem, t->size);
	store_release(&t->mem, NULL);
	t->req = (struct tpacket_req){.tp_block_nr = 0};
	t->next = t->filled = 0;
}

void tpacket_free(struct nsock *s)
{
	if (!s->tpacket)
		return;
	drop_ring(s->tpacket);
	free(s->tpacket);
	s->tpacket = NULL;
}

/* ---- the frames */

static uint8_t *frame_at(const struct tpacket *t, unsigned i)
{
	unsigned per_block = t->req.tp_block_size / t->req.tp_frame_size;

	return t->mem + (size_t)(i / per_block) * t->req.tp_block_size +
	       (size_t)(i % per_block) * t->req.tp_frame_size;
}

static uint32_t *status_at(const struct tpacket *t, unsigned i)
{
	return &((struct tpacket2_hdr *)(void *)frame_at(t, i))->tp_status;
}

/* CLOCK_MONOTONIC as the wall's clock shows it now. */
static void wall_time(uint64_t when, struct tpacket2_hdr *h)
{
	struct timespec wall = {.tv_sec = 0};
	uint64_t ns;

	clock_gettime(CLOCK_REALTIME, &wall);
	ns = (uint64_t)wall.tv_sec * 1000000000ull + (uint64_t)wall.tv_nsec - (now_ns() - when);
	h->tp_sec = (uint32_t)(ns / 1000000000ull);
	h->tp_nsec = (uint32_t)(ns % 1000000000ull);
}

static void fill_frame(
    const struct nsock *s, const struct tpacket *t, const struct cm_dgram *d, const uint8_t *data)
{
	unsigned link = s->type == SOCK_RAW ? d->frame.net : 0;
	unsigned net = s->type == SOCK_RAW
			   ? TPACKET_ALIGN(HEAD_ALL + (link < 16 ? 16 : link)) + t->reserve
			   : TPACKET_ALIGN(HEAD_ALL) + 16 + t->reserve;
	unsigned mac = net - link,
		 room = t->req.tp_frame_size > mac ? t->req.tp_frame_size - mac : 0;
	uint8_t *frame = frame_at(t, t->next);
	struct tpacket2_hdr h = {.tp_len = d->frame.len,
	    .tp_snaplen = d->len < room ? d->len : room,
	    .tp_mac = (uint16_t)mac,
	    .tp_net = (uint16_t)net};

	wall_time(d->time_ns, &h);
	memcpy(frame + mac, data, h.tp_snaplen);
	link_to_sockaddr(&d->peer, (struct sockaddr *)(void *)(frame + HEAD));
	memcpy(frame + sizeof(h.tp_status), (char *)&h + sizeof(h.tp_status),
	    sizeof(h) - sizeof(h.tp_status));
	store_release(status_at(t, t->next), TP_STATUS_USER | d->frame.status);
}

int tpacket_fill(struct nsock *s)
{
	struct tpacket *t = s->tpacket;
	unsigned last;

	while (load_acquire(status_at(t, t->next)) == TP_STATUS_KERNEL) {
		const uint8_t *data;
		struct cm_dgram d;
		int take = dgram_head(s, &d, &data);

		if (take < 0)
			return take;
		if (!take)
			break;
		fill_frame(s, t, &d, data);
		rx_consume(s, (uint64_t)take, (uint64_t)take);
		t->next = (t->next + 1) % t->req.tp_frame_nr;
		t->filled = 1;
	}
	last = (t->next + t->req.tp_frame_nr - 1) % t->req.tp_frame_nr;
	return t->filled && load_acquire(status_at(t, last)) != TP_STATUS_KERNEL;
}

/* ---- setting it up */

static bool geometry_ok(const struct tpacket *t, const struct tpacket_req *q)
{
	unsigned per_block;

	if (!q->tp_block_size || q->tp_block_size % PAGE ||
	    q->tp_frame_size < HEAD_ALL + t->reserve || q->tp_frame_size % TPACKET_ALIGNMENT ||
	    q->tp_block_size > MAP_MAX / q->tp_block_nr)
		return false;
	per_block = q->tp_block_size / q->tp_frame_size;
	return per_block && per_block * q->tp_block_nr == q->tp_frame_nr;
}

/* The daemon's ring shall hold about as much. */
static int tell_size(struct nsock *s, size_t size)
{
	struct cm_sqe e = {
	    .op = CM_SETSOCKOPT, .slot = s->slot, .arg = {SOL_PACKET, PACKET_RX_RING, sizeof(int)}};
	int bytes = (int)size;

	memcpy(e.data, &bytes, sizeof(bytes));
	return request_wait(s->ss, &e, NULL);
}

static int set_ring(struct nsock *s, struct tpacket *t, const void *val, socklen_t len)
{
	struct tpacket_req q;
	size_t size;
	long p;
	int ret;

	if (len < sizeof(q))
		return -EINVAL;
	memcpy(&q, val, sizeof(q));
	if (!q.tp_block_nr) {
		side_lock(s, true);
		drop_ring(t);
		side_unlock(s, true);
		return q.tp_frame_nr ? -EINVAL : 0;
	}
	if (t->mem)
		return -EBUSY;
	if (t->version != TPACKET_V2 || !geometry_ok(t, &q))
		return -EINVAL;
	size = (size_t)q.tp_block_size * q.tp_block_nr;
	ret = tell_size(s, size);
	if (ret < 0)
		return ret;
	p = sys_mmap(size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1);
	if (p < 0 && p > -4096)
		return -ENOMEM;
	side_lock(s, true);
	t->req = q;
	t->size = size;
	store_release(&t->mem, (uint8_t *)p);
	side_unlock(s, true);
	return 0;
}

int tpacket_setsockopt(struct nsock *s, int name, const void *val, socklen_t len)
{
	struct tpacket *t =
	    name == PACKET_VERSION || name == PACKET_RESERVE || name == PACKET_RX_RING ? state_of(s)
										       : NULL;
	int v = 0;

	if (name == PACKET_TX_RING)
		return -EINVAL;
	if (!t)
		return name == PACKET_VERSION || name == PACKET_RESERVE || name == PACKET_RX_RING
			   ? -ENOMEM
			   : -ENOPROTOOPT;
	if (name == PACKET_RX_RING)
		return set_ring(s, t, val, len);
	if (len != sizeof(v))
		return -EINVAL;
	memcpy(&v, val, sizeof(v));
	if (t->mem)
		return -EBUSY;
	if (name == PACKET_VERSION) {
		if (v != TPACKET_V2 && v != TPACKET_V1)
			return -EINVAL;
		t->version = v;
	} else {
		if (v < 0)
			return -EINVAL;
		t->reserve = (unsigned)v;
	}
	return 0;
}

int tpacket_getsockopt(struct nsock *s, int name, void *val, socklen_t *len)
{
	const struct tpacket *t = s->tpacket;
	int v = 0;

	if (*len < sizeof(v))
		return -EINVAL;
	switch (name) {
	case PACKET_VERSION:
		v = t ? t->version : TPACKET_V1;
		break;
	case PACKET_RESERVE:
		v = t ? (int)t->reserve : 0;
		break;
	case PACKET_HDRLEN:
		if (copy_from_user(&v, val, sizeof(v)) < 0)
			return -EFAULT;
		if (v != TPACKET_V2)
			return -EINVAL;
		v = sizeof(struct tpacket2_hdr);
		break;
	default:
		return -ENOPROTOOPT;
	}
	*len = sizeof(v);
	return copy_to_user(val, &v, sizeof(v));
}

/* One more mapping of the ring's pages. */
int ns_mmap(struct nsock *s, void *addr, size_t len, int flags, off_t off, void **out)
{
	const struct tpacket *t = s->tpacket;
	long p;

	if (!tpacket_on(s))
		return -ENODEV;
	if (off || len != t->size || !(flags & MAP_SHARED))
		return -EINVAL;
	p = sys_call(SYS_mremap, (long)t->mem, 0, (long)len,
	    flags & MAP_FIXED ? MREMAP_MAYMOVE | MREMAP_FIXED : MREMAP_MAYMOVE, (long)addr, 0);
	if (p < 0 && p > -4096)
		return (int)p;
	*out = (void *)p;
	return 0;
}
