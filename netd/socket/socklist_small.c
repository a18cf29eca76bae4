/* Rows of the socket list for connections that are no sockets: half open, or waiting their time out. */
#include "socket/layer.h"
#include "tcp/tcb.h"
#include <netinet/in.h>

static void fill_small(Netd__Control__Sock *m, uint32_t index, const char *state, const struct endpoint *local,
    const struct endpoint *remote)
{
	*m = (Netd__Control__Sock)NETD__CONTROL__SOCK__INIT;
	m->index = index;
	m->proto = (char *)(uintptr_t)"tcp";
	m->state = (char *)(uintptr_t)state;
	m->local_addr = (ProtobufCBinaryData){sizeof(local->addr.b), (uint8_t *)(uintptr_t)local->addr.b};
	m->local_port = local->port;
	m->remote_addr = (ProtobufCBinaryData){sizeof(remote->addr.b), (uint8_t *)(uintptr_t)remote->addr.b};
	m->remote_port = remote->port;
	m->session = NO_INDEX;
}

/* It would be a socket of the family of the one that listens. */
static uint32_t listener_family(const struct stack *s, const struct synrcv_rec *r)
{
	const struct sock_rec *k = sock_peek(s, r->listener);

	return k && state_generation(s->state, KIND_SOCK, r->listener) == r->listener_gen
		   ? k->family
		   : AF_INET;
}

void socklist_small(const struct stack *s, enum record_kind kind, uint32_t index, Netd__Control__Sock *m)
{
	if (kind == KIND_SYNRCV) {
		const struct synrcv_rec *r = state_peek(s->state, kind, index);

		fill_small(m, index, tcp_state_name(TCPS_SYN_RECV), &r->local, &r->remote);
		m->family = listener_family(s, r);
	} else {
		const struct timewait_rec *r = state_peek(s->state, kind, index);

		fill_small(m, index, tcp_state_name(r->state), &r->local, &r->remote);
		m->family = r->family;
	}
}
