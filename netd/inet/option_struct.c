/* Options of SOL_SOCKET that are no numbers. */
#include "inet/option.h"
#include "base/util.h"
#include "device/device.h"
#include <errno.h>
#include <linux/sock_diag.h>
#include <sys/socket.h>

#define IP_DEVICE_LEN 16
#define PEERPIDFD     77 /* which this system's headers may not have yet */
/* The cookie of the one network that there is: the kernel, which counts from 1, has none of that number. */
#define NETWORK (1ull << 63)

static int set_linger(struct sock_rec *k, const void *val, uint32_t len)
{
	struct linger l;

	if (len < sizeof(l))
		return -EINVAL;
	memcpy(&l, val, sizeof(l));
	if (l.l_onoff) {
		k->flags |= SOCK_F_LINGER;
		k->linger_s = l.l_linger < 0 ? INT32_MAX : (uint32_t)l.l_linger;
	} else {
		k->flags &= ~(uint32_t)SOCK_F_LINGER;
	}
	return 0;
}

static int set_device(struct stack *s, struct sock_rec *k, const void *val, uint32_t len)
{
	char name[IP_DEVICE_LEN] = {0};
	int dev;

	memcpy(name, val, min_of(len, (uint32_t)sizeof(name) - 1));
	if (!name[0]) {
		k->bound_dev = NO_INDEX;
		return 0;
	}
	dev = device_find(s, name);
	if (dev < 0)
		return -ENODEV;
	k->bound_dev = (uint32_t)dev;
	return 0;
}

static int get_device(const struct stack *s, const struct sock_rec *k, void *val, uint32_t *len)
{
	const struct device_rec *d = k->bound_dev == NO_INDEX ? NULL : device_peek(s, k->bound_dev);
	char name[IP_DEVICE_LEN] = {0};

	if (!d) {
		*len = 0;
		return 0;
	}
	if (*len < sizeof(name))
		return -EINVAL;
	memcpy(name, d->name, sizeof(name) - 1);
	return option_give(val, len, name, (uint32_t)strlen(name) + 1);
}

static int get_linger(const struct sock_rec *k, void *val, uint32_t *len)
{
	struct linger l = {.l_onoff = !!(k->flags & SOCK_F_LINGER), .l_linger = (int)k->linger_s};

	return option_give(val, len, &l, sizeof(l));
}

static int get_cookie(const struct stack *s, uint32_t sk, void *val, uint32_t *len)
{
	uint64_t cookie = ((uint64_t)state_generation(s->state, KIND_SOCK, sk) << 32 | sk) + 1;

	return *len < sizeof(cookie) ? -EINVAL : option_give(val, len, &cookie, sizeof(cookie));
}

static int get_network(void *val, uint32_t *len)
{
	uint64_t cookie = NETWORK;

	return *len != sizeof(cookie) ? -EINVAL : option_give(val, len, &cookie, sizeof(cookie));
}

static int get_meminfo(
    struct stack *s, uint32_t sk, const struct sock_rec *k, void *val, uint32_t *len)
{
	const struct sock_ops *ops = sock_ops_of(s, k);
	uint32_t mem[SK_MEMINFO_VARS] = {0};
	uint64_t from = 0, to = 0;

	ops->live_range(s, sk, true, &from, &to);
	mem[SK_MEMINFO_RMEM_ALLOC] = (uint32_t)(to - from);
	ops->live_range(s, sk, false, &from, &to);
	mem[SK_MEMINFO_WMEM_ALLOC] = mem[SK_MEMINFO_WMEM_QUEUED] = (uint32_t)(to - from);
	mem[SK_MEMINFO_RCVBUF] = (uint32_t)socket_get_rcvbuf(s, sk, k);
	mem[SK_MEMINFO_SNDBUF] = (uint32_t)socket_get_sndbuf(s, sk, k);
	mem[SK_MEMINFO_DROPS] = k->type == SOCK_STREAM ? 0 : k->drops;
	return option_give(val, len, mem, sizeof(mem));
}

/* The peer's process is not known: it may be anywhere. */
static int get_peercred(void *val, uint32_t *len)
{
	struct ucred nobody = {.pid = 0, .uid = (uid_t)-1, .gid = (gid_t)-1};

	return option_give(val, len, &nobody, sizeof(nobody));
}

int socket_set_struct(
    struct stack *s, uint32_t sk, struct sock_rec *k, int name, const void *val, uint32_t len)
{
	(void)sk;
	switch (name) {
	case SO_BINDTODEVICE:
		return set_device(s, k, val, len);
	case SO_LINGER:
		return len < sizeof(int) ? -EINVAL : set_linger(k, val, len);
	case SO_DETACH_FILTER:
		return len < sizeof(int) ? -EINVAL : -ENOENT; /* as where none was attached */
	default:
		return 1;
	}
}

int socket_get_struct(
    struct stack *s, uint32_t sk, const struct sock_rec *k, int name, void *val, uint32_t *len)
{
	uint64_t unlimited = UINT64_MAX;

	switch (name) {
	case SO_BINDTODEVICE:
		return get_device(s, k, val, len);
	case SO_LINGER:
		return get_linger(k, val, len);
	case SO_COOKIE:
		return get_cookie(s, sk, val, len);
	case SO_NETNS_COOKIE:
		return get_network(val, len);
	case SO_MEMINFO:
		return get_meminfo(s, sk, k, val, len);
	case SO_PEERCRED:
		return get_peercred(val, len);
	case SO_PEERGROUPS:
	case PEERPIDFD:
		return -ENODATA;
	case SO_MAX_PACING_RATE:
		return option_give(val, len, &unlimited,
		    *len >= sizeof(unlimited) ? sizeof(unlimited) : sizeof(uint32_t));
	default:
		return 1;
	}
}
