/* Which sockets are in which sets, and the names of the sets in the sockets' slots. Theory of operation: set.c. */
#include "clientlib/set.h"

struct pool member_pool = {.size = sizeof(struct member)};

/* Writes the names of the socket's sets into its slot. ev_lock held. */
static void name_sets(struct nsock *s)
{
	uint16_t name[CM_SLOT_SETS] = {CM_NO_SET, CM_NO_SET, CM_NO_SET, CM_NO_SET};
	unsigned n = 0, members = 0, room = CM_SLOT_SETS;
	bool all = true;

	if (session_dead(s->ss))
		return;
	for (const struct member *m = s->members; m; m = m->next_of_sock) {
		members++;
		all = all && m->set->idx != CM_NO_SET;
	}
	if (!all || members > CM_SLOT_SETS)
		name[--room] = COMMON_SET;
	for (int plain = 1; plain >= 0; plain--)
		for (const struct member *m = s->members; m; m = m->next_of_sock)
			if (m->set->plain == plain && m->set->idx != CM_NO_SET && n < room)
				name[n++] = (uint16_t)m->set->idx;
	for (int i = 0; i < CM_SLOT_SETS; i++)
		store_release(&s->ev->set[i], name[i]);
	fence_full();
}

static struct member *find(const struct nset *set, const struct nsock *s)
{
	for (struct member *m = s->members; m; m = m->next_of_sock)
		if (m->set == set)
			return m;
	return NULL;
}

int ns_set_add(struct nset *set, struct nsock *s, void *udata)
{
	struct session *ss = set->ss;
	int ret = sock_check(s);
	struct member *m;

	if (ret < 0)
		return ret;
	if (s->ss != ss)
		return -EOPNOTSUPP;
	m = pool_take(&member_pool);
	if (!m)
		return -ENOMEM;
	*m = (struct member){.set = set, .sock = s, .udata = udata};
	pthread_mutex_lock(&ss->ev_lock);
	if (find(set, s) || load_once(&s->closed)) {
		ret = load_once(&s->closed) ? -EBADF : -EEXIST;
		pthread_mutex_unlock(&ss->ev_lock);
		pool_give(&member_pool, m);
		return ret;
	}
	ns_get(s);
	m->next_of_sock = s->members;
	s->members = m;
	m->next_of_set = set->members;
	if (set->members)
		set->members->prev_of_set = m;
	set->members = m;
	ss->member_of_slot[s->slot] = s;
	name_sets(s);
	set_mark(m);
	pthread_mutex_unlock(&ss->ev_lock);
	return 0;
}

void member_remove(struct member *m)
{
	struct nsock *s = m->sock;
	struct nset *set = m->set;
	struct member **p;

	if (m->next_pending)
		set_news_take(m);
	for (p = &s->members; *p != m;)
		p = &(*p)->next_of_sock;
	*p = m->next_of_sock;
	if (m->prev_of_set)
		m->prev_of_set->next_of_set = m->next_of_set;
	else
		set->members = m->next_of_set;
	if (m->next_of_set)
		m->next_of_set->prev_of_set = m->prev_of_set;
	pool_give(&member_pool, m);
	if (!s->members && s->ss->member_of_slot[s->slot] == s)
		s->ss->member_of_slot[s->slot] = NULL;
	name_sets(s);
}

int ns_set_del(struct nset *set, struct nsock *s)
{
	struct member *m;

	pthread_mutex_lock(&set->ss->ev_lock);
	m = s->ss == set->ss ? find(set, s) : NULL;
	if (m)
		member_remove(m);
	pthread_mutex_unlock(&set->ss->ev_lock);
	if (!m)
		return -ENOENT;
	ns_put(s);
	return 0;
}

/* The socket is closed: out of all sets, or out of those that are not of a call under way. */
void set_forget(struct nsock *s, bool all)
{
	unsigned n = 0;

	if (!load_once(&s->members))
		return;
	pthread_mutex_lock(&s->ss->ev_lock);
	for (struct member *next, *m = s->members; m; m = next) {
		next = m->next_of_sock;
		if (!all && m->set->of_calls)
			continue;
		member_remove(m);
		n++;
	}
	pthread_mutex_unlock(&s->ss->ev_lock);
	while (n--)
		ns_put(s);
}
