/*
 * Watching: sockets of other processes that this one hears of, but does not hold.
 *
 * An epoll set that processes share may have a socket in it that only one of them has. The others
 * are holders of it that do not count (proto/share.h): woken as all holders, and told when the last
 * that counts is gone. What they need to become that is where the socket lies, and the secret of
 * the share, which its holders were told.
 */
#include "clientlib/share.h"
#include <string.h>

static uint32_t slot_in_share(const struct nsock *s)
{
	const struct cm_slot *first =
	    (const struct cm_slot *)(const void *)(s->share->home.mem + s->share->slot_off);

	return (uint32_t)(s->sl - first);
}

int ns_key(struct nsock *s, bool share, struct ns_key *key)
{
	int ret = sock_check(s);

	if (ret == 0 && share)
		ret = share_one(s);
	if (ret == 0 && !s->share)
		ret = -ENOENT;
	if (ret < 0)
		return ret;
	*key = (struct ns_key){.share = s->share->home.number, .slot = slot_in_share(s)};
	memcpy(key->secret, s->share->secret, sizeof(key->secret));
	return 0;
}

bool ns_has_key(const struct nsock *s, const struct ns_key *key)
{
	return s->share && s->share->home.number == key->share && slot_in_share(s) == key->slot &&
	       !memcmp(s->share->secret, key->secret, sizeof(key->secret));
}

/* May it stand for the socket? One that lost its last number is about to go. */
static bool stands(const struct nsock *s, const struct ns_key *key)
{
	return ns_has_key(s, key) && !load_once(&s->closed) &&
	       (s->watch ? !ns_ended(s) : ns_named(s));
}

static struct nsock *held(struct session *ss, const struct ns_key *key)
{
	struct nsock *s;

	pthread_mutex_lock(&ss->req_lock);
	for (s = ss->held; s; s = s->next_held)
		if (stands(s, key) && ns_try_get(s))
			break;
	pthread_mutex_unlock(&ss->req_lock);
	return s;
}

int ns_watch(const struct ns_key *key, struct nsock **out)
{
	Netd__Control__Join m = NETD__CONTROL__JOIN__INIT;
	Netd__Control__Watch w = NETD__CONTROL__WATCH__INIT;
	struct ns_key copy = *key;
	struct session *ss;
	int ret = session_get(&ss);

	if (ret < 0)
		return ret;
	*out = held(ss, key);
	if (*out)
		return 0;
	w.share = key->share;
	w.slot = key->slot;
	m.watch = &w;
	m.secret = (ProtobufCBinaryData){.data = copy.secret, .len = sizeof(copy.secret)};
	return share_join(ss, &m, true, out);
}

bool ns_watches(const struct nsock *s)
{
	return s->watch;
}

bool ns_ended(const struct nsock *s)
{
	return s->watch &&
	       (load_acquire(&s->ev->state) & (CM_ST_DEAD | CM_ST_SHARED)) == CM_ST_DEAD;
}

static uint64_t mix(uint64_t h, uint64_t v)
{
	h = (h ^ v) * 0x9e3779b97f4a7c15ull;
	return h ^ h >> 29;
}

uint64_t ns_news(const struct nsock *s)
{
	const struct cm_slot *sl = load_acquire(&s->sl);
	uint32_t state = load_acquire(&sl->state) & ~(uint32_t)(CM_ST_ACK_OWED | CM_ST_SHARED);
	uint64_t h;

	if (!load_acquire(&s->ready) || state & CM_ST_LISTENING || load_acquire(&sl->errors))
		return 0;
	h = mix(state, load_acquire(&sl->rx_tail));
	h = mix(h, load_acquire(&sl->tx_head));
	h = mix(h, load_acquire(&sl->tx_sent));
	h = mix(h, load_acquire(&sl->urgent));
	h = mix(h, (uint64_t)load_acquire(&sl->so_error_seq) << 8 | load_once(&sl->tcp_state));
	return h ? h : 1;
}
