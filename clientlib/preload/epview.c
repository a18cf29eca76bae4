/* One process's side of an epoll set that several have: see epview.h. */
#include "clientlib/preload/epview.h"
#include <stdlib.h>
#include <sys/mman.h>

/* ---- the table */

/* Somebody died in it: what is free is found anew, and everybody looks at everything. */
static void repair(struct eptable *t)
{
	t->free = 0;
	for (uint32_t i = t->high; i-- > 0;) {
		if (!t->e[i].used) {
			t->e[i].fd = (int32_t)t->free;
			t->free = i + 1;
		}
	}
	__atomic_store_n(&t->version, t->version + EPVIEW_LOG + 1, __ATOMIC_RELEASE);
}

static void lock(struct eptable *t)
{
	if (pthread_mutex_lock(&t->lock) == EOWNERDEAD) {
		repair(t);
		pthread_mutex_consistent(&t->lock);
	}
}

static void unlock(struct eptable *t)
{
	pthread_mutex_unlock(&t->lock);
}

/* Something became true of entry `i`. Who is up to date stays so: it is our own doing. */
static void note(struct epview *v, uint32_t i)
{
	struct eptable *t = v->t;
	bool current = v->seen == t->version;

	t->log[t->version % EPVIEW_LOG] = i;
	__atomic_store_n(&t->version, t->version + 1, __ATOMIC_RELEASE);
	if (current)
		v->seen = t->version;
}

/* EPVIEW_ENTRIES: it is full. */
static uint32_t entry_take(struct eptable *t)
{
	uint32_t i = t->free;

	if (i) {
		t->free = (uint32_t)t->e[i - 1].fd;
		return i - 1;
	}
	return t->high < EPVIEW_ENTRIES ? t->high++ : EPVIEW_ENTRIES;
}

static void entry_free(struct epview *v, uint32_t i)
{
	struct eptable *t = v->t;

	__atomic_store_n(&t->e[i].used, 0, __ATOMIC_RELEASE);
	t->e[i].fd = (int32_t)t->free;
	t->free = i + 1;
	note(v, i);
}

static struct eptable *table_new(void)
{
	struct eptable *t = mmap(NULL, sizeof(*t), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	pthread_mutexattr_t a;

	if (t == MAP_FAILED)
		return NULL;
	pthread_mutexattr_init(&a);
	pthread_mutexattr_setpshared(&a, PTHREAD_PROCESS_SHARED);
	pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST);
	pthread_mutex_init(&t->lock, &a);
	pthread_mutexattr_destroy(&a);
	return t;
}

/* ---- entries and members */

static struct epmember *member_at(const struct epview *v, uint32_t i)
{
	return i < v->size ? v->at[i].m : NULL;
}

static bool room_for(struct epview *v, uint32_t i)
{
	uint32_t size = v->size ? v->size : 64;
	struct epplace *at;

	if (i < v->size)
		return true;
	while (size <= i)
		size *= 2;
	at = realloc(v->at, size * sizeof(*at));
	if (!at)
		return false;
	for (uint32_t k = v->size; k < size; k++)
		at[k] = (struct epplace){.m = NULL};
	v->at = at;
	v->size = size;
	return true;
}

static void bind_member(struct epview *v, uint32_t i, struct epmember *m)
{
	m->shared = i + 1;
	v->at[i] = (struct epplace){.m = m, .mods = v->t->e[i].mods};
}

static void unbind(struct epview *v, struct epmember *m)
{
	v->at[m->shared - 1].m = NULL;
	m->shared = 0;
}

/* The entry of a member of ours goes, if it is not another's by now. */
static void entry_end(struct epview *v, const struct epmember *m)
{
	uint32_t i = m->shared - 1;
	const struct epentry *e = &v->t->e[i];

	if (e->used && e->fd == (int)m->fd && ns_has_key(m->sock, &e->key))
		entry_free(v, i);
}

static void remove_member(struct epset *ep, struct epmember *m)
{
	unbind(ep->view, m);
	ns_user_add(m->sock, -1);
	epmember_del(ep, m);
}

/* To be looked at again: the socket may live on without us. */
static void come_back(struct epview *v, uint32_t i)
{
	if (v->laters == v->later_room) {
		uint32_t room = v->later_room ? 2 * v->later_room : 64,
			 *later = realloc(v->later, room * sizeof(*later));

		if (!later)
			return;
		v->later = later;
		v->later_room = room;
	}
	v->later[v->laters++] = i;
}

/* A member of ours that is not in the table yet but is what the entry is about. */
static struct epmember *unbound(struct epset *ep, const struct epentry *e)
{
	struct epmember *m = e->fd >= 0 && e->fd < ep->by_fd_size ? ep->by_fd[e->fd] : NULL;

	while (m && (m->shared || !ns_has_key(m->sock, &e->key)))
		m = m->fd_next;
	return m;
}

/* The member is for what the entry says now. */
static void take_interest(struct epset *ep, struct epmember *m, const struct epentry *e)
{
	epmember_mod(ep, m, &(struct epoll_event){.events = e->events, .data.u64 = e->data});
	m->events = e->events; /* a one-shot that has fired stays silent */
}

/* A socket that this process holds by other ways, or has to watch from now on. */
static int follow_socket(struct epset *ep, uint32_t i)
{
	struct epview *v = ep->view;
	struct epentry *e = &v->t->e[i];
	struct epoll_event ev = {.events = e->events, .data.u64 = e->data};
	struct epmember *m;
	struct nsock *s;
	int ret = ns_watch(&e->key, &s);

	if (ret < 0)
		return ret;
	ns_user_add(s, 1);
	ret = epmember_add(ep, e->fd, s, &ev);
	if (ret < 0) {
		ns_user_add(s, -1);
	} else {
		m = epmember_find(ep, e->fd, s);
		m->events = e->events;
		bind_member(v, i, m);
		if (!ns_watches(s) && !ns_named(s)) { /* its last number was closed just now */
			remove_member(ep, m);
			ret = -EAGAIN;
		}
	}
	ns_put(s);
	return ret;
}

/* Makes the entry a member of this process's set. */
static void follow_new(struct epset *ep, uint32_t i)
{
	struct epview *v = ep->view;
	struct epentry *e = &v->t->e[i];
	struct epmember *m = room_for(v, i) ? unbound(ep, e) : NULL;
	int ret;

	if (m) {
		bind_member(v, i, m);
		if (m->events != e->events || m->data.u64 != e->data)
			take_interest(ep, m, e);
		return;
	}
	ret = i < v->size ? follow_socket(ep, i) : -ENOMEM;
	if (ret == -ENOENT) /* it is closed */
		entry_free(v, i);
	else if (ret < 0)
		come_back(v, i);
}

static void follow(struct epset *ep, uint32_t i)
{
	struct epview *v = ep->view;
	const struct epentry *e = &v->t->e[i];
	struct epmember *m = member_at(v, i);

	if (m && (!e->used || e->fd != (int)m->fd || !ns_has_key(m->sock, &e->key))) {
		remove_member(ep, m);
		m = NULL;
	}
	if (m && (m->events != e->events || m->data.u64 != e->data || v->at[i].mods != e->mods)) {
		take_interest(ep, m, e);
		v->at[i].mods = e->mods;
	} else if (!m && e->used) {
		follow_new(ep, i);
	}
}

/* The table's lock is held. */
static void sync_locked(struct epset *ep)
{
	struct epview *v = ep->view;
	struct eptable *t = v->t;
	uint32_t n = v->laters;

	v->laters = 0; /* who has to be come back to again goes to a place that was read already */
	for (uint32_t k = 0; k < n; k++)
		if (!member_at(v, v->later[k]) && t->e[v->later[k]].used)
			follow_new(ep, v->later[k]);
	if (t->version - v->seen > EPVIEW_LOG) {
		v->seen = t->version;
		for (uint32_t i = 0; i < t->high; i++)
			follow(ep, i);
	}
	while (v->seen != t->version)
		follow(ep, t->log[v->seen++ % EPVIEW_LOG]);
}

/* Writes a member of ours down. 0 or a negative errno. */
static int publish(struct epset *ep, struct epmember *m, bool share)
{
	struct epview *v = ep->view;
	struct ns_key key;
	uint32_t i;
	int ret = ns_key(m->sock, share, &key);

	if (ret < 0)
		return ret;
	i = entry_take(v->t);
	if (i == EPVIEW_ENTRIES)
		return -ENOSPC;
	v->t->e[i] = (struct epentry){.fd = (int)m->fd,
	    .events = m->events,
	    .data = m->data.u64,
	    .key = key,
	    .told = m->told,
	    .mods = v->t->e[i].mods + 1};
	__atomic_store_n(&v->t->e[i].used, 1, __ATOMIC_RELEASE);
	if (!room_for(v, i)) {
		entry_free(v, i);
		return -ENOMEM;
	}
	bind_member(v, i, m);
	note(v, i);
	return 0;
}

/* ---- what this process does */

bool epview_populated(const struct epset *ep)
{
	return ep->view && __atomic_load_n(&ep->view->t->high, __ATOMIC_ACQUIRE);
}

void epview_sync(struct epset *ep)
{
	epview_begin(ep);
	epview_end(ep);
}

int epview_added(struct epset *ep, struct epmember *m)
{
	struct epview *v = ep->view;
	int ret = 0;

	if (!v)
		return 0;
	lock(v->t);
	if (epdoor_others(v)) {
		ret = publish(ep, m, true);
		epdoor_knock(v);
	}
	unlock(v->t);
	return ret;
}

void epview_removed(struct epset *ep, struct epmember *m)
{
	struct epview *v = ep->view;

	if (!v || !m->shared)
		return;
	lock(v->t);
	entry_end(v, m);
	unbind(v, m);
	unlock(v->t);
}

void epview_changed(struct epset *ep, struct epmember *m)
{
	struct epview *v = ep->view;
	struct epentry *e;

	if (!v || !m->shared)
		return;
	lock(v->t);
	e = &v->t->e[m->shared - 1];
	e->events = m->events;
	e->data = m->data.u64;
	e->told = 0;
	v->at[m->shared - 1].mods = ++e->mods;
	note(v, m->shared - 1);
	epdoor_knock(v);
	unlock(v->t);
}

void epview_left(struct epset *ep, struct epmember *m)
{
	struct epview *v = ep->view;
	uint32_t i = m->shared - 1;

	if (!v || !m->shared)
		return;
	lock(v->t);
	unbind(v, m);
	if (epdoor_others(v))
		come_back(v, i);
	else if (v->t->e[i].used)
		entry_free(v, i);
	unlock(v->t);
}

void epview_announce(struct epset *ep, bool asleep)
{
	struct epview *v = ep->view;
	struct epproc *p = v ? &v->t->proc[v->me] : NULL;

	if (!v || (p->asleep == asleep &&
		      __atomic_load_n(&v->t->version, __ATOMIC_ACQUIRE) == v->seen && !v->laters))
		return;
	lock(v->t);
	p->asleep = asleep;
	if (!asleep && p->knocked)
		epdoor_empty(v);
	sync_locked(ep);
	unlock(v->t);
}

void epview_calm(struct epset *ep)
{
	struct epview *v = ep->view;

	if (!v || !__atomic_load_n(&v->t->proc[v->me].knocked, __ATOMIC_ACQUIRE))
		return;
	lock(v->t);
	epdoor_empty(v);
	sync_locked(ep);
	unlock(v->t);
}

void epview_begin(struct epset *ep)
{
	if (!ep->view)
		return;
	lock(ep->view->t);
	sync_locked(ep);
}

void epview_end(struct epset *ep)
{
	if (ep->view)
		unlock(ep->view->t);
}

uint64_t *epview_told(struct epset *ep, struct epmember *m)
{
	return ep->view && m->shared ? &ep->view->t->e[m->shared - 1].told : &m->told;
}

void epview_ended(struct epset *ep, struct epmember *m)
{
	struct epview *v = ep->view;

	if (!v || !m->shared) {
		ns_user_add(m->sock, -1);
		epmember_del(ep, m);
		return;
	}
	entry_end(v, m);
	remove_member(ep, m);
}

void epview_fired(struct epset *ep, struct epmember *m)
{
	if (!ep->view || !m->shared)
		return;
	ep->view->t->e[m->shared - 1].events = m->events;
	note(ep->view, m->shared - 1);
}

/* ---- fork */

static void door_close(int *door)
{
	if (*door < 0)
		return;
	epset_own(*door, false);
	sys_close(*door);
	*door = -1;
}

static void door_watch(const struct epset *ep)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.u64 = epset_secret + 1};

	(void)sys_epoll_ctl(ep->epfd, EPOLL_CTL_ADD, ep->view->door, &ev);
}

static struct epview *view_new(void)
{
	struct epview *v = malloc(sizeof(*v));

	if (!v)
		return NULL;
	*v = (struct epview){.t = table_new(), .door = -1, .child_door = -1};
	if (v->t && epdoor_new(v->t, &v->me, &v->door) == 0)
		return v;
	if (v->t)
		munmap(v->t, sizeof(*v->t));
	free(v);
	return NULL;
}

static void view_end(struct epset *ep)
{
	struct epview *v = ep->view;

	ep->view = NULL;
	munmap(v->t, sizeof(*v->t));
	free(v->at);
	free(v->later);
	free(v);
}

void epview_free(struct epset *ep)
{
	struct epview *v = ep->view;

	if (!v)
		return;
	__atomic_store_n(&v->t->proc[v->me].used, 0, __ATOMIC_RELEASE);
	door_close(&v->door);
	view_end(ep);
}

void epview_fork_prepare(struct epset *ep)
{
	if (!ep->view) {
		ep->view = view_new();
		if (ep->view)
			door_watch(ep);
	}
	if (!ep->view)
		return;
	lock(ep->view->t);
	sync_locked(ep);
	if (epdoor_new(ep->view->t, &ep->view->child, &ep->view->child_door) < 0)
		ep->view->child_door = -1;
}

/* The members that are not in the table yet; their sockets are shared by now. */
static void publish_all(struct epset *ep)
{
	for (int fd = 0; fd < ep->by_fd_size; fd++)
		for (struct epmember *m = ep->by_fd[fd]; m; m = m->fd_next)
			if (!m->shared)
				(void)publish(ep, m, false);
	epdoor_knock(ep->view);
}

void epview_fork_done(struct epset *ep, bool child)
{
	struct epview *v = ep->view;

	if (!v)
		return;
	if (!child) {
		door_close(&v->child_door);
		publish_all(ep);
		v->t->proc[v->me].asleep = epset_needed(ep);
		unlock(v->t);
		return;
	}
	door_close(&v->door);
	v->door = v->child_door;
	v->child_door = -1;
	v->me = v->child;
	if (v->door >= 0) {
		door_watch(ep);
		return;
	}
	/* Without a door: a set of its own from here on. */
	for (uint32_t i = 0; i < v->size; i++)
		if (v->at[i].m)
			v->at[i].m->shared = 0;
	view_end(ep);
}
