/*
 * Multicast groups: who listens to which on which device, and to whose packets (RFC 1112, 3376).
 *
 * A membership is a record of its owner (a socket, by its index): group, device, and a list of
 * sources that are wanted (include) or not wanted (exclude). What the host as a whole wants of a
 * group on a device is derived from all of them; the routers are told by ip/igmp.c, whose own facts
 * about the pair are the KIND_GROUP record.
 */
#pragma once
#include "ip/ip.h"

#define GROUP_SOURCES 10u	  /* of one membership: the kernel's igmp_max_msf */
#define GROUPS_MAX    20u	  /* of one owner: igmp_max_memberships */
#define ALL_HOSTS     0xe0000001u /* the group that nobody has to join */

enum group_mode { GROUP_EXCLUDE, GROUP_INCLUDE }; /* MCAST_EXCLUDE, MCAST_INCLUDE */

struct member_rec {
	uint32_t owner, dev;
	uint32_t group,
	    address;  /* host order; `address`: the interface's, as the owner named it, or 0 */
	uint8_t mode; /* enum group_mode */
	uint8_t sources;
	uint8_t listed; /* it had sources once: its mode is settled */
	uint8_t pad;
	uint32_t source[GROUP_SOURCES]; /* host order, ascending */
};

/* What an owner asks for. */
struct group_wish {
	uint32_t dev, group, address;
	uint8_t mode;
};

/* 0, -EADDRINUSE (joined already), -ENOBUFS. `include` joins with no source yet. */
int group_join(struct stack *s, uint32_t owner, const struct group_wish *w);
/* The owner's membership: of the device, else of the interface address, else the first. NO_INDEX.
 */
uint32_t group_find(const struct stack *s, uint32_t owner, const struct group_wish *w);
void group_leave(struct stack *s, uint32_t member);
/* The owner is gone. */
void group_leave_all(struct stack *s, uint32_t owner);
/* Other sources: what the host wants may change. `m` is the record as it shall be. */
void group_change(struct stack *s, uint32_t member, const struct member_rec *m);
const struct member_rec *group_peek(const struct stack *s, uint32_t member);

/* Does anybody listen to the group on this device? */
bool group_heard(const struct stack *s, uint32_t dev, const struct ipaddr *group);
/*
 * May the owner have this packet to a group? Its membership's sources decide; without one, `all`
 * does (IP_MULTICAST_ALL).
 */
bool group_allows(const struct stack *s, uint32_t owner, const struct ip_meta *m, bool all);

/* What the host as a whole wants of a group on a device. Nobody listens: include, and no sources.
 */
struct group_wants {
	uint8_t mode;
	uint16_t n;
	uint32_t source[128]; /* ascending */
};
void group_wants(const struct stack *s, uint32_t dev, uint32_t group, struct group_wants *f);

/* Memberships whose owner `gone` says is not there any more are dropped: for the owners' layer at
 * its reindex. */
void group_census(struct stack *s, bool (*gone)(const struct stack *s, uint32_t owner));
