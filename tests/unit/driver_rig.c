#include "driver_rig.h"
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static uint8_t rig_mac[6] = {2, 0, 0, 0, 0, 2};

uint64_t rig_now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void rig_quiet_namespace(void)
{
	int fd;

	if (geteuid() != 0 || unshare(CLONE_NEWNET) < 0 || access("/dev/net/tun", R_OK | W_OK) < 0)
		cr_skip_test("needs root and /dev/net/tun");
	/* No router solicitations between our frames. */
	fd = open("/proc/sys/net/ipv6/conf/default/disable_ipv6", O_WRONLY | O_CLOEXEC);
	if (fd >= 0) {
		cr_assert(write(fd, "1", 1) == 1);
		close(fd);
	}
}

void rig_init(struct rig *r)
{
	rig_quiet_namespace();
	*r = (struct rig){.escrow = -1, .packet = -1, .channel = -1, .offloads = 0xffffffff, .txqueuelen = 1000};
	r->geo = (struct region_geometry){
	    .chunk_size = RIG_CHUNK, .chunks = RIG_CHUNKS, .entries = RIG_CHUNKS, .queues = 1};
	region_layout(&r->geo);
	r->region_fd = memory_create("region", r->geo.size);
	r->clock_fd = memory_create("clock", CLOCK_SIZE);
	r->region = memory_map(r->region_fd, r->geo.size, PROT_READ | PROT_WRITE);
	r->clock = memory_map(r->clock_fd, CLOCK_SIZE, PROT_READ | PROT_WRITE);
	cr_assert(r->region && r->clock);
	r->region->geo = r->geo;
	r->clock->magic = CLOCK_MAGIC;
	cr_assert(bell_create(r->bell) == 0 && bell_create(r->inet_bell) == 0);
}

void rig_free(struct rig *r)
{
	int fds[] = {r->channel, r->escrow, r->region_fd, r->clock_fd, r->bell[0], r->bell[1],
	    r->inet_bell[0], r->inet_bell[1], r->packet};

	if (r->pid > 0)
		rig_kill(r);
	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
		if (fds[i] >= 0 && (i || r->channel >= 0))
			close(fds[i]);
	munmap(r->region, r->geo.size);
	munmap(r->clock, CLOCK_SIZE);
}

static void rig_exec(int fd)
{
	const char *build = getenv("NETD_BUILD");
	char path[4096];

	snprintf(path, sizeof(path), "%s/drivers/netd-tap", build ? build : "build");
	if (fd != CHANNEL_FD && dup2(fd, CHANNEL_FD) < 0)
		_exit(126);
	fcntl(CHANNEL_FD, F_SETFD, 0);
	execl(path, path, (char *)NULL);
	perror(path);
	_exit(127);
}

void rig_send(struct rig *r, Netd__Component__ToComponent *m, const int *fds, int nfds)
{
	cr_assert(channel_send_wait(r->channel, &m->base, fds, nfds, 2000) == 0);
}

static void rig_send_start(struct rig *r)
{
	Netd__Component__DriverConfig config = NETD__COMPONENT__DRIVER_CONFIG__INIT;
	Netd__Component__Start start = NETD__COMPONENT__START__INIT;
	Netd__Component__ToComponent m = NETD__COMPONENT__TO_COMPONENT__INIT;
	int fds[] = {r->region_fd, r->bell[0], r->inet_bell[1], r->clock_fd};

	config.type = (char *)"tap";
	config.device = (char *)"tap0";
	config.ifname = (char *)"netd0";
	config.mac = (ProtobufCBinaryData){.len = 6, .data = rig_mac};
	config.mtu = 1500;
	config.host_address = (char *)"10.99.0.1/24";
	config.txqueuelen = r->txqueuelen;
	config.offloads = r->offloads;
	start.role = (char *)"driver";
	start.name = (char *)"tap0";
	start.slot = 7;
	start.region_size = r->geo.size;
	start.driver = &config;
	m.body_case = NETD__COMPONENT__TO_COMPONENT__BODY_START;
	m.start = &start;
	rig_send(r, &m, fds, 4);
}

static void rig_send_handed(struct rig *r)
{
	Netd__Component__Key key = NETD__COMPONENT__KEY__INIT;
	Netd__Component__Handed handed = NETD__COMPONENT__HANDED__INIT;
	Netd__Component__Empty empty = NETD__COMPONENT__EMPTY__INIT;
	Netd__Component__ToComponent m = NETD__COMPONENT__TO_COMPONENT__INIT;

	if (r->escrow >= 0) {
		key.kind = DEPOSIT_TAP;
		key.generation = 1;
		handed.key = &key;
		m.body_case = NETD__COMPONENT__TO_COMPONENT__BODY_HANDED;
		m.handed = &handed;
		rig_send(r, &m, &r->escrow, 1);
	}
	m.body_case = NETD__COMPONENT__TO_COMPONENT__BODY_HANDED_END;
	m.handed_end = &empty;
	rig_send(r, &m, NULL, 0);
}

/* Reads what the driver said until Hello (or the end); deposits go into escrow. */
static bool rig_listen(struct rig *r, int ms)
{
	bool hello = false;

	while (!hello) {
		struct pollfd p = {.fd = r->channel, .events = POLLIN};
		Netd__Component__FromComponent *m;

		if (poll(&p, 1, ms) <= 0 || channel_recv(r->channel, &r->msg, 0) <= 0)
			return false;
		m = netd__component__from_component__unpack(NULL, r->msg.len, r->msg.data);
		cr_assert_not_null(m);
		if (m->body_case == NETD__COMPONENT__FROM_COMPONENT__BODY_DEPOSIT) {
			cr_assert(m->deposit->key->kind == DEPOSIT_TAP && m->deposit->key->index == 0);
			if (r->escrow >= 0)
				close(r->escrow);
			r->escrow = channel_take_fd(&r->msg, 0);
		}
		hello = m->body_case == NETD__COMPONENT__FROM_COMPONENT__BODY_HELLO;
		channel_close_fds(&r->msg);
		netd__component__from_component__free_unpacked(m, NULL);
	}
	return true;
}

static void rig_open_packet(struct rig *r)
{
	struct sockaddr_ll sll = {.sll_family = AF_PACKET,
	    .sll_protocol = htons(RIG_ETHERTYPE),
	    .sll_ifindex = (int)if_nametoindex("netd0")};
	int one = 1, size = 32 << 20;

	r->packet = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	cr_assert(r->packet >= 0);
	setsockopt(r->packet, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof(one));
	setsockopt(r->packet, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(one));
	setsockopt(r->packet, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	cr_assert(bind(r->packet, (struct sockaddr *)&sll, sizeof(sll)) == 0);
}

void rig_start(struct rig *r)
{
	int pair[2];

	cr_assert(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0);
	r->pid = fork();
	if (r->pid == 0)
		rig_exec(pair[1]);
	close(pair[1]);
	r->channel = pair[0];
	rig_send_start(r);
	rig_send_handed(r);
	cr_assert(rig_listen(r, 5000), "no hello");
	if (r->packet < 0)
		rig_open_packet(r);
}

void rig_kill(struct rig *r)
{
	kill(r->pid, SIGKILL);
	waitpid(r->pid, NULL, 0);
	r->pid = 0;
	while (rig_listen(r, 0))
		;
	close(r->channel);
	r->channel = -1;
}

int rig_stop(struct rig *r)
{
	Netd__Component__Empty empty = NETD__COMPONENT__EMPTY__INIT;
	Netd__Component__ToComponent m = NETD__COMPONENT__TO_COMPONENT__INIT;
	int status;

	m.body_case = NETD__COMPONENT__TO_COMPONENT__BODY_STOP;
	m.stop = &empty;
	rig_send(r, &m, NULL, 0);
	waitpid(r->pid, &status, 0);
	r->pid = 0;
	return status;
}

void rig_ping(struct rig *r, uint64_t number)
{
	Netd__Component__Ping ping = NETD__COMPONENT__PING__INIT;
	Netd__Component__ToComponent m = NETD__COMPONENT__TO_COMPONENT__INIT;

	ping.number = number;
	m.body_case = NETD__COMPONENT__TO_COMPONENT__BODY_PING;
	m.ping = &ping;
	rig_send(r, &m, NULL, 0);
}

bool rig_alive(struct rig *r)
{
	return waitpid(r->pid, NULL, WNOHANG) == 0;
}

struct dev_desc *rig_desc(struct rig *r, enum region_ring ring, uint64_t pos)
{
	return region_desc(r->region, &r->geo, 0, ring, pos);
}

static void rig_ring_driver(struct rig *r)
{
	fence_full();
	if (load_once(&r->region->driver_sleeps))
		bell_ring(r->bell[1]);
}

int rig_free_chunk(struct rig *r)
{
	for (int i = 0; i < RIG_CHUNKS; i++)
		if (r->owner[i] == OWNER_INET)
			return i;
	return -1;
}

void rig_fill(struct rig *r, unsigned n)
{
	int c;

	while (n-- && (c = rig_free_chunk(r)) >= 0) {
		r->owner[c] = OWNER_FILL;
		*rig_desc(r, RING_FILL, r->fill_prod++) = (struct dev_desc){.chunk = (uint64_t)c * RIG_CHUNK};
	}
	store_release(&r->region->queue[0].fill_prod.v, r->fill_prod);
	rig_ring_driver(r);
}

void rig_transmit(struct rig *r, const struct dev_desc *d, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		*rig_desc(r, RING_TRANSMIT, r->transmit_prod++) = d[i];
	store_release(&r->region->queue[0].transmit_prod.v, r->transmit_prod);
	rig_ring_driver(r);
}

void rig_numbered(uint8_t *frame, uint32_t number, uint32_t len)
{
	memset(frame, (int)number, len);
	memset(frame, 0xff, 6);
	memcpy(frame + 6, rig_mac, 6);
	frame[12] = RIG_ETHERTYPE >> 8;
	frame[13] = RIG_ETHERTYPE & 0xff;
	memcpy(frame + 14, &number, 4);
}

uint32_t rig_number(const uint8_t *frame)
{
	uint32_t n;

	memcpy(&n, frame + 14, 4);
	return n;
}

bool rig_transmit_numbered(struct rig *r, uint32_t number, uint32_t len)
{
	int c = rig_free_chunk(r);
	struct dev_desc d = {.off = 128, .len = len};

	if (c < 0)
		return false;
	r->owner[c] = OWNER_TRANSMIT;
	d.chunk = (uint64_t)c * RIG_CHUNK;
	rig_numbered(region_chunk(r->region, &r->geo, d.chunk) + d.off, number, len);
	rig_transmit(r, &d, 1);
	return true;
}

unsigned rig_complete(struct rig *r)
{
	uint64_t prod = load_acquire(&r->region->queue[0].completion_prod.v);
	unsigned n = 0;

	cr_assert(ring_avail(prod, r->completion_cons, r->geo.entries) >= 0);
	for (; r->completion_cons != prod; r->completion_cons++, n++) {
		uint64_t c = rig_desc(r, RING_COMPLETION, r->completion_cons)->chunk / RIG_CHUNK;

		if (c < RIG_CHUNKS) { /* else it was a bad descriptor of our own */
			cr_assert(r->owner[c] == OWNER_TRANSMIT, "chunk %d was not in transmission", (int)c);
			r->owner[c] = OWNER_INET;
		}
	}
	store_release(&r->region->queue[0].completion_cons.v, r->completion_cons);
	return n;
}

uint32_t rig_receive(struct rig *r, uint8_t *frame, struct dev_desc *first, unsigned *chunks)
{
	uint64_t deadline = rig_now_ms() + 1000, prod;
	uint32_t len = 0;
	bool more = true;

	*chunks = 0;
	while ((prod = load_acquire(&r->region->queue[0].receive_prod.v)) == r->receive_cons) {
		struct pollfd p = {.fd = r->inet_bell[0], .events = POLLIN};

		if (rig_now_ms() > deadline)
			return 0;
		store_once(&r->region->inet_sleeps, 1);
		fence_full();
		if (load_acquire(&r->region->queue[0].receive_prod.v) == r->receive_cons)
			poll(&p, 1, 1000);
		store_once(&r->region->inet_sleeps, 0);
		bell_drain(r->inet_bell[0]);
	}
	cr_assert(ring_avail(prod, r->receive_cons, r->geo.entries) > 0);
	while (more) {
		struct dev_desc d = *rig_desc(r, RING_RECEIVE, r->receive_cons);
		uint64_t c = d.chunk / RIG_CHUNK;

		cr_assert(r->receive_cons != prod, "part of a frame was published");
		more = d.flags & DESC_MORE;
		if (!(*chunks)++)
			*first = d;
		r->receive_cons++;
		if (c >= RIG_CHUNKS)
			continue;
		cr_assert(desc_in_bounds(&r->geo, &d) && r->owner[c] == OWNER_FILL, "chunk %d was not given", (int)c);
		cr_assert(!more || d.len == RIG_CHUNK, "only the last chunk may be short");
		memcpy(frame + len, region_chunk(r->region, &r->geo, d.chunk) + d.off, d.len);
		len += d.len;
		r->owner[c] = OWNER_INET;
	}
	store_release(&r->region->queue[0].receive_cons.v, r->receive_cons);
	return len;
}

static void census_range(struct rig *r, enum region_ring ring, uint64_t from, uint64_t to, uint8_t *seen)
{
	cr_assert(ring_avail(to, from, r->geo.entries) >= 0);
	for (; from != to; from++)
		seen[rig_desc(r, ring, from)->chunk / RIG_CHUNK]++;
}

void rig_census(struct rig *r)
{
	const struct region_queue *q = &r->region->queue[0];
	uint8_t seen[RIG_CHUNKS] = {0};

	census_range(r, RING_FILL, q->receive_prod.v, r->fill_prod, seen);
	census_range(r, RING_RECEIVE, r->receive_cons, q->receive_prod.v, seen);
	census_range(r, RING_TRANSMIT, q->completion_prod.v, r->transmit_prod, seen);
	census_range(r, RING_COMPLETION, r->completion_cons, q->completion_prod.v, seen);
	for (int i = 0; i < RIG_CHUNKS; i++)
		cr_assert(seen[i] == (r->owner[i] != OWNER_INET), "chunk %d is in %d places", i, seen[i]);
}

void rig_drained(struct rig *r)
{
	uint64_t deadline = rig_now_ms() + 1000;

	while (r->completion_cons != r->transmit_prod && rig_now_ms() < deadline) {
		rig_complete(r);
		usleep(200);
	}
	cr_assert(r->completion_cons == r->transmit_prod, "%d not completed",
	    (int)(r->transmit_prod - r->completion_cons));
}

void rig_inject(struct rig *r, const struct virtio_net_hdr *h, const void *frame, uint32_t len)
{
	struct virtio_net_hdr none = {0};
	struct iovec iov[2] = {{.iov_base = (void *)(uintptr_t)(h ? h : &none), .iov_len = sizeof(none)},
	    {.iov_base = (void *)(uintptr_t)frame, .iov_len = len}};
	struct sockaddr_ll sll = {.sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex("netd0")};
	struct msghdr mh = {.msg_name = &sll, .msg_namelen = sizeof(sll), .msg_iov = iov, .msg_iovlen = 2};

	/* Segmentation goes by this, not by what stands in the frame. */
	memcpy(&sll.sll_protocol, (const uint8_t *)frame + 12, 2);
	cr_assert(sendmsg(r->packet, &mh, 0) == (ssize_t)(len + sizeof(none)), "%s", strerror(errno));
}

uint32_t rig_collect(struct rig *r, struct virtio_net_hdr *h, void *frame, uint32_t size, int ms)
{
	struct iovec iov[2] = {{.iov_base = h, .iov_len = sizeof(*h)}, {.iov_base = frame, .iov_len = size}};
	struct pollfd p = {.fd = r->packet, .events = POLLIN};
	ssize_t n;

	if (poll(&p, 1, ms) <= 0)
		return 0;
	n = readv(r->packet, iov, 2);
	return n > (ssize_t)sizeof(*h) ? (uint32_t)n - (uint32_t)sizeof(*h) : 0;
}
