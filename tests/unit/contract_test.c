/* The contracts of proto/: geometry and layout checks, position checks, and the bell's fence. */
#include "proto/channel.h"
#include "proto/client.h"
#include "proto/region.h"
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <poll.h>
#include <unistd.h>

static struct region_geometry good(void)
{
	struct region_geometry g = {.chunk_size = 4096, .chunks = 1024, .entries = 1024, .queues = 1};

	region_layout(&g);
	return g;
}

Test(contract, region_geometry_must_describe_its_memory)
{
	struct region_geometry g = good();

	cr_assert_eq(region_check(&g, g.size), 0);
	cr_assert_eq(region_check(&g, g.size - 1), -EPROTO);
	cr_assert_eq(region_check(&g, g.size + 4096), -EPROTO);
#define BAD(field, value)                                                                          \
	do {                                                                                       \
		struct region_geometry b = good();                                                 \
		b.field = (value);                                                                 \
		cr_assert_eq(region_check(&b, b.size), -EPROTO, "%s", #field " = " #value);        \
	} while (0)
	BAD(magic, 0);
	BAD(version, 99);
	BAD(chunk_size, 4095);
	BAD(chunk_size, 1024);
	BAD(chunk_size, 1u << 20);
	BAD(chunks, 0);
	BAD(chunks, 2048); /* more than a ring holds */
	BAD(chunks, UINT32_MAX);
	BAD(entries, 1000);
	BAD(entries, 0);
	BAD(entries, 1u << 31);
	BAD(queues, 0);
	BAD(queues, REGION_MAX_QUEUES + 1);
	BAD(ring_off, 0);
	BAD(chunk_off, 4096);
	BAD(chunk_off, UINT64_MAX);
}

Test(contract, descriptors_must_lie_in_their_chunk)
{
	struct region_geometry g = good();

	cr_assert(desc_in_bounds(&g, &(struct dev_desc){.chunk = 0, .off = 0, .len = 4096}));
	cr_assert(desc_in_bounds(&g, &(struct dev_desc){.chunk = 1023 * 4096, .off = 4096, .len = 0}));
	cr_assert_not(desc_in_bounds(&g, &(struct dev_desc){.chunk = 1024 * 4096}));
	cr_assert_not(desc_in_bounds(&g, &(struct dev_desc){.chunk = 64}));
	cr_assert_not(desc_in_bounds(&g, &(struct dev_desc){.chunk = UINT64_MAX & ~4095ull}));
	cr_assert_not(desc_in_bounds(&g, &(struct dev_desc){.off = 1, .len = 4096}));
	cr_assert_not(desc_in_bounds(&g, &(struct dev_desc){.off = 4097}));
	cr_assert_not(desc_in_bounds(&g, &(struct dev_desc){.off = 8, .len = UINT32_MAX}));
}

Test(contract, positions_that_lie)
{
	cr_assert_eq(ring_avail(10, 10, 16), 0);
	cr_assert_eq(ring_avail(26, 10, 16), 16);
	cr_assert_eq(ring_avail(27, 10, 16), -1, "beyond the capacity");
	cr_assert_eq(ring_avail(9, 10, 16), -1, "backwards");
	cr_assert_eq(ring_avail(5, UINT64_MAX - 5, 16), 11, "over the end of the number");
}

Test(contract, client_layout_must_describe_itself)
{
	struct cm_header h;

	cr_assert_eq(cm_layout(&h, 64 << 20, 1024), 0);
	cr_assert_eq(cm_check(&h, 64 << 20), 0);
	cr_assert_eq(cm_check(&h, 32 << 20), -EPROTO);
	cr_assert_eq(cm_layout(&h, 64 << 20, 1000), -EINVAL);
	cr_assert_eq(cm_layout(&h, 8192, 1024), -EINVAL, "no room for a heap");
#define BAD_CM(field, value)                                                                       \
	do {                                                                                       \
		cr_assert_eq(cm_layout(&h, 64 << 20, 1024), 0);                                    \
		h.field = (value);                                                                 \
		cr_assert_eq(cm_check(&h, 64 << 20), -EPROTO, "%s", #field " = " #value);          \
	} while (0)
	BAD_CM(magic, 0);
	BAD_CM(version, 7);
	BAD_CM(slots, 3);
	BAD_CM(slots, 1u << 31);
	BAD_CM(sq_entries, 1u << 30);
	BAD_CM(cq_entries, 3);
	BAD_CM(ev_entries, 0);
	BAD_CM(sets, 1000);
	BAD_CM(sq_off, 1);
	BAD_CM(cq_off, UINT64_MAX);
	BAD_CM(ev_off, 0);
	BAD_CM(set_off, 0);
	BAD_CM(slot_off, 64);
	BAD_CM(heap_off, 0);
}

/*
 * Litmus: a producer publishes and then looks whether the consumer sleeps; the consumer says that it
 * sleeps and then looks whether something was published. With the fence on both sides, at least one
 * of them sees the other, in every round.
 */
#define ROUNDS 400000
static struct {
	_Alignas(CACHELINE) uint32_t published;
	_Alignas(CACHELINE) uint32_t sleeps;
	_Alignas(CACHELINE) uint32_t round;
	_Alignas(CACHELINE) uint32_t producer_done;
	_Alignas(CACHELINE) uint32_t producer_saw;
} litmus;

static void *producer(void *arg)
{
	for (uint32_t r = 1; r <= ROUNDS; r++) {
		while (load_acquire(&litmus.round) != r)
			cpu_relax();
		store_release(&litmus.published, r);
		fence_full();
		litmus.producer_saw = load_once(&litmus.sleeps) == r;
		store_release(&litmus.producer_done, r);
	}
	return arg;
}

Test(contract, bell_is_never_missed)
{
	pthread_t t;
	uint32_t missed = 0;

	cr_assert_eq(pthread_create(&t, NULL, producer, NULL), 0);
	for (uint32_t r = 1; r <= ROUNDS; r++) {
		bool consumer_saw;

		store_release(&litmus.round, r);
		store_once(&litmus.sleeps, r);
		fence_full();
		consumer_saw = load_acquire(&litmus.published) == r;
		while (load_acquire(&litmus.producer_done) != r)
			cpu_relax();
		missed += !consumer_saw && !litmus.producer_saw;
	}
	pthread_join(t, NULL);
	cr_assert_eq(missed, 0);
}

Test(contract, bell_rings_without_blocking)
{
	int p[2];
	char c;

	cr_assert_eq(bell_create(p), 0);
	for (int i = 0; i < 200000; i++)
		bell_ring(p[1]); /* more than the pipe holds */
	cr_assert_eq(read(p[0], &c, 1), 1);
	bell_drain(p[0]);
	cr_assert_eq(read(p[0], &c, 1), -1);
	cr_assert_eq(errno, EAGAIN);
	/* The other side may do to its end what it wants: ours stays as it is. */
	cr_assert_eq(fcntl(p[0], F_SETFL, 0), 0);
	for (int i = 0; i < 200000; i++)
		bell_ring(p[1]);
	close(p[0]);
	close(p[1]);
}

Test(contract, memories_are_sealed_and_private)
{
	int fd = memory_create("test", 8192);
	void *p;

	cr_assert_geq(fd, 0);
	cr_assert_eq(ftruncate(fd, 4096), -1);
	cr_assert_eq(ftruncate(fd, 16384), -1);
	cr_assert_null(memory_map(fd, 4096, PROT_READ));
	cr_assert_null(memory_map(fd, 0, PROT_READ));
	p = memory_map(fd, 8192, PROT_READ | PROT_WRITE);
	cr_assert_not_null(p);
	munmap(p, 8192);
	close(fd);
}

Test(contract, channel_carries_descriptors_and_refuses_what_is_too_large)
{
	static struct channel_msg m;
	static uint8_t big[CHANNEL_MSG_MAX + 1];
	int s[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, s), 0);
	cr_assert_eq(channel_recv(s[0], &m, 0), -EAGAIN);
	cr_assert_eq(channel_take_fd(&m, 0), -1);
	cr_assert_eq(channel_take_fd(&m, -1), -1);
	cr_assert_eq(send(s[1], big, sizeof(big), 0), (ssize_t)sizeof(big));
	cr_assert_eq(channel_recv(s[0], &m, 0), -EMSGSIZE);
	cr_assert_eq(send(s[1], big, 10, 0), 10);
	cr_assert_eq(channel_recv(s[0], &m, MSG_PEEK), 1);
	cr_assert_eq(m.len, 10);
	cr_assert_eq(channel_recv(s[0], &m, 0), 1);
	close(s[1]);
	cr_assert_eq(channel_recv(s[0], &m, 0), 0);
	close(s[0]);
}

/* Nobody sends an empty packet but to do harm: it is an end of file, and what came beside it is not kept. */
Test(contract, empty_packet_leaves_no_descriptors)
{
	static struct channel_msg m;
	int s[2], p[2];
	struct pollfd writer;

	cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, s), 0);
	cr_assert_eq(pipe(p), 0);
	cr_assert_eq(channel_send_packed(s[1], "", 0, &p[0], 1), 0);
	close(p[0]);
	cr_assert_eq(channel_recv(s[0], &m, 0), 0);
	writer = (struct pollfd){.fd = p[1]};
	cr_assert_eq(poll(&writer, 1, 0), 1, "the pipe's reading end is open somewhere");
	cr_assert(writer.revents & POLLERR);
	close(p[1]);
	close(s[0]);
	close(s[1]);
}
