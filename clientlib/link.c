/* Names of AF_PACKET sockets. */
#include "clientlib/link.h"
#include "proto/link.h"
#include <linux/if_packet.h>
#include <netinet/in.h>
#include <stddef.h>
#include <string.h>

socklen_t link_to_sockaddr(const struct endpoint *ep, struct sockaddr *sa)
{
	struct link_name n = link_of_endpoint(ep);
	struct sockaddr_ll ll = {.sll_family = AF_PACKET,
	    .sll_protocol = htons(ep->port),
	    .sll_ifindex = (int)n.ifindex,
	    .sll_hatype = n.hatype,
	    .sll_pkttype = n.pkttype,
	    .sll_halen = n.halen <= sizeof(n.addr) ? n.halen : sizeof(n.addr)};

	memcpy(ll.sll_addr, n.addr, sizeof(n.addr));
	memcpy(sa, &ll, sizeof(ll));
	return sizeof(ll);
}

socklen_t link_name_length(const struct endpoint *ep)
{
	struct link_name n = link_of_endpoint(ep);

	return (socklen_t)(offsetof(struct sockaddr_ll, sll_addr) +
			   (n.halen <= sizeof(n.addr) ? n.halen : sizeof(n.addr)));
}

int link_from_sockaddr(const struct sockaddr *sa, socklen_t len, bool to_send, struct endpoint *ep)
{
	struct link_name n = {.halen = 0};
	struct sockaddr_ll ll;

	if (!sa || len < sizeof(ll))
		return -EINVAL;
	memcpy(&ll, sa, sizeof(ll));
	if (to_send && (size_t)ll.sll_halen > len - offsetof(struct sockaddr_ll, sll_addr))
		return -EINVAL;
	if (to_send)
		ll.sll_halen = sizeof(ll.sll_addr);
	else if (ll.sll_family != AF_PACKET || ll.sll_halen > sizeof(ll.sll_addr))
		return -EINVAL;
	n.ifindex = (uint32_t)ll.sll_ifindex;
	n.halen = ll.sll_halen < sizeof(n.addr) ? ll.sll_halen : sizeof(n.addr);
	memcpy(n.addr, ll.sll_addr, sizeof(n.addr));
	*ep = link_to_endpoint(&n, ntohs(ll.sll_protocol));
	return 0;
}
