/* See fuzz.h. */
#include "fuzz.h"
#include <dirent.h>
#include <stdarg.h>

struct fuzz fuzz_now;

void fuzz_fail(const char *file, int line, const char *cond, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "%s:%d: %s: ", file, line, cond);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\nagain with: NETD_FUZZ_SEED=%llu NETD_FUZZ_ROUNDS=0\n",
	    (unsigned long long)fuzz_now.seed);
	abort();
}

/* splitmix64 */
uint64_t rnd64(void)
{
	uint64_t z = fuzz_now.state += 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

void rnd_bytes(void *buf, size_t len)
{
	uint8_t *p = buf;
	uint64_t v = 0;

	for (size_t i = 0; i < len; i++, v >>= 8) {
		if (!(i & 7))
			v = rnd64();
		p[i] = (uint8_t)v;
	}
}

uint64_t rnd_odd(void)
{
	switch (rnd(6)) {
	case 0:
		return rnd(8);
	case 1:
		return (1ull << rnd(64)) + rnd(3) - 1;
	case 2:
		return UINT32_MAX - rnd(4);
	case 3:
		return UINT64_MAX - rnd(70000);
	case 4:
		return rnd(70000);
	default:
		return rnd64();
	}
}

static void mutate_field(uint8_t *buf, size_t len)
{
	uint64_t v = rnd_odd();
	size_t n = 1u << rnd(3), at = rnd((uint32_t)len);

	for (size_t i = 0; i < n && at + i < len; i++, v >>= 8)
		buf[at + i] = (uint8_t)v;
}

void mutate(uint8_t *buf, size_t len)
{
	for (uint32_t n = 1 + rnd(4); len && n; n--) {
		size_t at = rnd((uint32_t)len);

		if (one_in(2))
			buf[at] ^= (uint8_t)(1u << rnd(8));
		else if (one_in(2))
			buf[at] = (uint8_t)rnd_odd();
		else
			mutate_field(buf, len);
	}
}

unsigned count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned n = 0;

	while (dir && readdir(dir))
		n++;
	if (dir)
		closedir(dir);
	return n;
}

int fuzz_main(const char *name, unsigned rounds, void (*round)(void))
{
	const char *more = getenv("NETD_FUZZ_ROUNDS"), *from = getenv("NETD_FUZZ_SEED");
	uint64_t first = from ? strtoull(from, NULL, 0) : 1;
	uint64_t times = more ? strtoull(more, NULL, 0) : 1, n = times * rounds;

	if (!n)
		n = 1;
	for (uint64_t seed = first; seed < first + n; seed++) {
		fuzz_now = (struct fuzz){.state = seed * 0xd1342543de82ef95u, .seed = seed};
		round();
	}
	printf("%s: %llu rounds from seed %llu\n", name, (unsigned long long)n,
	    (unsigned long long)first);
	return 0;
}
