/*
 * gethostbyname() and its kin: what libc does not know, netd's name servers may (dns.h), as for
 * getaddrinfo().
 *
 * Only IPv4 addresses come from there. The answer lies in the caller's buffer, or in one of this
 * thread's for the old functions, which say that it is overwritten by the next call.
 */
#include "clientlib/preload/dns.h"
#include "clientlib/preload/hook.h"
#include <stdlib.h>
#include <string.h>

#define ADDRESSES 8

/* How the answer lies in the buffer. */
struct answer {
	char *list[ADDRESSES + 1], *aliases[1];
	struct in_addr in[ADDRESSES];
	char name[];
};

static bool asks_netd(const char *name, int family, int err)
{
	return name && family == AF_INET &&
	       (err == HOST_NOT_FOUND || err == TRY_AGAIN || err == NO_RECOVERY) &&
	       strchr(name, '.') && ns_owner() && ns_attach() == 0 && ns_name_server(0);
}

/* 0 with *h filled, ERANGE, or an error with *err. */
static int by_netd(const char *name, struct hostent *h, char *buf, size_t len, int *err)
{
	size_t skip = -(uintptr_t)buf % _Alignof(struct answer);
	struct answer *a = (struct answer *)(void *)(buf + skip);
	struct in_addr in[ADDRESSES];
	int n;

	if (len < skip + sizeof(*a) + strlen(name) + 1) {
		*err = NETDB_INTERNAL;
		return ERANGE;
	}
	n = dns_query(name, in, ADDRESSES);
	if (n <= 0) {
		*err = n == EAI_AGAIN ? TRY_AGAIN : n == EAI_NODATA ? NO_DATA : HOST_NOT_FOUND;
		return n == EAI_AGAIN ? EAGAIN : 0;
	}
	memcpy(a->in, in, sizeof(in));
	for (int i = 0; i < n; i++)
		a->list[i] = (char *)&a->in[i];
	a->list[n] = NULL;
	a->aliases[0] = NULL;
	strcpy(a->name, name);
	*h = (struct hostent){.h_name = a->name,
	    .h_aliases = a->aliases,
	    .h_addrtype = AF_INET,
	    .h_length = sizeof(in[0]),
	    .h_addr_list = a->list};
	*err = NETDB_SUCCESS;
	return 0;
}

HOOK int gethostbyname2_r(const char *restrict name, int family, struct hostent *restrict h,
    char *restrict buf, size_t len, struct hostent **restrict result, int *restrict err)
{
	int ret = real.gethostbyname2_r(name, family, h, buf, len, result, err);

	if (*result || ret == ERANGE || !asks_netd(name, family, *err))
		return ret;
	ret = by_netd(name, h, buf, len, err);
	*result = *err == NETDB_SUCCESS ? h : NULL;
	return ret;
}

HOOK int gethostbyname_r(const char *restrict name, struct hostent *restrict h, char *restrict buf,
    size_t len, struct hostent **restrict result, int *restrict err)
{
	return gethostbyname2_r(name, AF_INET, h, buf, len, result, err);
}

HOOK struct hostent *gethostbyname2(const char *name, int family)
{
	static __thread struct {
		struct hostent h;
		char room[sizeof(struct answer) + 512];
	} mine;
	struct hostent *h = real.gethostbyname2(name, family);
	int err = h_errno;

	if (h || !asks_netd(name, family, err))
		return h;
	(void)by_netd(name, &mine.h, mine.room, sizeof(mine.room), &err);
	h_errno = err;
	return err == NETDB_SUCCESS ? &mine.h : NULL;
}

HOOK struct hostent *gethostbyname(const char *name)
{
	return gethostbyname2(name, AF_INET);
}
