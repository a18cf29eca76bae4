/*
 * Pings, and the judgement over those that do not answer. Three times in hang_ms every component whose
 * last ping was answered gets the next one; so at most one is out, and a stopped component's channel
 * does not fill with them. While an answer is late the ticks come faster, for the verdict is to be in time:
 * a hang right after an answer is found after a period, plus what is left of hang_ms, plus one such tick.
 * Each ping wakes a process that would sleep, and that is all that an idle netd does. So standbys, for which
 * nobody waits, are asked once in hang_ms only.
 */
#include "supervisor/supervisor.h"
#include "proto/barrier.h"
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#define TICKS_PER_LIMIT 3
#define TICKS_LATE      5 /* as fast, while somebody is late */
#define TICK_MIN_MS     5
#define STOP_NS         (2 * NSEC_PER_SEC)
#define REPORT_NS       (5 * NSEC_PER_SEC)

static uint64_t period_ms(const struct supervisor *s)
{
	return max_of(s->config->hang_ms / TICKS_PER_LIMIT, (uint32_t)TICK_MIN_MS);
}

static void on_tick(uv_timer_t *t);

static void tick_next(struct supervisor *s)
{
	s->tick_ms = s->somebody_late ? max_of(period_ms(s) / TICKS_LATE, (uint64_t)TICK_MIN_MS) : period_ms(s);
	uv_timer_start(&s->tick, on_tick, s->tick_ms, 0);
}

static void ping(struct component *c, uint64_t now)
{
	struct hang *h = &c->hang;

	h->number++;
	h->asked_ns = now;
	h->late_ns = 0;
	h->sampled = false;
	send_ping(c, h->number);
}

/*
 * A sanitizer looks a name up for every line of its report, which takes longer than hang_ms; and the report is worth more
 * than a quick end. It stands among the last words (proto/channel.h).
 */
static bool reports(const struct component *c, uint64_t now)
{
	const char *text = c->words < 0 ? NULL : memory_map(c->words, WORDS_SIZE, PROT_READ);
	char mark[32];
	bool found;

	if (!text)
		return false;
	snprintf(mark, sizeof(mark), "==%d==ERROR: ", (int)c->pid);
	found = memmem(text, WORDS_SIZE, mark, strlen(mark));
	munmap((void *)(uintptr_t)text, WORDS_SIZE);
	return found && now - c->hang.asked_ns < REPORT_NS;
}

static void judge(struct component *c, uint64_t now)
{
	struct hang *h = &c->hang;
	struct hang_sample sample;
	enum hang_kind kind;
	/* It may have stopped right after its last answer, a period before this ping: that counts too. */
	uint64_t limit = (c->sup->config->hang_ms - period_ms(c->sup)) * NSEC_PER_MSEC;

	hang_read(c->pid, &sample);
	if (!h->sampled) {
		h->first = sample;
		h->sampled = true;
		return;
	}
	kind = hang_verdict(h, now, limit, &sample);
	if (kind != HANG_NOT && !reports(c, now))
		component_hung(c, kind);
}

/* Is it time for the next ping? A timer may come a little before its time. */
static bool ping_due(const struct component *c, uint64_t now)
{
	uint64_t ms = c->state == COMPONENT_STANDBY ? c->sup->config->hang_ms : period_ms(c->sup);

	return now - c->hang.asked_ns >= (ms - 1) * NSEC_PER_MSEC;
}

static void check(struct component *c, uint64_t now, uint64_t late)
{
	struct hang *h = &c->hang;

	if (c->state == COMPONENT_DEAD || c->killed_for[0])
		return;
	if (c->state == COMPONENT_STOPPING) {
		if (now - c->stop_ns > STOP_NS)
			component_kill(c, "did not stop when asked");
		return;
	}
	if (!c->hello) {
		if (now > h->grace_ns)
			component_kill(c, "hung at its start");
		return;
	}
	h->late_ns += late;
	if (h->asked_ns && load_acquire(&c->sup->clock->beat[c->slot].beat) != h->number) {
		c->sup->somebody_late = true;
		judge(c, now);
		return;
	}
	h->answered_ns = now;
	h->worked_ns = h->asked_ns;
	if (ping_due(c, now))
		ping(c, now);
}

static void on_tick(uv_timer_t *t)
{
	struct supervisor *s = t->data;
	uint64_t now = now_ns(), due = s->last_tick_ns + s->tick_ms * NSEC_PER_MSEC;
	uint64_t late = s->last_tick_ns && now > due ? now - due : 0;

	s->last_tick_ns = now;
	s->somebody_late = false;
	for (struct component *c = s->components; c; c = c->next) {
		if (c->out.starved)
			component_flush(c);
		check(c, now, late);
	}
	tick_next(s);
}

int tick_start(struct supervisor *s)
{
	int ret = uv_timer_init(&s->loop, &s->tick);

	s->tick.data = s;
	if (!ret)
		tick_next(s);
	return ret;
}

void tick_period(struct supervisor *s)
{
	s->last_tick_ns = 0;
	tick_next(s);
}
