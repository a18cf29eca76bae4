/* See address.h. */
#include "base/address.h"
#include <arpa/inet.h>
#include <errno.h>

int address_parse(const char *text, struct ipaddr *a)
{
	struct in_addr v4;

	if (inet_pton(AF_INET, text, &v4) == 1) {
		*a = ipaddr_v4(ntohl(v4.s_addr));
		return 0;
	}
	return inet_pton(AF_INET6, text, a->b) == 1 ? 0 : -EINVAL;
}

/* One to three digits and nothing else: strtoul() would take blanks and signs. */
static int length_parse(const char *text, unsigned most, unsigned *bits)
{
	unsigned v = 0, n = 0;

	for (; text[n]; n++) {
		if (n == 3 || text[n] < '0' || text[n] > '9')
			return -EINVAL;
		v = v * 10 + (unsigned)(text[n] - '0');
	}
	*bits = v;
	return n && v <= most ? 0 : -EINVAL;
}

int prefix_parse(const char *text, struct ipaddr *a, unsigned *bits)
{
	const char *slash = strchr(text, '/');
	size_t len = slash ? (size_t)(slash - text) : strlen(text);
	char addr[INET6_ADDRSTRLEN];
	unsigned most;

	if (len >= sizeof(addr))
		return -EINVAL;
	memcpy(addr, text, len);
	addr[len] = 0;
	most = strchr(addr, ':') ? 128 : 32;
	*bits = most;
	if (address_parse(addr, a))
		return -EINVAL;
	return slash ? length_parse(slash + 1, most, bits) : 0;
}
