/* Rows of the socket list for connections that are no sockets: half open, or waiting their time out. */
#include "socket/layer.h"
#include "tcp/tcb.h"

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

void socklist_small(const struct stack *s, enum record_kind kind, uint32_t index, Netd__Control__Sock *m)
{
	if (kind == KIND_SYNRCV) {
		const struct synrcv_rec *r = state_peek(s->state, kind, index);

		fill_small(m, index, tcp_state_name(TCPS_SYN_RECV), &r->local, &r->remote);
	} else {
		const struct timewait_rec *r = state_peek(s->state, kind, index);

		fill_small(m, index, tcp_state_name(r->state), &r->local, &r->remote);
	}
}
