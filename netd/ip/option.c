/*
 * ip_rcv_options, ip_options_build, ip_options_echo: what IPv4 options do on their way through this
 * host. Their syntax is wire/ipopt.h.
 *
 * On arrival this host adds itself to a recorded route and to timestamps before anybody sees the
 * header; what is wrong is answered with a parameter problem. Source-routed packets are dropped in
 * silence, as by a kernel whose accept_source_route is off, which is its default (RFC 7126, 4.3 and
 * 4.4). To ask for a source route is allowed, as it is there.
 */
#include "ip/option.h"
#include "ip/layer.h"
#include "wire/ipopt.h"
#include <errno.h>
#include <time.h>

#define MS_PER_DAY 86400000u

static bool ours(const void *arg, uint32_t addr)
{
	struct ipaddr a = ipaddr_v4(addr);

	return ip_is_local(arg, &a);
}

/* RFC 791: milliseconds since midnight UT. */
static uint32_t day_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (
	    uint32_t)(((uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000) % MS_PER_DAY);
}

static struct ipopt_host here(const struct stack *s, const struct ipaddr *as)
{
	return (struct ipopt_host){
	    .addr = ipaddr_to_v4(as), .time_ms = day_ms(), .ours = ours, .arg = s};
}

/* The address that this host goes by for who sent the packet. */
static struct ipaddr own_address(struct stack *s, const struct ip_meta *m)
{
	struct route r;

	if (!m->to_broadcast && !m->to_multicast)
		return m->dst;
	return ip_route(s, &m->src, NULL, m->dev, &r) ? ipaddr_v4(0) : r.source;
}

int ip_options_input(struct stack *s, const struct ipv4_header *h, uint8_t *raw,
    const struct ip_meta *m, uint8_t *bad)
{
	struct ipaddr own = own_address(s, m);
	struct ipopt_host host = here(s, &own);
	struct ipopt o;
	int ret = ipopt_parse(&o, h->options, h->options_len, IPOPT_FROM_WIRE, bad);

	if (ret) {
		*bad = (uint8_t)(*bad + IPV4_LEN);
		return ret;
	}
	*bad = 0;
	if (o.source)
		return -EINVAL;
	ipopt_record(&o, &host, true);
	memcpy(raw + IPV4_LEN, o.bytes, h->options_len);
	return 0;
}

void ip_options_build(struct stack *s, const struct ip_send *how, bool later, struct ipv4_header *h)
{
	struct ipopt_host host;
	struct ipopt o;

	if (!how->options || !how->options->len)
		return;
	o = *how->options;
	host = here(s, &how->src);
	ipopt_send(&o, ipaddr_to_v4(&how->final), &host);
	if (later)
		ipopt_later_fragment(&o);
	h->options_len = o.len;
	memcpy(h->options, o.bytes, o.len);
}

int ip_options_echo(const uint8_t *header, uint32_t len, struct ipopt *o)
{
	struct ipopt from;
	uint8_t bad;

	*o = (struct ipopt){.len = 0};
	if (len <= IPV4_LEN)
		return 0;
	return ipopt_parse(&from, header + IPV4_LEN, len - IPV4_LEN, IPOPT_FROM_WIRE, &bad)
		   ? -EINVAL
		   : ipopt_echo(o, &from);
}
