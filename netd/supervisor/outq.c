#include "supervisor/outq.h"
#include "proto/channel.h"
#include <errno.h>

struct out_item {
	struct out_item *next;
	struct fdset *fds;
	size_t len;
	uint8_t packed[];
};

static bool for_later(struct outq *q, int ret)
{
	q->starved = channel_starved(ret);
	return ret == -EAGAIN || q->starved;
}

static void drop_first(struct outq *q)
{
	struct out_item *item = q->first;

	q->first = item->next;
	if (!q->first)
		q->last = NULL;
	q->n--;
	fdset_unref(item->fds);
	free(item);
}

int outq_send(struct outq *q, int sock, const ProtobufCMessage *m, struct fdset *fds)
{
	struct out_item *item;
	size_t len;
	int ret;

	if (!q->first) {
		ret = channel_send(sock, m, fds ? fds->fd : NULL, fds ? fds->n : 0);
		if (!ret || !for_later(q, ret))
			return ret;
	}
	len = protobuf_c_message_get_packed_size(m);
	item = malloc(sizeof(*item) + len);
	if (!item)
		return -ENOMEM;
	*item = (struct out_item){.fds = fdset_ref(fds), .len = protobuf_c_message_pack(m, item->packed)};
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
		const struct out_item *item = q->first;
		int ret = channel_send_packed(sock, item->packed, item->len, item->fds ? item->fds->fd : NULL, item->fds ? item->fds->n : 0);

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
