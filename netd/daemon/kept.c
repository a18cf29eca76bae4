#include "daemon/kept.h"
#include "base/log.h"
#include "proto/channel.h"
#include "proto/component.pb-c.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static struct kept_item *find(struct kept *k, const char *name)
{
	for (unsigned i = 0; i < k->n; i++)
		if (!strcmp(k->item[i].name, name))
			return &k->item[i];
	return NULL;
}

void kept_put(struct kept *k, const char *name, int fd)
{
	struct kept_item *item = find(k, name);

	if (fd < 0 || !*name || strlen(name) >= KEPT_NAME || (!item && k->n == KEPT_MAX)) {
		log_warn("what the supervisor gives to keep cannot be kept");
		if (fd >= 0)
			close(fd);
		return;
	}
	if (item)
		close(item->fd);
	else
		item = &k->item[k->n++];
	snprintf(item->name, sizeof(item->name), "%s", name);
	item->fd = fd;
	if (!strcmp(name, "supervisor"))
		k->supervisor = fd + 1;
}

void kept_remove(struct kept *k, const char *name)
{
	struct kept_item *item = find(k, name);

	if (!item)
		return;
	if (k->supervisor == item->fd + 1)
		k->supervisor = 0;
	close(item->fd);
	*item = k->item[--k->n];
}

int kept_inet(const struct kept *k, unsigned slot)
{
	char name[KEPT_NAME];
	const struct kept_item *item;

	snprintf(name, sizeof(name), "channel.inet.%u", slot);
	item = find((struct kept *)(uintptr_t)k, name);
	return item ? item->fd : -1;
}

int kept_send(const struct kept *k, int sock, int timeout_ms)
{
	int ret = 0;

	for (unsigned i = 0; i < k->n && !ret; i++) {
		Netd__Component__Keep keep = NETD__COMPONENT__KEEP__INIT;
		Netd__Component__ToComponent m = NETD__COMPONENT__TO_COMPONENT__INIT;

		keep.name = (char *)(uintptr_t)k->item[i].name;
		m.body_case = NETD__COMPONENT__TO_COMPONENT__BODY_KEEP;
		m.keep = &keep;
		ret = channel_send_wait(sock, &m.base, &k->item[i].fd, 1, timeout_ms);
	}
	return ret;
}

void kept_close(struct kept *k)
{
	while (k->n)
		close(k->item[--k->n].fd);
	k->supervisor = 0;
}
