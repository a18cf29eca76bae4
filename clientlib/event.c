/* One socket's own set: a descriptor that polls readable when the socket has news (netd.h: netd_event_fd()). */
#include "clientlib/set.h"

static void each_nothing(void *arg, void *udata, struct nsock *s)
{
	(void)arg, (void)udata, (void)s;
}

int ns_event_fd(struct nsock *s)
{
	struct nset *set = load_acquire(&s->event), *none = NULL;
	int ret = sock_check(s);

	if (ret < 0)
		return ret;
	if (set)
		return set->fd;
	ret = ns_set_new(&set);
	if (ret < 0)
		return ret;
	ret = ns_set_add(set, s, NULL);
	if (ret < 0) {
		ns_set_free(set);
		return ret;
	}
	ns_set_arm(set);
	if (!__atomic_compare_exchange_n(
		&s->event, &none, set, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
		ns_set_free(set); /* another thread was first */
		return none->fd;
	}
	return set->fd;
}

int ns_event_ack(struct nsock *s)
{
	struct nset *set;
	int fd = ns_event_fd(s);

	if (fd < 0)
		return fd;
	set = load_acquire(&s->event);
	if (!set)
		return -EBADF;
	ns_set_disarm(set);
	ns_set_arm(set);
	ns_set_events(set, each_nothing, NULL);
	return (int)ns_poll(s);
}
