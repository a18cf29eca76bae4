/* Messages from netd-inet to its supervisor. */
#include "daemon/alone.h"
#include "daemon/daemon.h"
#include "base/killpoint.h"
#include "base/log.h"
#include <errno.h>
#include <string.h>

#define SEND_WAIT_MS 2000

typedef Netd__Component__FromComponent from_component;

static int link_send(struct daemon *d, const from_component *m, const int *fds, int nfds)
{
	int ret;

	if (alone(&d->hand))
		return alone_send(&d->hand, m, fds, nfds);
	if (d->hand.gone)
		return 0; /* nobody has the other end */
	ret = channel_send_wait(d->hand.channel, &m->base, fds, nfds, SEND_WAIT_MS);
	if (ret == -ETIMEDOUT && alone(&d->hand))
		return alone_send(&d->hand, m, fds, nfds);
	if (ret < 0)
		log_warn("cannot tell the supervisor: %s", strerror(-ret));
	return ret;
}

int link_deposit(void *arg, uint32_t kind, uint32_t index, uint32_t generation, const int *fds, int nfds)
{
	Netd__Component__Key key = NETD__COMPONENT__KEY__INIT;
	Netd__Component__Deposit deposit = NETD__COMPONENT__DEPOSIT__INIT;
	from_component m = NETD__COMPONENT__FROM_COMPONENT__INIT;
	int ret;

	key.kind = kind;
	key.index = index;
	key.generation = generation;
	deposit.key = &key;
	m.body_case = NETD__COMPONENT__FROM_COMPONENT__BODY_DEPOSIT;
	m.deposit = &deposit;
	KILLPOINT("deposit.before");
	ret = link_send(arg, &m, fds, nfds);
	KILLPOINT("deposit.after");
	return ret;
}

void link_withdraw(void *arg, uint32_t kind, uint32_t index, uint32_t generation)
{
	Netd__Component__Key key = NETD__COMPONENT__KEY__INIT;
	from_component m = NETD__COMPONENT__FROM_COMPONENT__INIT;

	key.kind = kind;
	key.index = index;
	key.generation = generation;
	m.body_case = NETD__COMPONENT__FROM_COMPONENT__BODY_WITHDRAW;
	m.withdraw = &key;
	KILLPOINT("withdraw.before");
	link_send(arg, &m, NULL, 0);
	KILLPOINT("withdraw.after");
}

void link_hello(struct daemon *d)
{
	Netd__Component__Hello hello = NETD__COMPONENT__HELLO__INIT;
	from_component m = NETD__COMPONENT__FROM_COMPONENT__INIT;

	hello.version = 1;
	m.body_case = NETD__COMPONENT__FROM_COMPONENT__BODY_HELLO;
	m.hello = &hello;
	link_send(d, &m, NULL, 0);
}

void link_take_over(struct daemon *d)
{
	Netd__Component__Empty empty = NETD__COMPONENT__EMPTY__INIT;
	from_component m = NETD__COMPONENT__FROM_COMPONENT__INIT;

	m.body_case = NETD__COMPONENT__FROM_COMPONENT__BODY_TAKE_OVER;
	m.take_over = &empty;
	link_send(d, &m, NULL, 0);
}

void link_active(struct daemon *d)
{
	Netd__Component__Empty empty = NETD__COMPONENT__EMPTY__INIT;
	from_component m = NETD__COMPONENT__FROM_COMPONENT__INIT;

	m.body_case = NETD__COMPONENT__FROM_COMPONENT__BODY_ACTIVE;
	m.active = &empty;
	link_send(d, &m, NULL, 0);
}

void link_accuse(struct daemon *d, const char *device, const char *reason)
{
	Netd__Component__AccuseDriver accuse = NETD__COMPONENT__ACCUSE_DRIVER__INIT;
	from_component m = NETD__COMPONENT__FROM_COMPONENT__INIT;

	accuse.device = (char *)(uintptr_t)device;
	accuse.reason = (char *)(uintptr_t)reason;
	m.body_case = NETD__COMPONENT__FROM_COMPONENT__BODY_ACCUSE_DRIVER;
	m.accuse_driver = &accuse;
	log_error("driver of %s: %s", device, reason);
	link_send(d, &m, NULL, 0);
}

void link_set_aside(struct daemon *d, const char *text, const uint8_t *frame, size_t len)
{
	Netd__Component__SetAside aside = NETD__COMPONENT__SET_ASIDE__INIT;
	from_component m = NETD__COMPONENT__FROM_COMPONENT__INIT;

	aside.text = (char *)(uintptr_t)text;
	aside.frame = (ProtobufCBinaryData){len, (uint8_t *)(uintptr_t)frame};
	m.body_case = NETD__COMPONENT__FROM_COMPONENT__BODY_SET_ASIDE;
	m.set_aside = &aside;
	link_send(d, &m, NULL, 0);
}
