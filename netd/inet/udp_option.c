/*
 * Options of SOL_UDP. UDP_CORK is the client's: it writes a datagram in pieces, and only its pieces
 * come here; what is set here is for whoever asks next.
 */
#include "inet/layer.h"
#include "inet/sockx.h"
#include "base/util.h"
#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/socket.h>

#define UDPLITE_SEND_CSCOV 10
#define UDPLITE_RECV_CSCOV 11

static int set_int(struct stack *s, uint32_t sk, int name, int v)
{
	struct sockx_rec *x;

	if (name == UDP_NO_CHECK6_TX || name == UDP_NO_CHECK6_RX)
		return v ? -EOPNOTSUPP : 0;
	if (name != UDP_SEGMENT && name != UDP_GRO)
		return -ENOPROTOOPT;
	if (name == UDP_SEGMENT && (v < 0 || v > UINT16_MAX))
		return -EINVAL;
	x = sockx_get(s, sk);
	if (!x)
		return -ENOBUFS;
	if (name == UDP_SEGMENT)
		x->gso_size = (uint16_t)v;
	else
		x->flags = v ? x->flags | SOCKX_GRO : x->flags & ~(uint32_t)SOCKX_GRO;
	return 0;
}

int udp_setsockopt(struct stack *s, uint32_t sk, int level, int name, const void *val, uint32_t len)
{
	int v;

	if (level == IPPROTO_UDP) {
		if (len < sizeof(v))
			return -EINVAL;
		memcpy(&v, val, sizeof(v));
		return set_int(s, sk, name, v);
	}
	return mailbox_setsockopt(s, sk, level, name, val, len);
}

int udp_getsockopt(struct stack *s, uint32_t sk, int level, int name, void *val, uint32_t *len)
{
	const struct sockx_rec *x = sockx_peek(s, sk);
	int v;

	if (level != IPPROTO_UDP)
		return sock_getsockopt(s, sk, level, name, val, len);
	if (name == UDP_SEGMENT)
		v = x->gso_size;
	else if (name == UDP_GRO)
		v = !!(x->flags & SOCKX_GRO);
	else if (name == UDPLITE_SEND_CSCOV || name == UDPLITE_RECV_CSCOV || name == UDP_ENCAP ||
		 name == UDP_NO_CHECK6_TX || name == UDP_NO_CHECK6_RX)
		v = 0;
	else
		return -ENOPROTOOPT;
	*len = min_of(*len, (uint32_t)sizeof(v));
	memcpy(val, &v, *len);
	return 0;
}
