/*
 * What a successor of this process needs, by name: "arena", "memory", "clock", "control" (the listening
 * socket), "region.DEV", "inet-read.DEV" and the other bell ends, and for each component "channel.KEY", "pidfd.KEY" and
 * "words.KEY", where KEY is "inet.SLOT" or "driver.SLOT.DEV", with its slot in the clock page; and what drivers deposit,
 * "deposit.KIND.INDEX.GENERATION.DEV". A name stands for one descriptor.
 *
 * Theory of operation. All of it lies in two places besides here: with every netd-inet (daemon/alone.h), which gives
 * it to a supervisor that is started while they live on (succession.c), and in systemd's descriptor store, which
 * gives it to a supervisor that systemd starts (systemd.c). What came from there is in `stored` until somebody
 * takes it. What netd-inet deposits is not stored: every netd-inet has it all, and the active one deposits it again when
 * it is asked. "supervisor", our own pidfd, is for netd-inet alone: how it learns of our death.
 */
#include "supervisor/supervisor.h"
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FORMAT(name, fmt)                                                                          \
	do {                                                                                       \
		va_list ap_;                                                                       \
		va_start(ap_, fmt);                                                                \
		vsnprintf(name, sizeof(name), fmt, ap_);                                           \
		va_end(ap_);                                                                       \
	} while (0)

static void keep(struct supervisor *s, int fd, const char *name)
{
	if (fdtable_find(&s->store, name) >= 0)
		systemd_unstore(s, name); /* it has what the name stood for before */
	if (fdtable_put(&s->store, name, fd) < 0)
		log_error("%s cannot be kept for a successor", name);
	for (struct component *c = s->components; c; c = c->next)
		if (is_inet(c))
			send_keep(c, name, fd);
	systemd_store_changed(s);
}

int store_take(struct supervisor *s, const char *fmt, ...)
{
	char name[FDTABLE_NAME];
	int fd;

	FORMAT(name, fmt);
	fd = fdtable_take(&s->stored, name);
	if (fd < 0)
		return -1;
	keep(s, fd, name);
	return fd;
}

bool store_has(const struct supervisor *s, const char *name)
{
	return fdtable_find(&s->stored, name) >= 0;
}

void store_put(struct supervisor *s, int fd, const char *fmt, ...)
{
	char name[FDTABLE_NAME];

	FORMAT(name, fmt);
	keep(s, fd, name);
}

void store_remove(struct supervisor *s, const char *fmt, ...)
{
	char name[FDTABLE_NAME];

	FORMAT(name, fmt);
	if (fdtable_take(&s->store, name) < 0)
		return;
	for (struct component *c = s->components; c; c = c->next)
		if (is_inet(c))
			send_forget(c, name);
	systemd_unstore(s, name);
}

void store_send(struct component *c)
{
	const struct fdtable *t = &c->sup->store;

	for (unsigned i = 0; i < t->n; i++)
		send_keep(c, t->item[i].name, t->item[i].fd);
}

int store_sign(struct supervisor *s)
{
	int fd = (int)syscall(SYS_pidfd_open, getpid(), 0);

	if (fd < 0)
		return -errno;
	keep(s, fd, STORE_SUPERVISOR);
	return 0;
}

/* A driver of a device that is configured no more has nobody to work for. */
void store_close_rest(struct supervisor *s)
{
	for (unsigned i = 0; i < s->stored.n; i++) {
		const struct fdtable_item *f = &s->stored.item[i];

		log_debug("nobody wants the stored descriptor %s", f->name);
		if (!strncmp(f->name, "pidfd.", 6))
			syscall(SYS_pidfd_send_signal, f->fd, SIGTERM, NULL, 0);
		systemd_unstore(s, f->name);
	}
	fdtable_close(&s->stored);
}

#define DEPOSIT_FORMAT "deposit.%x.%x.%x."

void store_deposit(struct supervisor *s, const struct device *d, const struct deposit *of)
{
	store_put(s, of->fds->fd[0], DEPOSIT_FORMAT "%s", of->key.kind, of->key.index, of->key.generation, d->name);
}

void store_withdraw(struct supervisor *s, const struct device *d, const struct escrow_key *key)
{
	store_remove(s, DEPOSIT_FORMAT "%s", key->kind, key->index, key->generation, d->name);
}

void store_take_deposits(struct supervisor *s, const struct device *d)
{
	struct escrow_key key = {.owner = escrow_owner(d)};

	for (unsigned i = 0; i < s->stored.n;) {
		const char *name = s->stored.item[i].name;
		int end = 0, fd;

		if (sscanf(name, DEPOSIT_FORMAT "%n", &key.kind, &key.index, &key.generation, &end) != 3 || strcmp(name + end, d->name) != 0) {
			i++;
			continue;
		}
		fd = store_take(s, "%s", name); /* the last one is in its place then */
		if (escrow_put(s->escrow, &key, fdset_take(&fd, 1)) < 0)
			log_error("no memory to keep what driver %s deposited", d->name);
	}
}

/* A component's part of it. Channel and pidfd make a component; one without the third has no last words. */
enum { CHANNEL, PIDFD, WORDS, PARTS };
static const char *const part[PARTS] = {"channel", "pidfd", "words"};

static void key_of(const struct device *d, unsigned slot, char *buf, size_t size)
{
	if (d)
		snprintf(buf, size, "driver.%u.%s", slot, d->name);
	else
		snprintf(buf, size, "inet.%u", slot);
}

void store_component(const struct component *c)
{
	const int fd[PARTS] = {c->channel, c->pidfd, c->words};
	char key[32];

	key_of(c->device, c->slot, key, sizeof(key));
	for (unsigned i = 0; i < PARTS; i++)
		store_put(c->sup, fd[i], "%s.%s", part[i], key);
}

static void forget(struct supervisor *s, const char *key)
{
	for (unsigned i = 0; i < PARTS; i++)
		store_remove(s, "%s.%s", part[i], key);
}

void store_bury(const struct component *c)
{
	char key[32];

	key_of(c->device, c->slot, key, sizeof(key));
	forget(c->sup, key);
}

/* A netd-inet that gives it may have been deceived, or deceive (identity.c); what is no memory cannot be looked into. */
static bool believable(const char *key, int fd[PARTS])
{
	int type = 0;
	socklen_t len = sizeof(type);

	if (fd[WORDS] >= 0 && !memory_sealed(fd[WORDS])) {
		close(fd[WORDS]);
		fd[WORDS] = -1;
	}
	if (getsockopt(fd[CHANNEL], SOL_SOCKET, SO_TYPE, &type, &len) == 0 && type == SOCK_SEQPACKET && pidfd_is_component(fd[PIDFD]))
		return true;
	log_error("what is handed over as %s is none (pid %d): it is left alone", key, (int)pidfd_pid(fd[PIDFD]));
	return false;
}

static bool adopt(struct supervisor *s, struct device *d, unsigned slot)
{
	char key[32];
	int fd[PARTS];

	key_of(d, slot, key, sizeof(key));
	for (unsigned i = 0; i < PARTS; i++)
		fd[i] = store_take(s, "%s.%s", part[i], key);
	if (fd[CHANNEL] >= 0 && fd[PIDFD] >= 0 && believable(key, fd))
		return component_adopt(s, d, slot, fd[CHANNEL], fd[PIDFD], fd[WORDS]) == 0;
	/* Or it was being started, or buried, when its supervisor died. */
	forget(s, key);
	for (unsigned i = 0; i < PARTS; i++)
		if (fd[i] >= 0)
			close(fd[i]);
	return false;
}

unsigned store_adopt(struct supervisor *s)
{
	unsigned n = 0;

	for (unsigned slot = 0; slot < SLOTS_INET; slot++)
		n += adopt(s, NULL, slot);
	for (unsigned i = 0; i < CONFIG_DEVICES_MAX; i++)
		for (unsigned slot = SLOTS_INET; s->device[i] && slot < CLOCK_COMPONENTS; slot++)
			adopt(s, s->device[i], slot);
	return n;
}
