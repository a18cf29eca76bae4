/* Names of sockets: from the caller and to him, as endpoints inside. */
#include "clientlib/link.h"
#include "clientlib/usermem.h"
#include <netinet/in.h>

socklen_t ns_to_sockaddr(int family, const struct endpoint *ep, struct sockaddr *sa)
{
	if (family == AF_PACKET)
		return link_to_sockaddr(ep, sa);
	if (family == AF_INET6) {
		struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(ep->port)};

		memcpy(&in6.sin6_addr, ep->addr.b, 16);
		memcpy(sa, &in6, sizeof(in6));
		return sizeof(in6);
	} else {
		struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(ep->port)};

		in.sin_addr.s_addr = htonl(ipaddr_is_v4(&ep->addr) ? ipaddr_to_v4(&ep->addr) : 0);
		memcpy(sa, &in, sizeof(in));
		return sizeof(in);
	}
}

int ns_from_sockaddr(int family, const struct sockaddr *sa, socklen_t len, struct endpoint *ep)
{
	sa_family_t fam;

	*ep = (struct endpoint){.port = 0};
	if (!sa || len < sizeof(fam) || len > sizeof(struct sockaddr_storage))
		return -EINVAL;
	if (family == AF_PACKET)
		return link_from_sockaddr(sa, len, false, ep);
	memcpy(&fam, sa, sizeof(fam));
	if (fam == AF_INET && len >= sizeof(struct sockaddr_in)) {
		struct sockaddr_in in;

		memcpy(&in, sa, sizeof(in));
		ep->addr = ipaddr_v4(ntohl(in.sin_addr.s_addr));
		ep->port = ntohs(in.sin_port);
		return 0;
	}
	if (fam == AF_INET6 && family == AF_INET6 && len >= 24) {
		struct sockaddr_in6 in6 = {0};

		memcpy(&in6, sa, len < sizeof(in6) ? len : sizeof(in6));
		memcpy(ep->addr.b, &in6.sin6_addr, 16);
		if (ipaddr_is_v4(&ep->addr) && !ipaddr_to_v4(&ep->addr))
			ep->addr = ipaddr_v4(0);
		ep->port = ntohs(in6.sin6_port);
		return 0;
	}
	if (len < (family == AF_INET6 ? 24 : sizeof(struct sockaddr_in)))
		return -EINVAL;
	return fam == AF_INET || (fam == AF_INET6 && family == AF_INET6) ? -EINVAL : -EAFNOSUPPORT;
}

int ns_check_name(const struct sockaddr *sa, socklen_t len)
{
	if (len > sizeof(struct sockaddr_storage))
		return -EINVAL;
	return user_readable(sa, len) ? 0 : -EFAULT;
}

int ns_copy_name(
    struct sockaddr *sa, socklen_t *len, const struct sockaddr_storage *name, socklen_t size)
{
	if (!user_writable(len, sizeof(*len)))
		return -EFAULT;
	if ((int)*len < 0)
		return -EINVAL;
	if (copy_to_user(sa, name, *len < size ? *len : size) < 0)
		return -EFAULT;
	*len = size;
	return 0;
}

int ns_give_name(int family, const struct endpoint *ep, struct sockaddr *sa, socklen_t *len)
{
	struct sockaddr_storage name;
	socklen_t size = ns_to_sockaddr(family, ep, (struct sockaddr *)&name);

	return ns_copy_name(sa, len, &name, size);
}
