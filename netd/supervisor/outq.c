#include "supervisor/outq.h"
#include "proto/channel.h"
#include <errno.h>

struct out_item {
	struct out_item *next;
	ProtobufCMessage *m; /* a copy */
	struct fdset *fds;
};

/* ETOOMANYREFS: more descriptors of this user are under way in sockets than it may have open. */
static bool for_later(struct outq *q, int ret)
{
	q->starved = ret == -ETOOMANYREFS || ret == -ENOBUFS || ret == -ENOMEM;
	return ret == -EAGAIN || q->starved;
}

static int send_now(int sock, const ProtobufCMessage *m, const struct fdset *fds)
{
	return channel_send(sock, m, fds ? fds->fd : NULL, fds ? fds->n : 0);
}

static ProtobufCMessage *copy_of(const ProtobufCMessage *m)
{
	size_t len = protobuf_c_message_get_packed_size(m);
	uint8_t *buf = malloc(len ? len : 1);
	ProtobufCMessage *copy = NULL;

	if (buf) {
		protobuf_c_message_pack(m, buf);
		copy = protobuf_c_message_unpack(m->descriptor, NULL, len, buf);
	}
	free(buf);
	return copy;
}

static void drop_first(struct outq *q)
{
	struct out_item *item = q->first;

	q->first = item->next;
	if (!q->first)
		q->last = NULL;
	q->n--;
	protobuf_c_message_free_unpacked(item->m, NULL);
	fdset_unref(item->fds);
	free(item);
}

int outq_send(struct outq *q, int sock, const ProtobufCMessage *m, struct fdset *fds)
{
	struct out_item *item;
	int ret;

	if (!q->first) {
		ret = send_now(sock, m, fds);
		if (!ret || !for_later(q, ret))
			return ret;
	}
	item = calloc(1, sizeof(*item));
	if (!item || !(item->m = copy_of(m))) {
		free(item);
		return -ENOMEM;
	}
	item->fds = fdset_ref(fds);
	if (q->last)
		q->last->next = item;
	else
		q->first = item;
	q->last = item;
	q->n++;
	return 0;
}

int outq_flush(struct outq *q, int sock)
{
	q->starved = false;
	while (q->first) {
		int ret = send_now(sock, q->first->m, q->first->fds);

		if (ret)
			return for_later(q, ret) ? 0 : ret;
		drop_first(q);
	}
	return 0;
}

void outq_clear(struct outq *q)
{
	while (q->first)
		drop_first(q);
}
