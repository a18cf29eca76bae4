/* See core.h. What the kernel refuses leaves the process where it is, which is never wrong, only
 * slower. */
#include "base/core.h"

void core_init(struct core *c)
{
	int n;

	c->at = -1;
	CPU_ZERO(&c->all);
	n = sched_getaffinity(0, sizeof(c->all), &c->all) ? 0 : CPU_COUNT(&c->all);
	c->scarce = n == 2 || n == 3;
}

void core_join(struct core *c, int at)
{
	cpu_set_t one;

	if (at == c->at || at < 0 || at >= CPU_SETSIZE || !CPU_ISSET((unsigned)at, &c->all))
		return;
	CPU_ZERO(&one);
	CPU_SET((unsigned)at, &one);
	if (!sched_setaffinity(0, sizeof(one), &one))
		c->at = at;
}

void core_stay(struct core *c)
{
	if (c->at < 0)
		core_join(c, sched_getcpu());
}

void core_leave(struct core *c)
{
	if (c->at >= 0 && !sched_setaffinity(0, sizeof(c->all), &c->all))
		c->at = -1;
}
