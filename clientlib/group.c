/*
 * The structures of multicast options: checked as the kernel checks them, and turned into the one
 * form that the daemon reads (struct cm_group).
 */
#include "clientlib/cmsg.h"
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

bool group_option(int level, int name)
{
	return level == IPPROTO_IP && name >= IP_ADD_MEMBERSHIP && name <= MCAST_MSFILTER;
}

static int read_mreq(const struct nsock *s, const void *val, socklen_t len, struct cm_group *g)
{
	struct ip_mreqn m = {.imr_ifindex = 0};

	if (s->type == SOCK_STREAM)
		return -EPROTO;
	if (len < sizeof(struct ip_mreq))
		return -EINVAL;
	memcpy(&m, val, len >= sizeof(m) ? sizeof(m) : sizeof(struct ip_mreq));
	g->ifindex = (uint32_t)m.imr_ifindex;
	g->interface = m.imr_address.s_addr;
	g->group = m.imr_multiaddr.s_addr;
	return 0;
}

static int read_mreq_source(const void *val, socklen_t len, struct cm_group *g)
{
	struct ip_mreq_source m;

	if (len != sizeof(m))
		return -EINVAL;
	memcpy(&m, val, sizeof(m));
	g->interface = m.imr_interface.s_addr;
	g->group = m.imr_multiaddr.s_addr;
	g->source[0] = m.imr_sourceaddr.s_addr;
	g->sources = 1;
	return 0;
}

static bool take_v4(const struct sockaddr_storage *from, uint32_t *to)
{
	struct sockaddr_in in;

	memcpy(&in, from, sizeof(in));
	*to = in.sin_addr.s_addr;
	return in.sin_family == AF_INET;
}

static int read_group_req(const void *val, socklen_t len, struct cm_group *g)
{
	struct group_req r;

	if (len < sizeof(r))
		return -EINVAL;
	memcpy(&r, val, sizeof(r));
	g->ifindex = r.gr_interface;
	return take_v4(&r.gr_group, &g->group) ? 0 : -EINVAL;
}

static int read_group_source(const void *val, socklen_t len, struct cm_group *g)
{
	struct group_source_req r;

	if (len < sizeof(r))
		return -EINVAL;
	memcpy(&r, val, sizeof(r));
	g->ifindex = r.gsr_interface;
	g->sources = 1;
	return take_v4(&r.gsr_group, &g->group) && take_v4(&r.gsr_source, &g->source[0])
		   ? 0
		   : -EADDRNOTAVAIL;
}

static int count_sources(uint32_t n, size_t total, socklen_t len, struct cm_group *g)
{
	if (n > CM_GROUP_SOURCES)
		return -ENOBUFS;
	g->sources = (uint16_t)n;
	return total > len ? -EINVAL : 0;
}

/* Modes are small numbers; what does not fit is none. */
static uint16_t mode_of(uint32_t v)
{
	return v > UINT16_MAX ? UINT16_MAX : (uint16_t)v;
}

static int read_filter(const void *val, socklen_t len, struct cm_group *g, bool set)
{
	struct ip_msfilter f;
	int ret;

	if (len < IP_MSFILTER_SIZE(0))
		return -EINVAL;
	memcpy(&f, val, IP_MSFILTER_SIZE(0));
	g->interface = f.imsf_interface.s_addr;
	g->group = f.imsf_multiaddr.s_addr;
	g->mode = mode_of(f.imsf_fmode);
	if (!set)
		return 0;
	ret = count_sources(f.imsf_numsrc, IP_MSFILTER_SIZE((size_t)f.imsf_numsrc), len, g);
	if (!ret)
		memcpy(g->source, (const char *)val + IP_MSFILTER_SIZE(0), 4u * g->sources);
	return ret;
}

static int read_group_filter(const void *val, socklen_t len, struct cm_group *g, bool set)
{
	struct group_filter f;
	struct sockaddr_storage source;
	int ret;

	if (len < GROUP_FILTER_SIZE(0))
		return -EINVAL;
	memcpy(&f, val, GROUP_FILTER_SIZE(0));
	g->ifindex = f.gf_interface;
	g->mode = mode_of(f.gf_fmode);
	if (!set)
		return take_v4(&f.gf_group, &g->group) ? 0 : -EINVAL;
	ret = count_sources(f.gf_numsrc, GROUP_FILTER_SIZE((size_t)f.gf_numsrc), len, g);
	if (ret)
		return ret;
	if (!take_v4(&f.gf_group, &g->group))
		return -EADDRNOTAVAIL;
	for (uint32_t i = 0; i < g->sources; i++) {
		memcpy(&source, (const char *)val + GROUP_FILTER_SIZE(i), sizeof(source));
		if (!take_v4(&source, &g->source[i]))
			return -EADDRNOTAVAIL;
	}
	return 0;
}

int group_read(const struct nsock *s, int name, const void *val, socklen_t len, struct cm_group *g)
{
	memset(g, 0, sizeof(*g));
	switch (name) {
	case IP_ADD_MEMBERSHIP:
	case IP_DROP_MEMBERSHIP:
		return read_mreq(s, val, len, g);
	case IP_ADD_SOURCE_MEMBERSHIP:
	case IP_DROP_SOURCE_MEMBERSHIP:
	case IP_BLOCK_SOURCE:
	case IP_UNBLOCK_SOURCE:
		return read_mreq_source(val, len, g);
	case IP_MSFILTER:
		return read_filter(val, len, g, true);
	case MCAST_JOIN_GROUP:
	case MCAST_LEAVE_GROUP:
		return read_group_req(val, len, g);
	case MCAST_MSFILTER:
		return read_group_filter(val, len, g, true);
	default:
		return read_group_source(val, len, g);
	}
}

int group_question(int name, const void *val, socklen_t len, struct cm_group *g)
{
	memset(g, 0, sizeof(*g));
	if (name == IP_MSFILTER)
		return read_filter(val, len, g, false);
	return name == MCAST_MSFILTER ? read_group_filter(val, len, g, false) : -ENOPROTOOPT;
}

/* As many sources as the asker has said to have room for; how many there are, in any case. */
static void answer_filter(const struct cm_group *g, void *val, socklen_t *len)
{
	struct ip_msfilter f;
	uint32_t n;

	memcpy(&f, val, IP_MSFILTER_SIZE(0));
	n = f.imsf_numsrc < g->sources ? f.imsf_numsrc : g->sources;
	if (IP_MSFILTER_SIZE(n) > *len)
		n = (uint32_t)((*len - IP_MSFILTER_SIZE(0)) / 4);
	f.imsf_fmode = g->mode;
	f.imsf_numsrc = g->sources;
	memcpy(val, &f, IP_MSFILTER_SIZE(0));
	memcpy((char *)val + IP_MSFILTER_SIZE(0), g->source, 4u * n);
	*len = (socklen_t)IP_MSFILTER_SIZE(n);
}

static void answer_group_filter(const struct cm_group *g, void *val, socklen_t *len)
{
	struct group_filter f;
	uint32_t n;

	memcpy(&f, val, GROUP_FILTER_SIZE(0));
	n = f.gf_numsrc < g->sources ? f.gf_numsrc : g->sources;
	while (n && GROUP_FILTER_SIZE(n) > *len)
		n--;
	f.gf_fmode = g->mode;
	f.gf_numsrc = g->sources;
	memcpy(val, &f, GROUP_FILTER_SIZE(0));
	for (uint32_t i = 0; i < n; i++) {
		struct sockaddr_storage source = {.ss_family = AF_INET};
		struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = g->source[i]};

		memcpy(&source, &in, sizeof(in));
		memcpy((char *)val + GROUP_FILTER_SIZE(i), &source, sizeof(source));
	}
	*len = (socklen_t)GROUP_FILTER_SIZE(n);
}

void group_answer(int name, const struct cm_group *g, void *val, socklen_t *len)
{
	if (name == IP_MSFILTER)
		answer_filter(g, val, len);
	else
		answer_group_filter(g, val, len);
}
