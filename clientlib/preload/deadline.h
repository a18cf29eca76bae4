/* A point in time on CLOCK_MONOTONIC up to which a call may sleep. */
#pragma once
#include <stdbool.h>
#include <time.h>

struct deadline {
	bool never; /* no limit */
	struct timespec at;
};

/* From a relative time; NULL: never. */
static inline struct deadline deadline_in(const struct timespec *ts)
{
	struct deadline d = {.never = !ts};

	if (!ts)
		return d;
	clock_gettime(CLOCK_MONOTONIC, &d.at);
	if (ts->tv_sec > 1000000000) { /* some thirty years: no overflow below */
		d.never = true;
		return d;
	}
	d.at.tv_sec += ts->tv_sec + (d.at.tv_nsec + ts->tv_nsec) / 1000000000;
	d.at.tv_nsec = (d.at.tv_nsec + ts->tv_nsec) % 1000000000;
	return d;
}

/* What is left, or zero; `ts` is filled and returned, NULL for never: the form that ppoll() takes.
 */
static inline struct timespec *deadline_left(const struct deadline *d, struct timespec *ts)
{
	struct timespec now;

	if (d->never)
		return NULL;
	clock_gettime(CLOCK_MONOTONIC, &now);
	ts->tv_sec = d->at.tv_sec - now.tv_sec;
	ts->tv_nsec = d->at.tv_nsec - now.tv_nsec;
	if (ts->tv_nsec < 0) {
		ts->tv_nsec += 1000000000;
		ts->tv_sec--;
	}
	if (ts->tv_sec < 0)
		*ts = (struct timespec){0, 0};
	return ts;
}

/* A relative time in milliseconds as poll() has it: negative for never, giving NULL. */
static inline struct timespec *from_ms(int ms, struct timespec *ts)
{
	if (ms < 0)
		return NULL;
	*ts = (struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};
	return ts;
}

static inline bool timespec_zero(const struct timespec *ts)
{
	return ts && !ts->tv_sec && !ts->tv_nsec;
}
