/* The application: what the socket layer would call for a client that does anything. See fuzz_frames.c. */
#include "frames.h"

static bool is_good(uint32_t sk)
{
	return sk == good.sk || sk == good.listener || sk == good.udp_sk;
}

static uint32_t new_socket(int type)
{
	uint32_t sk;
	struct sock_rec *k = sock_alloc(&world.s, &sk);
	const struct sock_ops *ops;
	int ret;

	check(k, "no socket");
	k->family = AF_INET;
	k->type = (uint8_t)type;
	k->protocol = type == SOCK_STREAM ? IPPROTO_TCP : IPPROTO_UDP;
	k->session = 0;
	k->slot = 0;
	k->uid = 1000;
	ops = sock_ops_of(&world.s, k);
	ret = ops->create(&world.s, sk);
	check(!ret, "create: %d", ret);
	return sk;
}

uint32_t bound_socket(int type, uint16_t port)
{
	struct endpoint ep = {.port = port};
	uint32_t sk = new_socket(type);
	const struct sock_ops *ops = sock_ops_of(&world.s, sock_peek(&world.s, sk));
	int ret = ops->bind(&world.s, sk, &ep);

	check(!ret, "bind %u: %d", port, ret);
	if (type == SOCK_STREAM) {
		ret = ops->listen(&world.s, sk, 8);
		check(!ret, "listen: %d", ret);
	}
	return sk;
}

void app_close(uint32_t sk, bool killed)
{
	struct sock_rec *k = sock_get(&world.s, sk);
	const struct sock_ops *ops = sock_ops_of(&world.s, k);

	if (k->rx_old.cap)
		sock_epoch_ack(&world.s, sk, k->rx.epoch);
	k->flags |= SOCK_F_ORPHAN;
	k->session = NO_INDEX;
	ops->close(&world.s, sk, killed);
}

bool ends_of(uint32_t sk, struct ends *e)
{
	const struct sock_rec *k = sock_peek(&world.s, sk);
	const struct tcp_rec *t = state_peek(world.s.state, KIND_TCP, sk);

	if (!k || (k->type == SOCK_STREAM && !t))
		return false;
	if (t && k->type == SOCK_STREAM)
		*e = (struct ends){t->rx_head, rx_tail_of(t), tx_head_of(t), t->tx_tail, 0};
	else
		*e = (struct ends){k->rx_head, k->rx_tail, k->tx_head, k->tx_tail, 0};
	if (k->tx.cap && e->tx_tail - e->tx_head <= k->tx.cap)
		e->room = (uint32_t)(k->tx.cap - (e->tx_tail - e->tx_head));
	return true;
}

static void app_move(uint32_t sk)
{
	const struct sock_rec *k = sock_peek(&world.s, sk);
	struct ends e;
	int ret;

	if (!ends_of(sk, &e))
		return;
	if (k->rx_old.cap && one_in(2))
		sock_epoch_ack(&world.s, sk, k->rx.epoch);
	if (one_in(2))
		e.rx_head += k->type == SOCK_STREAM ? rnd((uint32_t)(e.rx_tail - e.rx_head) + 1)
						    : e.rx_tail - e.rx_head;
	if (k->type == SOCK_STREAM && one_in(2))
		e.tx_tail += rnd(e.room + 1);
	if (one_in(60)) /* a lie */
		*(one_in(2) ? &e.rx_head : &e.tx_tail) += rnd_odd();
	ret = sock_ops_of(&world.s, k)->poke(&world.s, sk, e.rx_head, e.tx_tail);
	if (ret == -EPROTO && sock_peek(&world.s, sk))
		app_close(sk, true);
}

static void app_connect(void)
{
	struct endpoint ep = {.addr = ipaddr_v4(stranger()), .port = some_port()};
	uint32_t sk = new_socket(one_in(4) ? SOCK_DGRAM : SOCK_STREAM);
	const struct sock_ops *ops = sock_ops_of(&world.s, sock_peek(&world.s, sk));
	int ret;

	if (one_in(6))
		ep.addr = ipaddr_v4(one_in(2) ? HOST : 0x7f000001);
	ret = ops->connect(&world.s, sk, &ep);
	if (ret && ret != -EINPROGRESS && sock_peek(&world.s, sk))
		app_close(sk, false);
}

static void app_accept(uint32_t sk)
{
	uint32_t child;

	if (sock_ops_of(&world.s, sock_peek(&world.s, sk))->accept(&world.s, sk, &child))
		return;
	if (sock_adopt(&world.s, child, 0, 0, 0))
		app_close(child, true);
}

static void app_option(uint32_t sk)
{
	static const int options[][2] = {{SOL_SOCKET, SO_LINGER}, {SOL_SOCKET, SO_KEEPALIVE},
	    {SOL_SOCKET, SO_RCVBUF}, {SOL_SOCKET, SO_SNDBUF}, {IPPROTO_TCP, TCP_NODELAY},
	    {IPPROTO_TCP, TCP_CORK}, {IPPROTO_TCP, TCP_KEEPIDLE}, {IPPROTO_TCP, TCP_USER_TIMEOUT},
	    {IPPROTO_TCP, TCP_MAXSEG}, {IPPROTO_TCP, TCP_CONGESTION}, {IPPROTO_TCP, TCP_DEFER_ACCEPT},
	    {IPPROTO_TCP, TCP_INFO}, {IPPROTO_TCP, TCP_NOTSENT_LOWAT}, {IPPROTO_IP, IP_TTL}};
	const struct sock_ops *ops = sock_ops_of(&world.s, sock_peek(&world.s, sk));
	unsigned i = rnd(ARRAY_SIZE(options));
	uint32_t len = rnd(17);
	uint8_t val[80];

	rnd_bytes(val, sizeof(val));
	if (one_in(2))
		memcpy(val, (uint32_t[2]){rnd(2), rnd(4000)}, 8);
	if (one_in(3))
		ops->getsockopt(&world.s, sk, options[i][0], options[i][1], val, &len);
	else
		ops->setsockopt(&world.s, sk, options[i][0], options[i][1], val, len);
}

/* Memberships, and what no library sends. */
static void app_group(uint32_t sk)
{
	const struct sock_ops *ops = sock_ops_of(&world.s, sock_peek(&world.s, sk));
	struct cm_group g = {.ifindex = one_in(9) ? rnd(5) : 2,
	    .group = htonl(one_in(9) ? rnd(UINT32_MAX) : FUZZ_GROUP + rnd(3)),
	    .mode = (uint16_t)rnd(3),
	    .sources = (uint16_t)rnd(CM_GROUP_SOURCES + 2)};
	uint32_t len = one_in(9) ? rnd(sizeof(g)) : sizeof(g);
	int name = IP_ADD_MEMBERSHIP + (int)rnd(14);

	for (unsigned i = 0; i < CM_GROUP_SOURCES; i++)
		g.source[i] = htonl(HOST + rnd(12));
	if (one_in(4))
		ops->getsockopt(&world.s, sk, IPPROTO_IP, name, &g, &len);
	else
		ops->setsockopt(&world.s, sk, IPPROTO_IP, name, &g, len);
}

/* A socket that the random application owns; NO_INDEX if it met none. */
static uint32_t some_socket(void)
{
	uint32_t from = rnd(60), sk = state_next(world.s.state, KIND_SOCK, from);

	if (sk == NO_INDEX)
		sk = state_next(world.s.state, KIND_SOCK, 0);
	if (sk == NO_INDEX || is_good(sk) || sock_peek(&world.s, sk)->session != 0)
		return NO_INDEX;
	return sk;
}

void application(void)
{
	uint32_t sk = some_socket();

	if (one_in(30) && state_count(world.s.state, KIND_SOCK) < 200)
		app_connect();
	if (sk == NO_INDEX)
		return;
	if (sock_peek(&world.s, sk)->flags & SOCK_F_LISTEN) {
		app_accept(sk);
		return;
	}
	switch (rnd(12)) {
	case 0:
		if (one_in(2))
			app_option(sk);
		else
			app_group(sk);
		break;
	case 1:
		sock_ops_of(&world.s, sock_peek(&world.s, sk))->shutdown(&world.s, sk, (int)rnd(3));
		break;
	case 2:
		app_close(sk, one_in(4));
		break;
	default:
		app_move(sk);
	}
}
