#include "base/killpoint.h"
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#ifdef NETD_KILLPOINTS
extern const struct killpoint *const __start_netd_kp[];
extern const struct killpoint *const __stop_netd_kp[];

static struct killpoint_arm *armed;

void killpoint_init(struct killpoint_arm *arm)
{
	armed = arm;
}

void killpoint_pass(const struct killpoint *k)
{
	if (!armed || !armed->countdown || strcmp(armed->name, k->name) != 0)
		return;
	if (--armed->countdown == 0) {
		kill(getpid(), SIGKILL);
		pause();
	}
}

const char *killpoint_name(unsigned i)
{
	return i < (size_t)(__stop_netd_kp - __start_netd_kp) ? __start_netd_kp[i]->name : NULL;
}

int killpoint_arm(const char *name, uint32_t n)
{
	const char *known;

	for (unsigned i = 0; (known = killpoint_name(i)); i++) {
		if (strcmp(known, name) != 0)
			continue;
		armed->countdown = 0;
		memset(armed->name, 0, sizeof(armed->name));
		strncpy(armed->name, name, sizeof(armed->name) - 1);
		armed->countdown = n;
		return 0;
	}
	return -ENOENT;
}
#else
void killpoint_init(struct killpoint_arm *arm)
{
	(void)arm;
}

const char *killpoint_name(unsigned i)
{
	(void)i;
	return NULL;
}

int killpoint_arm(const char *name, uint32_t n)
{
	(void)name;
	(void)n;
	return -ENOTSUP;
}
#endif
