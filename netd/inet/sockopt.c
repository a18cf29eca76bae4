/*
 * Options that all sockets have, with the kernel's units and errors. Tables: option_socket.c and
 * option_ip.c; what is in none of them is -ENOPROTOOPT, so that no program believes in an option
 * that does nothing.
 *
 * A client answers SO_ERROR itself (it knows which error it has taken), and keeps the options that
 * only choose control messages: a datagram's header has it all.
 */
#include "inet/option.h"
#include "base/util.h"
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>

int option_give(void *val, uint32_t *len, const void *from, uint32_t size)
{
	*len = min_of(*len, size);
	if (*len)
		memcpy(val, from, *len);
	return 0;
}

static const struct option *find_in(
    const struct option_table *t, const struct sock_rec *k, int level, int name)
{
	for (unsigned i = 0; i < t->n; i++)
		if (t->row[i].level == level && t->row[i].name == name &&
		    (!t->row[i].family || t->row[i].family == k->family))
			return &t->row[i];
	return NULL;
}

static const struct option *option_of(const struct sock_rec *k, int level, int name)
{
	return find_in(level == SOL_SOCKET ? &options_socket : &options_ip, k, level, name);
}

/* An integer option's value; of IPPROTO_IP a single byte will do. */
static int read_int(int level, const void *val, uint32_t len, int *v)
{
	if (len >= sizeof(*v)) {
		memcpy(v, val, sizeof(*v));
		return 0;
	}
	if (level != IPPROTO_IP || !len)
		return -EINVAL;
	*v = *(const uint8_t *)val;
	return 0;
}

static int set_flag(
    struct stack *s, uint32_t sk, struct sock_rec *k, const struct option *o, bool on)
{
	struct sockx_rec *x;

	on ^= o->inverted;
	if (o->flag) {
		k->flags = on ? k->flags | o->flag : k->flags & ~o->flag;
		sock_changed(s, sk); /* of some the client is told in its slot */
		return 0;
	}
	if (on == !!(sockx_peek(s, sk)->flags & o->xflag))
		return 0;
	x = sockx_get(s, sk);
	if (!x)
		return -ENOBUFS;
	x->flags = on ? x->flags | o->xflag : x->flags & ~o->xflag;
	return 0;
}

static int get_flag(
    const struct stack *s, uint32_t sk, const struct sock_rec *k, const struct option *o)
{
	return (o->flag ? !!(k->flags & o->flag) : !!(sockx_peek(s, sk)->flags & o->xflag)) ^
	       o->inverted;
}

static bool level_known(const struct sock_rec *k, int level)
{
	return level == SOL_SOCKET || level == IPPROTO_IP ||
	       (level == IPPROTO_IPV6 && k->family == AF_INET6);
}

int sock_setsockopt(
    struct stack *s, uint32_t sk, int level, int name, const void *val, uint32_t len)
{
	struct sock_rec *k = sock_get(s, sk);
	const struct option *o;
	int v, ret = 1;

	if (!k)
		return -EBADF;
	if (level == SOL_SOCKET)
		ret = socket_set_struct(s, sk, k, name, val, len);
	else if (level == IPPROTO_IP)
		ret = ip_set_struct(s, sk, k, name, val, len);
	if (ret <= 0)
		return ret;
	o = option_of(k, level, name);
	if (level == SOL_SOCKET && len < sizeof(v))
		return -EINVAL;
	if (!o || o->access == GET_ONLY)
		return -ENOPROTOOPT;
	v = 0;
	ret = o->empty && !len ? 0 : read_int(level, val, len, &v);
	if (ret)
		return ret;
	if ((o->type && o->type != k->type) || (o->strict && v & ~1))
		return -EINVAL;
	return o->set ? o->set(s, sk, k, v) : set_flag(s, sk, k, o, v);
}

int sock_getsockopt(struct stack *s, uint32_t sk, int level, int name, void *val, uint32_t *len)
{
	const struct sock_rec *k = sock_peek(s, sk);
	const struct option *o;
	int v, ret = 1;

	if (!k)
		return -EBADF;
	if (!level_known(k, level))
		return k->family == AF_INET6 ? -ENOPROTOOPT : -EOPNOTSUPP;
	if (level == SOL_SOCKET)
		ret = socket_get_struct(s, sk, k, name, val, len);
	else if (level == IPPROTO_IP)
		ret = ip_get_struct(s, sk, k, name, val, len);
	if (ret <= 0)
		return ret;
	o = option_of(k, level, name);
	if (!o || o->access == SET_ONLY)
		return -ENOPROTOOPT;
	v = o->get ? o->get(s, sk, k) : get_flag(s, sk, k, o);
	if (o->fails && v < 0)
		return v;
	if (level == IPPROTO_IP && *len && *len < sizeof(v) && v >= 0 && v <= 255) {
		*(uint8_t *)val = (uint8_t)v;
		*len = 1;
		return 0;
	}
	return option_give(val, len, &v, sizeof(v));
}
