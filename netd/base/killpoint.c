#include "base/killpoint.h"
#include "proto/barrier.h"
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
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
		if (armed->then[0]) {
			memcpy(armed->name, armed->then, sizeof(armed->name));
			armed->then[0] = 0;
			armed->countdown = 1;
		}
		while (armed->spin)
			cpu_relax();
		kill(getpid(), SIGKILL);
		pause();
	}
}

static bool begins(const void *data, size_t len, const char *with)
{
	return len >= strlen(with) && !memcmp(data, with, strlen(with));
}

void killpoint_poison(const void *data, size_t len)
{
	static int *volatile nowhere;

	if (begins(data, len, POISON_SEGV))
		*nowhere = 1;
	while (begins(data, len, POISON_SPIN))
		cpu_relax();
}

const char *killpoint_name(unsigned i)
{
	return i < (size_t)(__stop_netd_kp - __start_netd_kp) ? __start_netd_kp[i]->name : NULL;
}

static bool is_known(const char *name, size_t len)
{
	const char *known;

	for (unsigned i = 0; (known = killpoint_name(i)); i++)
		if (strlen(known) == len && !memcmp(known, name, len))
			return len < KILLPOINT_NAME_MAX;
	return false;
}

int killpoint_check(const char *name)
{
	size_t len = strcspn(name += *name == '!', "+");

	if (!is_known(name, len) || (name[len] && !is_known(name + len + 1, strlen(name + len + 1))))
		return -ENOENT;
	return 0;
}

int killpoint_arm(const char *name, uint32_t n)
{
	bool spin = *name == '!';
	size_t len = strcspn(name + spin, "+");
	const char *then = name[spin + len] ? name + spin + len + 1 : "";

	if (killpoint_check(name) < 0)
		return -ENOENT;
	name += spin;
	armed->countdown = 0;
	armed->spin = spin;
	memset(armed->name, 0, sizeof(armed->name));
	memset(armed->then, 0, sizeof(armed->then));
	memcpy(armed->name, name, len);
	memcpy(armed->then, then, strlen(then));
	armed->countdown = n;
	return 0;
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

int killpoint_check(const char *name)
{
	(void)name;
	return -ENOTSUP;
}

int killpoint_arm(const char *name, uint32_t n)
{
	(void)name;
	(void)n;
	return -ENOTSUP;
}
#endif
