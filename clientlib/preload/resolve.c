/*
 * getaddrinfo().
 *
 * AI_ADDRCONFIG asks which families this machine has addresses of. libc looks at the kernel's
 * interfaces, where a program on netd may see none; netd has IPv4. So the flag is taken out here
 * and answered for.
 *
 * libc answers first (numbers, /etc/hosts, its own resolver where the kernel has a way out). If it
 * has no answer, netd's name servers are asked over netd (dns.h), and libc makes the list from the
 * numbers.
 */
#include "clientlib/preload/dns.h"
#include "clientlib/preload/hook.h"
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#define ADDRESSES 8

/* One address as libc's list, under the name that was asked for. */
static int from_number(const struct in_addr *in, const char *service, const struct addrinfo *hints,
    struct addrinfo **res)
{
	struct addrinfo numeric = *hints;
	char text[INET6_ADDRSTRLEN];
	char v4[INET_ADDRSTRLEN];

	inet_ntop(AF_INET, in, v4, sizeof(v4));
	snprintf(text, sizeof(text), "%s%s", hints->ai_family == AF_INET6 ? "::ffff:" : "", v4);
	numeric.ai_flags |= AI_NUMERICHOST;
	numeric.ai_flags &= ~AI_CANONNAME;
	return real.getaddrinfo(text, service, &numeric, res);
}

static int by_netd(
    const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **res)
{
	struct addrinfo **tail = res;
	struct in_addr in[ADDRESSES];
	int n = dns_query(node, in, ADDRESSES);

	*res = NULL;
	if (n < 0)
		return n;
	for (int i = 0; i < n; i++) {
		if (from_number(&in[i], service, hints, tail) != 0)
			*tail = NULL;
		while (*tail)
			tail = &(*tail)->ai_next;
	}
	if (!*res)
		return EAI_NODATA;
	if (hints->ai_flags & AI_CANONNAME)
		(*res)->ai_canonname = strdup(node);
	return 0;
}

HOOK int getaddrinfo(const char *restrict node, const char *restrict service,
    const struct addrinfo *restrict hints, struct addrinfo **restrict res)
{
	/* Without hints libc takes AI_V4MAPPED | AI_ADDRCONFIG. */
	struct addrinfo mine = {.ai_flags = AI_V4MAPPED | AI_ADDRCONFIG, .ai_family = AF_UNSPEC};
	int ret;

	if (hints)
		mine = *hints;
	if (mine.ai_flags & AI_ADDRCONFIG && mine.ai_family == AF_UNSPEC)
		mine.ai_family = AF_INET;
	mine.ai_flags &= ~AI_ADDRCONFIG;
	ret = real.getaddrinfo(node, service, &mine, res);
	if ((ret != EAI_AGAIN && ret != EAI_NONAME && ret != EAI_FAIL) || !node ||
	    (mine.ai_flags & AI_NUMERICHOST) || !strchr(node, '.') || !ns_owner() ||
	    ns_attach() < 0 || !ns_name_server(0))
		return ret;
	if (mine.ai_family == AF_INET6 && !(mine.ai_flags & AI_V4MAPPED))
		return ret;
	return by_netd(node, service, &mine, res);
}
