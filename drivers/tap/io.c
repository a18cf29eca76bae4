/*
 * Frames between the TAP and the rings: one readv or writev a frame, no copy of our own.
 *
 * Reception. One call of readv scatters the frame over the chunks of the next fill entries; those that it
 * did not reach stay the next ones. While there are fewer entries than the largest frame takes, frames
 * wait in the kernel's queue for netd-inet to give more, which it does in its next cycle; but not for
 * ever: it may have none to give. After SHORT_MS they are read into what there is; what finds no room
 * (or is larger than agreed) goes into a spill buffer, and a frame that reached that far is dropped.
 *
 * The virtio header is read into the region, so that a successor finds the frame of a call that a SIGKILL
 * fell into: recover.c. For its sake a chunk's pages are touched before the kernel writes there for the
 * first time: a fault inside the copy is where a fatal signal cuts a frame short. Chunk by chunk as they
 * come, not all at start (MADV_POPULATE_WRITE of 32 MiB took 2 to 15 ms, most of a restart): each page
 * has exactly the one fault that it would have had in the kernel.
 */
#include "drivers/tap/tap.h"
#include "drivers/tap/vnet.h"
#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Bytes that one batch may carry: a batch of super-frames must not starve the other direction. */
#define BATCH_BYTES (512u << 10)
#define SHORT_MS    100u
#define PAGE_MIN    4096u /* the smallest there is */

static void window_compact(struct tap *t)
{
	memmove(&t->iov[1], &t->iov[t->first], t->have * sizeof(t->iov[0]));
	memmove(&t->chunk[1], &t->chunk[t->first], t->have * sizeof(t->chunk[0]));
	t->first = 1;
}

static void chunk_touch(struct tap *t, const struct queue *q, uint64_t chunk)
{
	uint64_t index = chunk / q->geo.chunk_size;
	volatile uint8_t *p = region_chunk(q->region, &q->geo, chunk);

	if (t->mapped[index / 8] & 1u << index % 8)
		return;
	t->mapped[index / 8] |= (uint8_t)(1u << index % 8);
	for (uint32_t off = 0; off < q->geo.chunk_size; off += PAGE_MIN)
		p[off] = p[off];
}

/*
 * Looks further ahead until the window holds `need` entries or there are no more good ones. Returns
 * false if the very next entry is a bad one.
 */
static bool window_fill(struct driver *d, struct tap *t, unsigned need)
{
	struct queue *q = &d->queue;
	unsigned more;

	if (t->have >= need)
		return true;
	if (t->first + need >= TAP_WINDOW)
		window_compact(t);
	more = queue_fill_avail(q, q->rx + t->have);
	while (more-- && t->first + t->have < TAP_WINDOW) {
		unsigned at = t->first + t->have;

		if (!queue_fill_at(q, q->rx + t->have, &t->chunk[at]))
			return t->have > 0;
		chunk_touch(t, q, t->chunk[at]);
		t->iov[at].iov_base = region_chunk(q->region, &q->geo, t->chunk[at]);
		t->iov[at].iov_len = q->geo.chunk_size;
		t->have++;
	}
	return true;
}

static void window_drop(struct tap *t, unsigned n)
{
	t->first += n;
	t->have -= n;
	if (!t->have)
		t->first = 1;
}

/* Describes a frame of `len` bytes that lies in the window's first chunks. Returns their number. */
static unsigned tap_describe(const struct driver *d, struct tap *t, uint32_t len)
{
	uint32_t size = d->queue.geo.chunk_size;
	unsigned n = 0;

	do {
		uint32_t here = len < size ? len : size;

		t->desc[n] = (struct dev_desc){.chunk = t->chunk[t->first + n], .len = here};
		len -= here;
		n++;
	} while (len);
	return n;
}

/*
 * Publishes the frame of `len` bytes that was read into the first `offered` entries of the window, with
 * its header in the region; or drops it.
 */
static void tap_deliver(struct driver *d, struct tap *t, uint64_t len, unsigned offered)
{
	struct virtio_net_hdr hdr;
	unsigned n;

	/* netd-inet could change it under us. */
	memcpy(&hdr, d->region->rx_header, sizeof(hdr));
	__asm__ __volatile__("" : : "r"(&hdr) : "memory");
	if (len > (uint64_t)offered * d->queue.geo.chunk_size || len > REGION_FRAME_MAX) {
		d->count.rx_dropped++;
		return;
	}
	n = tap_describe(d, t, (uint32_t)len);
	if (!vnet_to_desc(&hdr, t->iov[t->first].iov_base, t->desc[0].len, &t->desc[0])) {
		d->count.rx_dropped++;
		return;
	}
	queue_receive(&d->queue, t->desc, n);
	window_drop(t, n);
	d->count.rx_frames++;
}

/* How many fill entries the largest frame takes. */
static unsigned entries_needed(const struct driver *d, const struct tap *t)
{
	return (t->frame_max + d->queue.geo.chunk_size - 1) / d->queue.geo.chunk_size;
}

/* Is it better to wait for more entries than to read into those that are there? */
static bool window_short(struct driver *d, struct tap *t)
{
	struct timespec ts;
	uint64_t now;

	d->wait_ms = 0;
	d->queue.seen = d->queue.rx + t->have;
	if (t->have >= entries_needed(d, t)) {
		t->short_since_ns = 0;
		return false;
	}
	if (!t->have)
		return true;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	now = (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
	if (!t->short_since_ns)
		t->short_since_ns = now;
	if (now - t->short_since_ns >= SHORT_MS * 1000000ull)
		return false;
	d->wait_ms = SHORT_MS;
	return true;
}

/* One frame. Its length, 0 if there is none, or a negative errno. */
static ssize_t tap_read(struct driver *d, struct tap *t)
{
	unsigned need = entries_needed(d, t);
	const size_t header = sizeof(struct virtio_net_hdr);
	struct iovec rest;
	unsigned use;
	ssize_t n;

	use = t->have < need ? t->have : need;
	t->iov[t->first - 1] = (struct iovec){.iov_base = d->region->rx_header, .iov_len = header};
	rest = t->iov[t->first + use];
	t->iov[t->first + use] = (struct iovec){.iov_base = t->spill, .iov_len = sizeof(t->spill)};
	recover_intend(&d->queue, use);
	do
		n = readv(t->fd, &t->iov[t->first - 1], (int)use + 2);
	while (n < 0 && errno == EINTR);
	t->iov[t->first + use] = rest;
	if (n < 0 && errno == EAGAIN)
		return 0;
	if (n <= (ssize_t)header) {
		recover_forget(&d->queue);
		return n < 0 ? -errno : -EIO;
	}
	tap_deliver(d, t, (uint64_t)n - header, use);
	return n - (ssize_t)header;
}

/* Before the first read of our own. Returns the number of frames found, published or dropped. */
static unsigned tap_recover(struct driver *d, struct tap *t)
{
	unsigned offered = recover_find(&d->queue);
	uint64_t rx = d->queue.rx;
	uint32_t len;

	t->recovered = true;
	if (!offered)
		return 0;
	window_fill(d, t, offered);
	len = t->have < offered ? 0 : recover_length(t->iov[t->first].iov_base, d->queue.geo.chunk_size);
	if (len)
		tap_deliver(d, t, len, offered);
	else
		d->count.rx_dropped++;
	if (d->queue.rx == rx)
		recover_forget(&d->queue);
	return 1;
}

int tap_receive(struct driver *d, unsigned budget)
{
	struct tap *t = d->device;
	uint32_t bytes = 0;
	unsigned done = t->recovered ? 0 : tap_recover(d, t);

	while (done < budget && bytes < BATCH_BYTES) {
		ssize_t n;

		if (!window_fill(d, t, entries_needed(d, t))) {
			queue_receive_nothing(&d->queue);
			done++;
			continue;
		}
		t->starved = window_short(d, t);
		if (t->starved)
			break;
		n = tap_read(d, t);
		if (n < 0)
			return (int)n;
		if (n == 0)
			break;
		bytes += (uint32_t)n;
		done++;
	}
	return (int)done;
}

/* Gives one frame to the kernel. 0, -EAGAIN, or a negative errno: this frame cannot be sent. */
static int tap_write(struct driver *d, struct tap *t, unsigned n)
{
	struct virtio_net_hdr hdr;
	struct iovec iov[QUEUE_CHAIN_MAX + 1] = {{.iov_base = &hdr, .iov_len = sizeof(hdr)}};
	uint32_t total = 0;
	ssize_t sent;

	for (unsigned i = 0; i < n; i++) {
		iov[i + 1].iov_base = queue_data(&d->queue, &t->desc[i]);
		iov[i + 1].iov_len = t->desc[i].len;
		total += t->desc[i].len;
	}
	if (!vnet_from_desc(&t->desc[0], total, &hdr))
		return -EINVAL;
	do
		sent = writev(t->fd, iov, (int)n + 1);
	while (sent < 0 && errno == EINTR);
	return sent < 0 ? -errno : (int)total;
}

int tap_transmit(struct driver *d, unsigned budget)
{
	struct tap *t = d->device;
	uint32_t bytes = 0;
	unsigned done = 0;

	t->write_blocked = false;
	while (done < budget && bytes < BATCH_BYTES) {
		bool bad;
		unsigned n = queue_transmit_peek(&d->queue, t->desc, &bad);
		int ret;

		if (!n)
			break;
		ret = bad ? -EINVAL : tap_write(d, t, n);
		if (ret == -EAGAIN) {
			t->write_blocked = true;
			break;
		}
		if (ret == -EBADFD)
			return ret;
		if (ret >= 0) {
			d->count.tx_frames++;
			bytes += (uint32_t)ret;
		} else if (ret == -EINVAL) {
			d->count.tx_dropped++; /* netd-inet's mistake */
		} else {
			d->count.tx_errors++; /* interface down, no memory */
		}
		queue_complete(&d->queue, t->desc, n);
		done++;
	}
	return (int)done;
}

int tap_wants(struct driver *d)
{
	struct tap *t = d->device;

	return (t->starved ? 0 : UV_READABLE) | (t->write_blocked ? UV_WRITABLE : 0);
}
