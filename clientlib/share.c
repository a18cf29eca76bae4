/*
 * Sockets that several processes hold.
 *
 * A socket is moved into a share when it is about to get its second holder: before a fork (all
 * sockets of the process), before an exec or SCM_RIGHTS (one). Both its sides are locked for that
 * time. Then its slot, its description and its rings lie in the share, only `ev` is still the
 * session's own slot. It never moves back.
 *
 * Positions of a shared socket are believed when its lock is taken (side_lock), places when
 * `layout_seq` says so, as always.
 */
#include "clientlib/share.h"
#include "clientlib/control.h"
#include "clientlib/own.h"
#include "clientlib/space.h"
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define BATCH 256u /* sockets in one request */

pthread_mutex_t share_lock = PTHREAD_MUTEX_INITIALIZER;

/* ---- the memory */

static int share_map(const Netd__Control__Shared *a, const struct reply *r, struct share **out)
{
	int ret = reply_holds(r, 1);
	struct cm_header lay;
	struct share *sh;
	long p;

	if (ret < 0)
		return ret;
	if (cm_layout(&lay, a->memory_size, a->slots) < 0 ||
	    sys_lseek(r->fds[0], 0, SEEK_END) != (long)a->memory_size)
		return -EPROTO;
	sh = malloc(sizeof(*sh));
	p = sh ? space_map(r->fds[0], a->memory_size) : -ENOMEM;
	if (p < 0 && p > -4096) {
		free(sh);
		return (int)p;
	}
	*sh = (struct share){.home = {.mem = (uint8_t *)p,
				 .number = a->share,
				 .heap_off = lay.heap_off,
				 .size = a->memory_size},
	    .slot_off = lay.slot_off,
	    .desc_off = lay.desc_off,
	    .slots = a->slots,
	    .refs = 1};
	if (a->secret.len == sizeof(sh->secret))
		memcpy(sh->secret, a->secret.data, sizeof(sh->secret));
	*out = sh;
	return 0;
}

static void share_put(struct share *sh)
{
	if (__atomic_fetch_sub(&sh->refs, 1, __ATOMIC_ACQ_REL) != 1)
		return;
	space_unmap(sh->home.mem, sh->home.size);
	free(sh);
}

void share_leave(struct nsock *s)
{
	if (s->share)
		share_put(s->share);
	s->share = NULL;
}

/* ---- going in */

static void lock_init(pthread_mutex_t *m)
{
	pthread_mutexattr_t a;

	pthread_mutexattr_init(&a);
	pthread_mutexattr_setpshared(&a, PTHREAD_PROCESS_SHARED);
	pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST);
	pthread_mutex_init(m, &a);
	pthread_mutexattr_destroy(&a);
}

/* From here on the socket is slot `i` of the share. `first`: it brings its description along. */
static void enter(struct nsock *s, struct share *sh, uint32_t i, bool first)
{
	struct shared_desc *d =
	    (struct shared_desc *)(void *)(sh->home.mem + sh->desc_off + (uint64_t)i * CM_DESC_SIZE);

	if (first) {
		d->d = *s->d;
		lock_init(&d->rx_lock);
		lock_init(&d->tx_lock);
	}
	__atomic_fetch_add(&sh->refs, 1, __ATOMIC_RELAXED);
	s->share = sh;
	s->home = &sh->home;
	s->rx.layout = s->tx.layout = 0;
	store_release(&s->sl, (struct cm_slot *)(void *)(sh->home.mem + sh->slot_off) + i);
	store_release(&s->d, &d->d);
	request_hold(s);
}

static int ask_share(struct session *ss, struct nsock **v, unsigned n)
{
	Netd__Control__Request q = NETD__CONTROL__REQUEST__INIT;
	Netd__Control__Share m = NETD__CONTROL__SHARE__INIT;
	Netd__Control__Response *answer = NULL;
	struct reply r = {0};
	struct share *sh = NULL;
	uint32_t slot[BATCH];
	int ret;

	for (unsigned i = 0; i < n; i++)
		slot[i] = v[i]->slot;
	m.n_slot = n;
	m.slot = slot;
	q.body_case = NETD__CONTROL__REQUEST__BODY_SHARE;
	q.share = &m;
	ret = own_room(ss->ctl);
	if (ret == 0)
		ret = session_ask(ss, &q, &r, &answer);
	if (ret < 0)
		return ret;
	ret = -EPROTO;
	if (answer->body_case == NETD__CONTROL__RESPONSE__BODY_SHARED &&
	    answer->shared->n_slot == n)
		ret = share_map(answer->shared, &r, &sh);
	for (unsigned i = 0; i < n; i++) {
		if (!sh)
			sock_lied(v[i]); /* where it is now, we cannot follow */
		else if (answer->shared->slot[i] < sh->slots)
			enter(v[i], sh, answer->shared->slot[i], true);
		/* else there was no room for it: it is reset, and its slot says so */
	}
	if (sh)
		share_put(sh);
	netd__control__response__free_unpacked(answer, NULL);
	reply_free(&r);
	return ret;
}

static void unlock_sides(struct nsock *s)
{
	small_unlock(&s->tx_lock);
	small_unlock(&s->rx_lock);
}

/* Both its sides are ours and nothing stands against its sharing. */
static bool park(struct session *ss, struct nsock *s)
{
	if (s->ss != ss || s->share || load_once(&s->closed) || sock_settle(s) < 0)
		return false;
	small_lock(&s->rx_lock);
	small_lock(&s->tx_lock);
	if (!s->rx.lent && !s->tx.lent)
		return true;
	unlock_sides(s);
	return false;
}

int share_sockets(struct session *ss, struct nsock **v, unsigned n)
{
	struct nsock *batch[BATCH];
	unsigned used;
	int ret = 0;

	while (n && ret == 0) {
		for (used = 0; n && used < BATCH; n--, v++)
			if (park(ss, *v))
				batch[used++] = *v;
		if (used)
			ret = ask_share(ss, batch, used);
		while (used)
			unlock_sides(batch[--used]);
	}
	return ret;
}

/* ---- tokens */

int share_one(struct nsock *s)
{
	int ret;

	pthread_mutex_lock(&share_lock);
	ret = s->share ? 0 : share_sockets(s->ss, &s, 1);
	pthread_mutex_unlock(&share_lock);
	return ret == 0 && !s->share ? -EBUSY : ret;
}

/* Is a token's packet waiting in `fd`? */
static bool token_peek(int fd, struct cm_token *t)
{
	uint8_t room[sizeof(*t) + 1];
	struct iovec iov = {.iov_base = room, .iov_len = sizeof(room)};
	struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1};
	int type = 0;
	socklen_t len = sizeof(type);

	if (sys_call(SYS_getsockopt, fd, SOL_SOCKET, SO_TYPE, (long)&type, (long)&len, 0) < 0 ||
	    type != SOCK_SEQPACKET)
		return false;
	if (sys_recvmsg(fd, &mh, MSG_PEEK | MSG_DONTWAIT) != sizeof(*t))
		return false;
	memcpy(t, room, sizeof(*t));
	return t->magic == CM_TOKEN_MAGIC;
}

static uint64_t key_of(const struct cm_token *t)
{
	uint64_t key;

	memcpy(&key, t->secret, sizeof(key));
	return key ? key : 1;
}

int ns_token(struct nsock *s)
{
	Netd__Control__Request q = NETD__CONTROL__REQUEST__INIT;
	Netd__Control__Token m = NETD__CONTROL__TOKEN__INIT;
	Netd__Control__Response *answer = NULL;
	struct reply r = {0};
	struct cm_token t;
	int fd, ret = sock_check(s);

	if (ret == 0)
		ret = share_one(s);
	if (ret < 0)
		return ret;
	m.slot = s->slot;
	q.body_case = NETD__CONTROL__REQUEST__BODY_TOKEN;
	q.token = &m;
	ret = session_ask(s->ss, &q, &r, &answer);
	if (ret < 0)
		return ret;
	fd = reply_take(&r, 0);
	netd__control__response__free_unpacked(answer, NULL);
	reply_free(&r);
	session_settle(s->ss);
	if (fd >= 0 && token_peek(fd, &t))
		store_release(&s->token_key, key_of(&t));
	return fd;
}

bool ns_is_token(int fd)
{
	struct cm_token t;

	return token_peek(fd, &t);
}

static int join_answered(struct nsock *s, const Netd__Control__Shared *a, struct reply *r)
{
	struct share *sh;
	int ret = a->n_slot == 1 && a->slot[0] < a->slots ? share_map(a, r, &sh) : -EPROTO;

	if (ret < 0)
		return ret;
	s->family = (uint16_t)a->family;
	s->type = (uint16_t)a->type;
	s->protocol = (uint16_t)a->protocol;
	enter(s, sh, a->slot[0], false);
	share_put(sh);
	return 0;
}

/* The socket of this token if this process holds it by the token already (a copy of the
 * descriptor), with a reference. */
static struct nsock *joined(struct session *ss, const struct cm_token *t)
{
	struct nsock *s;

	pthread_mutex_lock(&ss->req_lock);
	for (s = ss->held; s; s = s->next_held)
		if (load_acquire(&s->token_key) == key_of(t) && !load_once(&s->closed) &&
		    ns_try_get(s))
			break;
	pthread_mutex_unlock(&ss->req_lock);
	return s;
}

int share_join(struct session *ss, Netd__Control__Join *m, bool watch, struct nsock **out)
{
	Netd__Control__Request q = NETD__CONTROL__REQUEST__INIT;
	Netd__Control__Response *answer = NULL;
	struct reply r = {0};
	struct nsock *s;
	int ret = sock_new(ss, &s);

	if (ret < 0)
		return ret;
	m->slot = s->slot;
	q.body_case = NETD__CONTROL__REQUEST__BODY_JOIN;
	q.join = m;
	ret = session_ask(ss, &q, &r, &answer);
	if (ret < 0) {
		sock_drop(s);
		return ret;
	}
	s->watch = watch;
	store_once(&s->ready, true);
	store_once(&s->has_slot, true);
	store_release(&s->refs, 1);
	ret = answer->body_case == NETD__CONTROL__RESPONSE__BODY_JOINED
		  ? join_answered(s, answer->joined, &r)
		  : -EPROTO;
	netd__control__response__free_unpacked(answer, NULL);
	reply_free(&r);
	if (ret < 0)
		ns_put(s);
	else
		*out = s;
	return ret;
}

int ns_join(int fd, struct nsock **out)
{
	Netd__Control__Join m = NETD__CONTROL__JOIN__INIT;
	struct session *ss;
	struct cm_token t;
	int ret;

	if (!token_peek(fd, &t))
		return -ENOTSOCK;
	ret = session_get(&ss);
	if (ret < 0)
		return ret;
	*out = joined(ss, &t);
	if (*out)
		return 0;
	m.index = t.index;
	m.secret = (ProtobufCBinaryData){.data = t.secret, .len = sizeof(t.secret)};
	ret = share_join(ss, &m, false, out);
	if (ret == 0)
		store_release(&(*out)->token_key, key_of(&t));
	return ret;
}

bool ns_shared(const struct nsock *s)
{
	return s->share;
}
