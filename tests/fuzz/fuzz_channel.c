/*
 * The component channel, both ends. Compromised components against the supervisor's dispatch: random,
 * mutated and oversized messages with random descriptors; what escrow holds must be exactly what valid
 * messages put there, each owner's apart from the others'. And netd-inet's handover against anything
 * that comes from its supervisor's side. No descriptor may leak at either end.
 *
 *	netd-inet, standby, driver (all the fuzzer) ==channels== supervisor without processes
 *	supervisor (the fuzzer) ==channel== handover
 */
#include "daemon/handover.h"
#include "fuzz.h"
#include "supervisor/supervisor.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define STEPS 400
#define KEYS  8 /* indexes, generations and kinds are drawn from so many */

/* ---- sending */

static int some_fd(void)
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	check(fd >= 0, "memfd: %d", errno);
	if (ftruncate(fd, one_in(3) ? 4096 : rnd(100000)) < 0)
		abort();
	return fd;
}

/* Sends and closes. */
static void send_bytes(int sock, const uint8_t *buf, size_t len, const int *fds, unsigned n)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int) * 200)];
	} control = {{0}};
	struct iovec iov = {(void *)(uintptr_t)buf, len};
	struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1};

	if (n) {
		struct cmsghdr *c;

		mh.msg_control = control.buf;
		mh.msg_controllen = CMSG_SPACE(sizeof(int) * n);
		c = CMSG_FIRSTHDR(&mh);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * n);
		memcpy(CMSG_DATA(c), fds, sizeof(int) * n);
	}
	if (sendmsg(sock, &mh, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && errno != EAGAIN && errno != EMSGSIZE)
		check(errno == ECONNRESET || errno == EPIPE, "send: %d", errno);
	for (unsigned i = 0; i < n; i++)
		close(fds[i]);
}

static unsigned some_fds(int *fds, unsigned most)
{
	unsigned n = one_in(2) ? rnd(5) : one_in(30) ? rnd(most) : 0;

	for (unsigned i = 0; i < n; i++)
		fds[i] = some_fd();
	return n;
}

static char *odd_text(void)
{
	static char big[3000];

	memset(big, 'a' + (int)rnd(20), sizeof(big) - 1);
	switch (rnd(6)) {
	case 0:
		big[rnd(sizeof(big))] = 0;
		return big;
	case 1:
		return (char *)(uintptr_t) "%s%n%s\n<3>forged\x1b[2J";
	case 2:
		return (char *)(uintptr_t) "";
	case 3:
		return (char *)(uintptr_t) "tap1";
	default:
		return (char *)(uintptr_t) "tap0";
	}
}

static void odd_key(Netd__Component__Key *k)
{
	netd__component__key__init(k);
	k->kind = one_in(20) ? (uint32_t)rnd_odd() : rnd(4);
	k->index = one_in(20) ? (uint32_t)rnd_odd() : rnd(KEYS);
	k->generation = one_in(20) ? (uint32_t)rnd_odd() : rnd(2);
}

/* Breaks a message one time in a few; returns the length. */
static size_t maybe_break(uint8_t *buf, size_t len)
{
	switch (rnd(12)) {
	case 0:
		mutate(buf, len);
		return len;
	case 1:
		return rnd((uint32_t)len + 1);
	case 2:
		rnd_bytes(buf, 200);
		return rnd(200) + 1;
	case 3: /* more of it: fields may repeat */
		memcpy(buf + len, buf, len);
		return 2 * len;
	default:
		return len;
	}
}

/* ---- the supervisor's end */

#define COMPONENTS 4 /* active, standby, two drivers */

static struct supervisor sup;
static struct component *component[COMPONENTS];
static int far_end[COMPONENTS];

/* What should be in escrow: the inode of the first descriptor, by owner and key. */
static ino_t model[3][4][KEYS][2];
static unsigned odd_deposits; /* under keys outside the model */

static void sup_open(void)
{
	static char file[] = "/nowhere/netd.yaml";
	static struct config_device dev[2];
	static struct config config;
	static uint32_t standbys = 1;
	static bool offloads = true;
	static char name[2][8] = {"tap0", "tap1"};
	static char nowhere[] = "/nonexistent/fuzz";

	memset(&sup, 0, sizeof(sup));
	memset(model, 0, sizeof(model));
	odd_deposits = 0;
	for (int i = 0; i < 2; i++)
		dev[i] = (struct config_device){.name = name[i], .driver = name[i], .ifname = name[i],
		    .mtu = 1500, .chunks = 64, .offloads = &offloads};
	config = (struct config){.devices = dev, .devices_count = 2, .standbys = &standbys,
	    .hang_ms = 200, .socket = nowhere, .pidfile_dir = nowhere, .crash_dir = nowhere,
	    .arena_mib = 1, .daemon_memory_mib = 1};
	sup.config = &config;
	sup.config_path = file;
	sup.listening = -1;
	check(!uv_loop_init(&sup.loop), "loop");
	sup.loop.data = &sup;
	sup.escrow = escrow_new();
	check(sup.escrow && !memory_start(&sup), "memory");
	/* As long as this runs, no process is started. */
	settle_init(&sup);
	uv_timer_init(&sup.loop, &sup.inet.timer);
	uv_timer_start(&sup.inet.timer, (uv_timer_cb)(void (*)(void))abort, 1000000, 0);
	for (int i = 0; i < 2; i++)
		check(!device_create(&sup, &dev[i]), "device");
}

static void add_component(unsigned i)
{
	struct component *c = calloc(1, sizeof(*c));
	int pair[2];

	check(c && !socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), "pair");
	c->sup = &sup;
	c->device = i < 2 ? NULL : sup.device[i - 2];
	c->number = i == 1;
	c->slot = i < 2 ? i : SLOTS_INET + i - 2;
	c->pidfd = -1; /* there is no process: nobody to kill, or to give a priority */
	c->channel = pair[0];
	c->next = sup.components;
	sup.components = c;
	component[i] = c;
	far_end[i] = pair[1];
	if (!i)
		sup.active = c;
}

static void sup_close(void)
{
	for (int i = 0; i < COMPONENTS; i++) {
		outq_clear(&component[i]->out);
		close(component[i]->channel);
		close(far_end[i]);
		free(component[i]);
	}
	sup.components = NULL;
	for (int i = 0; i < 2; i++)
		device_destroy(&sup, sup.device[i]);
	escrow_free(sup.escrow);
	munmap(sup.clock, CLOCK_SIZE);
	close(sup.arena);
	close(sup.memory);
	close(sup.clock_fd);
	uv_close((uv_handle_t *)&sup.inet.timer, NULL);
	uv_close((uv_handle_t *)&sup.settle, NULL);
	uv_run(&sup.loop, UV_RUN_DEFAULT);
	check(!uv_loop_close(&sup.loop), "handles are left");
}

static unsigned owner_of(unsigned i)
{
	return i < 2 ? 0 : i - 1;
}

/* What a driver may not deposit: several descriptors at once, and more than it has use for (dispatch.c). */
static bool too_much(unsigned i, const Netd__Component__Key *k, unsigned n)
{
	struct escrow_key key = {owner_of(i), k->kind, k->index, k->generation};
	unsigned has = 0;

	for (const struct deposit *d = escrow_first(sup.escrow, key.owner); d; d = d->next)
		has++;
	return key.owner && (n > 1 || (has >= 4 && !escrow_find(sup.escrow, &key)));
}

/* What a message that was understood does to the model. */
static void note(unsigned i, const from_component *m, const int *fds, unsigned n)
{
	const Netd__Component__Key *k = NULL;
	struct stat st;

	if (m->body_case == NETD__COMPONENT__FROM_COMPONENT__BODY_DEPOSIT)
		k = n ? m->deposit->key : NULL;
	else if (m->body_case == NETD__COMPONENT__FROM_COMPONENT__BODY_WITHDRAW)
		k = m->withdraw;
	if (!k || (m->body_case == NETD__COMPONENT__FROM_COMPONENT__BODY_DEPOSIT && too_much(i, k, n)))
		return;
	if (k->kind >= 4 || k->index >= KEYS || k->generation >= 2) {
		odd_deposits++;
		return;
	}
	if (m->body_case == NETD__COMPONENT__FROM_COMPONENT__BODY_WITHDRAW)
		model[owner_of(i)][k->kind][k->index][k->generation] = 0;
	else if (!fstat(fds[0], &st))
		model[owner_of(i)][k->kind][k->index][k->generation] = st.st_ino;
}

static size_t some_message(uint8_t *buf)
{
	from_component m = NETD__COMPONENT__FROM_COMPONENT__INIT;
	Netd__Component__Key key;
	Netd__Component__Deposit d = NETD__COMPONENT__DEPOSIT__INIT;
	Netd__Component__AccuseDriver accuse = NETD__COMPONENT__ACCUSE_DRIVER__INIT;
	Netd__Component__Hello hello = NETD__COMPONENT__HELLO__INIT;
	Netd__Component__Empty empty = NETD__COMPONENT__EMPTY__INIT;

	odd_key(&key);
	d.key = one_in(20) ? NULL : &key;
	accuse.device = odd_text();
	accuse.reason = odd_text();
	hello.version = (uint32_t)rnd_odd();
	switch (rnd(12)) {
	case 0:
		m.body_case = NETD__COMPONENT__FROM_COMPONENT__BODY_HELLO;
		m.hello = &hello;
		break;
	case 1:
		m.body_case = NETD__COMPONENT__FROM_COMPONENT__BODY_TAKE_OVER;
		m.take_over = &empty;
		break;
	case 2:
		m.body_case = NETD__COMPONENT__FROM_COMPONENT__BODY_ACTIVE;
		m.active = &empty;
		break;
	case 3:
		m.body_case = NETD__COMPONENT__FROM_COMPONENT__BODY_ACCUSE_DRIVER;
		m.accuse_driver = &accuse;
		break;
	case 4:
	case 5:
	case 6:
	case 7:
		m.body_case = NETD__COMPONENT__FROM_COMPONENT__BODY_WITHDRAW;
		m.withdraw = &key;
		break;
	default:
		m.body_case = NETD__COMPONENT__FROM_COMPONENT__BODY_DEPOSIT;
		m.deposit = &d;
	}
	return netd__component__from_component__pack(&m, buf);
}

static void component_speaks(unsigned i)
{
	static uint8_t buf[80000];
	size_t len = maybe_break(buf, some_message(buf));
	from_component *m;
	unsigned n;
	int fds[100];

	if (one_in(60)) {
		len = CHANNEL_MSG_MAX + rnd(5000);
		memset(buf, 0, len);
	}
	if (!len)
		return; /* an empty packet is the end of a channel */
	n = some_fds(fds, 100);
	m = len <= CHANNEL_MSG_MAX && n <= CHANNEL_FDS_MAX
		? netd__component__from_component__unpack(NULL, len, buf)
		: NULL;
	if (m)
		note(i, m, fds, n);
	netd__component__from_component__free_unpacked(m, NULL);
	send_bytes(far_end[i], buf, len, fds, n);
	dispatch(component[i], one_in(2));
	dispatch(component[i], true);
}

/* A component reads what it is sent, or not. */
static void component_listens(unsigned i)
{
	static struct channel_msg msg;

	while (one_in(3) && channel_recv(far_end[i], &msg, 0) > 0)
		channel_close_fds(&msg);
	if (component[i]->out.n)
		component_flush(component[i]);
}

static void check_escrow(void)
{
	unsigned count = 0;

	for (uint32_t o = 0; o < 3; o++)
		for (uint32_t k = 0; k < 4 * KEYS * 2; k++) {
			struct escrow_key key = {o, k / 16, k / 2 % KEYS, k % 2};
			const struct deposit *d = escrow_find(sup.escrow, &key);
			ino_t want = model[o][key.kind][key.index][key.generation];
			struct stat st = {.st_ino = 0};

			check(!d == !want, "owner %u: %u/%u/%u is %s", o, key.kind, key.index,
			    key.generation, d ? "there" : "missing");
			if (!d)
				continue;
			count++;
			check(!fstat(d->fds->fd[0], &st) && st.st_ino == want, "another descriptor");
		}
	check(escrow_count(sup.escrow) - count <= odd_deposits, "%u deposits from nowhere",
	    escrow_count(sup.escrow) - count);
}

static void round_supervisor(void)
{
	unsigned fds = count_fds();

	sup_open();
	for (unsigned i = COMPONENTS; i--;)
		add_component(i);
	for (int i = 0; i < STEPS; i++) {
		component_speaks(rnd(COMPONENTS));
		component_listens(rnd(COMPONENTS));
		for (unsigned c = 0; c < COMPONENTS; c++)
			if (component[c]->state == COMPONENT_DEAD || one_in(40))
				component[c]->state = (enum component_state)rnd(3);
		sup.active = sup.active ? sup.active : component[0];
		if (i % 16 == 0)
			check_escrow();
	}
	check_escrow();
	sup_close();
	check(count_fds() == fds, "%u descriptors instead of %u", count_fds(), fds);
}

/* ---- netd-inet's end */

static void odd_config(Netd__Component__Config *config)
{
	static Netd__Component__DeviceConfig dev[20], *devs[20];
	static Netd__Component__RouteConfig route, *routes[1] = {&route};
	static Netd__Component__Limits limits;

	netd__component__config__init(config);
	netd__component__route_config__init(&route);
	netd__component__limits__init(&limits);
	limits.session_memory = rnd_odd();
	limits.session_sockets = (uint32_t)rnd_odd();
	route.destination = odd_text();
	config->limits = one_in(2) ? &limits : NULL;
	config->n_device = rnd(20);
	config->device = devs;
	config->n_route = rnd(2);
	config->route = routes;
	for (unsigned i = 0; i < 20; i++) {
		netd__component__device_config__init(&dev[i]);
		dev[i].name = odd_text();
		dev[i].driver = odd_text();
		dev[i].region_size = one_in(2) ? 4096 : rnd_odd();
		devs[i] = &dev[i];
	}
}

static size_t some_order(uint8_t *buf)
{
	to_component m = NETD__COMPONENT__TO_COMPONENT__INIT;
	Netd__Component__Key key;
	Netd__Component__Handed handed = NETD__COMPONENT__HANDED__INIT;
	Netd__Component__Ping ping = NETD__COMPONENT__PING__INIT;
	Netd__Component__TakeOverGranted granted = NETD__COMPONENT__TAKE_OVER_GRANTED__INIT;
	Netd__Component__Status status = NETD__COMPONENT__STATUS__INIT;
	Netd__Component__Start start = NETD__COMPONENT__START__INIT;
	Netd__Component__Config config;
	Netd__Component__Empty empty = NETD__COMPONENT__EMPTY__INIT;
	Netd__Component__Keep keep = NETD__COMPONENT__KEEP__INIT;

	keep.name = one_in(3) ? (char *)(uintptr_t) "supervisor" : odd_text();
	odd_key(&key);
	handed.key = one_in(20) ? NULL : &key;
	odd_config(&config);
	ping.number = rnd_odd();
	start.arena_size = rnd_odd();
	m.body_case = (Netd__Component__ToComponent__BodyCase)(1 + rnd(13));
	if (one_in(2))
		m.body_case = one_in(3) ? NETD__COMPONENT__TO_COMPONENT__BODY_WITHDRAWN
					: NETD__COMPONENT__TO_COMPONENT__BODY_HANDED;
	switch (m.body_case) {
	case NETD__COMPONENT__TO_COMPONENT__BODY_START:
		m.start = &start;
		break;
	case NETD__COMPONENT__TO_COMPONENT__BODY_HANDED:
		m.handed = &handed;
		break;
	case NETD__COMPONENT__TO_COMPONENT__BODY_WITHDRAWN:
		m.withdrawn = &key;
		break;
	case NETD__COMPONENT__TO_COMPONENT__BODY_PING:
		m.ping = &ping;
		break;
	case NETD__COMPONENT__TO_COMPONENT__BODY_TAKE_OVER_GRANTED:
		m.take_over_granted = &granted;
		break;
	case NETD__COMPONENT__TO_COMPONENT__BODY_STATUS:
		m.status = &status;
		break;
	case NETD__COMPONENT__TO_COMPONENT__BODY_CONFIG:
		m.config = &config;
		break;
	case NETD__COMPONENT__TO_COMPONENT__BODY_KEEP:
	case NETD__COMPONENT__TO_COMPONENT__BODY_FORGET:
		m.keep = &keep;
		break;
	default:
		m.body_case = NETD__COMPONENT__TO_COMPONENT__BODY_HANDED_END;
		m.handed_end = &empty;
	}
	return netd__component__to_component__pack(&m, buf);
}

static void start_handover(struct handover *h, int sock, int far)
{
	static const uint64_t size[4] = {65536, 65536, CLOCK_SIZE, 4096};
	Netd__Component__Start start = NETD__COMPONENT__START__INIT;
	to_component m = NETD__COMPONENT__TO_COMPONENT__INIT;
	bool lie = one_in(4);
	int fds[4], ret;

	for (int i = 0; i < 4; i++)
		fds[i] = memory_create("fuzz", size[i]);
	start.arena_size = lie ? rnd_odd() : size[0];
	start.memory_size = size[1];
	start.slot = (uint32_t)rnd_odd();
	m.body_case = NETD__COMPONENT__TO_COMPONENT__BODY_START;
	m.start = &start;
	check(!channel_send(far, &m.base, fds, lie ? (int)rnd(4) : 4), "start");
	for (int i = 0; i < 4; i++)
		close(fds[i]);
	ret = handover_start(h, sock);
	check(lie || !ret, "start: %d", ret);
}

static void handover_end(struct handover *h)
{
	int fds[] = {h->arena_fd, h->memory_fd, h->clock_fd, h->listen_fd};
	struct handed d;

	while (handover_take(h, &d)) {
		check(d.kind && d.nfds <= 4, "kind %u, %d descriptors", d.kind, d.nfds);
		for (int i = 0; i < d.nfds; i++)
			close(d.fds[i]);
		if (d.map)
			munmap(d.map, d.map_size);
	}
	check(!h->handed_n, "%u deposits are left", h->handed_n);
	for (unsigned i = 0; i < h->devices; i++) {
		munmap(h->device[i].region, h->device[i].region_size);
		if (h->device[i].bell >= 0)
			close(h->device[i].bell);
		if (h->device[i].driver_bell >= 0)
			close(h->device[i].driver_bell);
	}
	for (int i = 0; i < 4; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	if (h->arena)
		munmap(h->arena, h->arena_size);
	if (h->memory)
		munmap(h->memory, h->memory_size);
	if (h->clock)
		munmap(h->clock, CLOCK_SIZE);
	handover_forget_configs(h);
	fdtable_close(&h->kept);
	if (h->status)
		netd__component__status__free_unpacked(h->status, NULL);
	free(h->handed);
}

static void round_handover(void)
{
	static uint8_t buf[200000];
	static struct handover h;
	unsigned before = count_fds();
	int pair[2], fds[100];

	memset(&h, 0, sizeof(h));
	check(!socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), "pair");
	start_handover(&h, pair[0], pair[1]);
	for (int i = 0; h.clock && i < STEPS; i++) {
		size_t len = maybe_break(buf, some_order(buf));
		unsigned n = some_fds(fds, 100);

		if (!len)
			buf[len++] = 0;
		send_bytes(pair[1], buf, len, fds, n);
		if (one_in(4))
			handover_receive(&h);
		/* One message that could not be taken whole is not the supervisor's end. */
		check(!h.gone, "gave up its supervisor after %zu bytes with %u descriptors", len, n);
	}
	close(pair[1]);
	handover_receive(&h);
	handover_end(&h);
	close(pair[0]);
	check(count_fds() == before, "%u descriptors instead of %u", count_fds(), before);
}

static void round_channel(void)
{
	log_init("fuzz", getenv("NETD_FUZZ_LOG") ? LOG_LEVEL_DEBUG : (enum log_level)0);
	round_supervisor();
	round_handover();
}

int main(void)
{
	uv_loop_t first; /* libuv keeps two descriptors from here on */

	check(!uv_loop_init(&first) && !uv_loop_close(&first), "loop");
	return fuzz_main("fuzz_channel", 200, round_channel);
}
