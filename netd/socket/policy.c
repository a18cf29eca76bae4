/*
 * Who may do what, and how much of it. Decided by the peer credentials that the kernel noted at
 * connect, and by the configuration's limits; netd's own accounting, because the kernel charges
 * shared memory to whoever touches it first.
 */
#include "socket/layer.h"
#include "socket/share.h"
#include "base/util.h"
#include "inet/raw.h"
#include "ip/group.h"
#include "wire/ipopt.h"
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define DEFAULT_SLOTS	    16384u
#define DEFAULT_MEMORY	    (4096ull << 20)
#define DEFAULT_USER_SOCKS  65536u
#define DEFAULT_USER_MEMORY (8192ull << 20)
#define FIRST_FREE_PORT	    1024
#define OVERFLOW_UID	    65534u
#define SPARE_SESSIONS	    16 /* kept for administrators */

static const Netd__Component__Config *config_of(const struct stack *s)
{
	const struct socket_env *env = &s->socket->env;

	return env->config ? env->config(env->arg) : NULL;
}

/* A configured limit, 0 if there is none. */
#define CONFIG_LIMIT(s, field)                                                                     \
	({                                                                                         \
		const Netd__Component__Config *cfg_ = config_of(s);                                \
		cfg_ && cfg_->limits ? cfg_->limits->field : 0;                                    \
	})

uint32_t limit_slots(const struct stack *s)
{
	uint32_t v = CONFIG_LIMIT(s, session_sockets);

	return round_up_pow2(min_of(v ? max_of(v, 16u) : DEFAULT_SLOTS, 1u << 20));
}

uint64_t limit_memory(const struct stack *s)
{
	uint64_t v = CONFIG_LIMIT(s, session_memory);

	return v ? align_up(v, 4096) : DEFAULT_MEMORY;
}

/* Strangers from another user namespace all look like the overflow id. */
static bool owner(uint32_t uid)
{
	return uid == 0 || (uid == geteuid() && uid != OVERFLOW_UID);
}

bool policy_owner(const struct ucred *sender)
{
	return sender->pid && owner(sender->uid);
}

bool policy_admin(const struct stack *s, uint32_t uid)
{
	const Netd__Component__Config *c = config_of(s);

	if (owner(uid))
		return true;
	for (size_t i = 0; c && i < c->n_admin_uid; i++)
		if (c->admin_uid[i] == uid)
			return true;
	return false;
}

uint32_t policy_rights(const struct stack *s, const struct session_rec *r)
{
	const Netd__Component__Config *c = config_of(s);
	uint32_t rights = r->kept;

	if (policy_admin(s, r->uid))
		rights |= CM_RIGHT_BIND | CM_RIGHT_RAW | CM_RIGHT_ADMIN;
	for (size_t i = 0; c && i < c->n_raw_uid; i++)
		if (c->raw_uid[i] == r->uid)
			rights |= CM_RIGHT_RAW;
	return rights;
}

int policy_port(const struct stack *s, const struct session_rec *r, uint16_t port)
{
	bool free = !port || port >= FIRST_FREE_PORT;

	return free || policy_rights(s, r) & CM_RIGHT_BIND ? 0 : -EACCES;
}

/* To see and send what is not one's own. */
static bool policy_raw(const struct stack *s, const struct session_rec *r)
{
	return policy_rights(s, r) & CM_RIGHT_RAW;
}

/* net.ipv4.ping_group_range; where nothing is configured everybody may, as on systems with systemd. */
static bool policy_ping(const struct stack *s, const struct session_rec *r)
{
	const Netd__Component__Config *c = config_of(s);

	if (!c || !c->ping_gids)
		return true;
	return (r->gid >= c->ping_gids->first && r->gid <= c->ping_gids->last) || policy_raw(s, r);
}

static uint32_t payer(const struct stack *s, uint32_t sk)
{
	const struct sock_rec *k = sock_peek(s, sk);

	return k ? k->uid : OVERFLOW_UID;
}

static uint32_t user_of(const struct stack *s, enum record_kind kind, uint32_t i)
{
	const void *rec = state_peek(s->state, kind, i);

	if (kind == KIND_TOKEN)
		return ((const struct token_rec *)rec)->uid;
	return payer(s, kind == KIND_RAW ? ((const struct raw_rec *)rec)->sk : ((const struct member_rec *)rec)->owner);
}

/* Nobody looks whose they are before half of them are taken, and of that half a user may have all. */
static bool policy_share(const struct stack *s, enum record_kind kind, uint32_t uid)
{
	uint32_t most = state_capacity(s->state, kind) / 2, n = 0;

	if (state_count(s->state, kind) < most || policy_admin(s, uid))
		return true;
	for (uint32_t i = state_next(s->state, kind, 0); i != NO_INDEX; i = state_next(s->state, kind, i + 1))
		n += user_of(s, kind, i) == uid;
	return n < most;
}

int policy_token(const struct stack *s, uint32_t uid)
{
	return policy_share(s, KIND_TOKEN, uid) ? 0 : -ENFILE;
}

int policy_type(
    const struct stack *s, const struct session_rec *r, int family, int type, int protocol)
{
	if (family == AF_PACKET || type == SOCK_RAW) {
		if (!policy_raw(s, r))
			return -EPERM;
	} else if (protocol != IPPROTO_ICMP) {
		return 0;
	} else if (!policy_ping(s, r)) {
		return -EACCES;
	}
	return policy_share(s, KIND_RAW, r->uid) ? 0 : -ENOBUFS;
}

static bool joins_group(int level, int name)
{
	return level == IPPROTO_IP && (name == IP_ADD_MEMBERSHIP || name == IP_ADD_SOURCE_MEMBERSHIP || name == MCAST_JOIN_GROUP ||
	                                  name == MCAST_JOIN_SOURCE_GROUP);
}

int policy_option(
    const struct stack *s, const struct session_rec *r, int level, int name, int value)
{
	uint32_t rights = cm_option_rights(level, name, value);

	if (rights && !(policy_rights(s, r) & rights))
		return cm_option_error(level, name);
	return !joins_group(level, name) || policy_share(s, KIND_MEMBER, r->uid) ? 0 : -ENOBUFS;
}

/* Of options of the IP header that are not known only CAP_NET_RAW may send any. */
int policy_ip_options(
    const struct stack *s, const struct session_rec *r, const void *val, uint32_t len)
{
	struct ipopt o;
	uint8_t bad;

	return policy_raw(s, r) ? 0 : ipopt_parse(&o, val, len, IPOPT_FROM_USER, &bad);
}

int policy_session(const struct stack *s, const struct user *u)
{
	uint32_t max = s->socket->sessions_max, count = state_count(s->state, KIND_SESSION);

	if (policy_admin(s, u->uid))
		return 0;
	if (u->sessions > max / 2 || count + SPARE_SESSIONS > max)
		return -EMFILE;
	return 0;
}

int policy_socket(const struct stack *s, const struct user *u)
{
	uint32_t v = CONFIG_LIMIT(s, user_sockets);

	return u->sockets < (v ? v : DEFAULT_USER_SOCKS) ? 0 : -ENOBUFS;
}

/* The same as policy_share(), but counted; and there have to be so many. */
int policy_holders(const struct stack *s, const struct user *u, uint32_t n)
{
	uint32_t all = state_capacity(s->state, KIND_HOLDER), taken = state_count(s->state, KIND_HOLDER), most = all / 2;

	if (n > all - taken)
		return -ENFILE;
	if (policy_admin(s, u->uid) || n <= most - min_of(most, taken))
		return 0;
	return n <= most - min_of(most, u->holders) ? 0 : -ENFILE;
}

static uint64_t user_memory(const struct stack *s)
{
	uint64_t v = CONFIG_LIMIT(s, user_memory);

	return v ? v : DEFAULT_USER_MEMORY;
}

int policy_memory(const struct stack *s, const struct user *u, uint64_t bytes)
{
	uint64_t v = user_memory(s), used = u->memory.used;

	return used <= v && bytes <= v - used ? 0 : -ENOMEM;
}

struct user *user_get(struct socket_layer *l, uint32_t uid)
{
	struct user_list *list = &l->user[uid % USER_BUCKETS];
	struct user *u;

	LIST_FOREACH(u, list, link)
	if (u->uid == uid)
		return u;
	u = calloc(1, sizeof(*u));
	if (!u)
		return NULL;
	u->uid = uid;
	LIST_INSERT_HEAD(list, u, link);
	return u;
}

void user_put(struct socket_layer *l, struct user *u)
{
	(void)l;
	if (u->sessions || u->sockets)
		return;
	LIST_REMOVE(u, link);
	free(u);
}

void socket_charge(struct stack *s, uint32_t sk, const struct session *ss, uint32_t uid)
{
	struct sock_note *n = &s->socket->sock[sk];
	struct user *u;

	if (n->counted)
		socket_discharge(s, sk);
	u = user_get(s->socket, uid);
	if (!u)
		return;
	n->uid = uid;
	n->session = ss ? ss->index : NO_INDEX;
	n->counted = true;
	u->sockets++;
}

void socket_discharge(struct stack *s, uint32_t sk)
{
	struct sock_note *n = &s->socket->sock[sk];
	struct user *u;

	if (!n->counted)
		return;
	n->counted = false;
	u = user_get(s->socket, n->uid);
	if (!u)
		return;
	u->sockets--;
	user_put(s->socket, u);
}

void session_charge(struct stack *s, struct session *ss)
{
	if (!ss->user)
		return;
	ss->user->memory.limit = user_memory(s);
	memory_charge(s->mem, ss->index + 1, &ss->user->memory);
}
