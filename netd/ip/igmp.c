/*
 * IGMP, the host's side: RFC 3376, and RFC 2236 and 1112 where an older router asks.
 *
 * Theory of operation. A group that is listened to on a device has a record. What changes is told
 * at once and, because it may be lost, once more within a second; a query is answered at a random
 * moment within the time it gives. A report always says the whole state as it is when it is sent
 * (CHANGE_TO_..., never a difference), computed from the memberships: so it may be sent again, by a
 * successor too, and nothing of it need be remembered. The record of a group that nobody listens to
 * any more lives on until that has been told.
 *
 * While a router of version 1 or 2 is about (its query was heard), reports are of its version, and
 * somebody else's report makes ours unnecessary.
 */
#include "ip/igmp.h"
#include "ip/addr.h"
#include "ip/group.h"
#include "ip/layer.h"
#include "base/util.h"
#include "device/device.h"
#include "wire/igmp.h"
#include "wire/ipv4.h"
#include <netinet/in.h>

#define ROBUSTNESS	   2
#define UNSOLICITED_NS	   NSEC_PER_SEC		/* of version 3, RFC 3376, 8.11 */
#define OLD_UNSOLICITED_NS (10 * NSEC_PER_SEC)	/* RFC 2236, 8.10 */
#define OLD_QUERIER_NS	   (260 * NSEC_PER_SEC) /* RFC 3376, 8.12 */
#define TENTH_NS	   (100 * NSEC_PER_MSEC)
#define ALL_ROUTERS	   0xe0000002u
#define V3_ROUTERS	   0xe0000016u
#define PRECEDENCE	   0xc0 /* internetwork control */
#define MESSAGE_MAX	   1480u

static struct group_rec *group_get(struct stack *s, uint32_t i)
{
	return state_get(s->state, KIND_GROUP, i);
}

static const struct group_rec *group_rec_peek(const struct stack *s, uint32_t i)
{
	return state_peek(s->state, KIND_GROUP, i);
}

static uint32_t find(const struct stack *s, uint32_t dev, uint32_t group)
{
	uint32_t i;

	for (i = state_next(s->state, KIND_GROUP, 0); i != NO_INDEX;
	     i = state_next(s->state, KIND_GROUP, i + 1))
		if (group_rec_peek(s, i)->group == group && group_rec_peek(s, i)->dev == dev)
			break;
	return i;
}

static unsigned version(const struct stack *s, uint32_t dev)
{
	const struct igmp_rec *r = state_peek(s->state, KIND_IGMP, dev);

	return !r ? 3 : s->now < r->v1_until_ns ? 1 : s->now < r->v2_until_ns ? 2 : 3;
}

/* ---- sending */

/* RFC 3376, 4: with a router alert, and for this link only. */
static void send_message(
    struct stack *s, uint32_t dev, uint32_t dst, const uint8_t *message, uint32_t len)
{
	static const uint8_t router_alert[4] = {0x94, 4, 0, 0};
	struct ip_send how = {.dst = ipaddr_v4(dst), .no_loop = true};
	struct route r = {.dev = dev, .mtu = ip_device_mtu(s, dev), .next_hop = how.dst};
	struct ipv4_header h = {.tos = PRECEDENCE,
	    .ttl = 1,
	    .proto = IPPROTO_IGMP,
	    .dont_fragment = true,
	    .dst = dst,
	    .options_len = sizeof(router_alert)};
	uint8_t header[IPV4_LEN_MAX];
	struct packet p;
	int n;

	if (addr_select(s, dev, &how.dst, &how.src))
		h.src = ipaddr_to_v4(&how.src);
	memcpy(h.options, router_alert, sizeof(router_alert));
	h.total_len = (uint16_t)(IPV4_LEN + sizeof(router_alert) + len);
	n = ipv4_emit(&h, header, sizeof(header));
	if (n < 0 || packet_alloc(s, &p, dev, (uint32_t)n + len) < 0)
		return; /* as if it had been lost */
	packet_write(&p, 0, header, (uint32_t)n);
	packet_write(&p, (uint32_t)n, message, len);
	(void)ip_output_header(s, &p, &r, &how);
}

static void send_old(struct stack *s, struct group_rec *g, uint8_t type)
{
	uint8_t message[IGMP_LEN];

	igmp_emit(type, g->group, message, sizeof(message));
	send_message(
	    s, g->dev, type == IGMP_LEAVE ? ALL_ROUTERS : g->group, message, sizeof(message));
	g->ours = type != IGMP_LEAVE;
}

static void send_state(struct stack *s, const struct group_rec *g, bool change)
{
	static const uint8_t types[2][2] = {[GROUP_EXCLUDE] = {IGMP_IS_EXCLUDE, IGMP_TO_EXCLUDE},
	    [GROUP_INCLUDE] = {IGMP_IS_INCLUDE, IGMP_TO_INCLUDE}};
	uint8_t message[IGMP_REPORT_MAX];
	struct group_wants f;
	int n;

	group_wants(s, g->dev, g->group, &f);
	n = igmp_emit_report(
	    types[f.mode][change], g->group, f.source, f.n, message, sizeof(message));
	if (n > 0)
		send_message(s, g->dev, V3_ROUTERS, message, (uint32_t)n);
}

static bool nobody_listens(const struct stack *s, const struct group_rec *g)
{
	struct ipaddr a = ipaddr_v4(g->group);

	return !group_heard(s, g->dev, &a);
}

/* Says what is to be said about the group. */
static void tell(struct stack *s, struct group_rec *g)
{
	unsigned v = version(s, g->dev);
	bool change = g->changes;

	KILLPOINT("igmp.tell");
	g->asked = false;
	g->changes -= change;
	if (v == 3)
		send_state(s, g, change);
	else if (!nobody_listens(s, g))
		send_old(s, g, v == 2 ? IGMP_V2_REPORT : IGMP_V1_REPORT);
	else if (v == 2 && g->ours)
		send_old(s, g, IGMP_LEAVE);
}

/* ---- when */

static uint64_t random_within(struct stack *s, uint64_t ns)
{
	uint64_t r;

	s->random(s->random_arg, &r, sizeof(r));
	return r % (ns + 1);
}

static void arm(struct stack *s, uint32_t index, struct group_rec *g)
{
	uint64_t most = version(s, g->dev) == 3 ? UNSOLICITED_NS : OLD_UNSOLICITED_NS;

	g->due_ns = g->changes ? s->now + random_within(s, most) : UINT64_MAX;
	timer_set(s->timers, KIND_GROUP, index, g->due_ns);
}

/* Told once; what follows, or the record's end. */
static void go_on(struct stack *s, uint32_t index, struct group_rec *g)
{
	if (nobody_listens(s, g) && (!g->changes || version(s, g->dev) != 3)) {
		timer_cancel(s->timers, KIND_GROUP, index);
		state_free(s->state, KIND_GROUP, index);
		return;
	}
	arm(s, index, g);
}

void igmp_changed(struct stack *s, uint32_t dev, uint32_t group, bool was_nothing, bool is_nothing)
{
	uint32_t index;
	struct group_rec *g;

	if (dev == DEVICE_LO || group == ALL_HOSTS)
		return;
	index = find(s, dev, group);
	g = index == NO_INDEX ? state_alloc(s->state, KIND_GROUP, &index) : group_get(s, index);
	if (!g)
		return; /* it is heard all the same, where routers do not decide */
	g->dev = dev;
	g->group = group;
	if (version(s, dev) != 3 && was_nothing == is_nothing)
		return; /* older versions do not know sources */
	g->changes = ROBUSTNESS;
	tell(s, g);
	go_on(s, index, g);
}

void igmp_expired(struct stack *s, uint32_t index)
{
	struct group_rec *g = group_get(s, index);

	if (!g)
		return;
	if (s->now < g->due_ns) {
		timer_set(s->timers, KIND_GROUP, index, g->due_ns);
		return;
	}
	tell(s, g);
	go_on(s, index, g);
}

/* ---- hearing */

static void note_version(struct stack *s, uint32_t dev, unsigned v)
{
	struct igmp_rec *r;

	if (v > 2)
		return;
	r = state_get(s->state, KIND_IGMP, dev);
	if (!r)
		r = state_alloc_at(s->state, KIND_IGMP, dev);
	if (r)
		*(v == 1 ? &r->v1_until_ns : &r->v2_until_ns) = s->now + OLD_QUERIER_NS;
}

/* Is any source that the query asks about wanted? */
static bool concerns(const struct stack *s, const struct group_rec *g, const struct igmp_message *q,
    const uint8_t *message)
{
	struct group_wants f;

	if (!q->sources)
		return true;
	group_wants(s, g->dev, g->group, &f);
	if (f.mode == GROUP_EXCLUDE)
		return true;
	for (uint16_t i = 0; i < q->sources; i++)
		for (uint16_t k = 0; k < f.n; k++)
			if (igmp_source(message, i) == f.source[k])
				return true;
	return false;
}

static void query(
    struct stack *s, uint32_t dev, const struct igmp_message *q, const uint8_t *message)
{
	uint64_t due;

	note_version(s, dev, q->version);
	for (uint32_t i = state_next(s->state, KIND_GROUP, 0); i != NO_INDEX;
	     i = state_next(s->state, KIND_GROUP, i + 1)) {
		const struct group_rec *r = group_rec_peek(s, i);
		struct group_rec *g;

		if (r->dev != dev || (q->group && r->group != q->group) || nobody_listens(s, r) ||
		    !concerns(s, r, q, message))
			continue;
		due = s->now + random_within(s, q->max_resp_ds * TENTH_NS);
		g = group_get(s, i);
		g->asked = true;
		g->due_ns = min_of(g->due_ns, due);
		timer_set(s->timers, KIND_GROUP, i, g->due_ns);
	}
}

/* Somebody else on the link listens, and has said so. RFC 2236, 3; in version 3 everybody speaks.
 */
static void report(struct stack *s, uint32_t dev, uint32_t group)
{
	uint32_t index = find(s, dev, group);
	struct group_rec *g = index == NO_INDEX ? NULL : group_get(s, index);

	if (!g || version(s, dev) == 3)
		return;
	g->asked = g->ours = false;
	g->changes = 0;
	arm(s, index, g);
}

static void igmp_input(struct stack *s, struct packet *p, const struct ip_meta *m)
{
	uint8_t message[MESSAGE_MAX];
	struct igmp_message q;

	s->count.igmp_in++;
	if (m->dev == DEVICE_LO || p->len > sizeof(message) ||
	    !packet_read(p, 0, message, p->len) || igmp_parse(&q, message, p->len) < 0)
		return;
	if (q.type == IGMP_QUERY)
		query(s, m->dev, &q, message);
	else if (q.type == IGMP_V1_REPORT || q.type == IGMP_V2_REPORT)
		report(s, m->dev, q.group);
}

static void igmp_error(struct stack *s, const struct ip_error *e)
{
	(void)s;
	(void)e;
}

const struct inet_proto igmp_proto = {
    .number = IPPROTO_IGMP, .input = igmp_input, .error = igmp_error};

int igmp_reindex(struct stack *s)
{
	for (uint32_t i = state_next(s->state, KIND_GROUP, 0); i != NO_INDEX;
	     i = state_next(s->state, KIND_GROUP, i + 1))
		if (group_rec_peek(s, i)->due_ns != UINT64_MAX)
			timer_set(s->timers, KIND_GROUP, i, group_rec_peek(s, i)->due_ns);
	return 0;
}
