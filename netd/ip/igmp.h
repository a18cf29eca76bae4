/* Telling routers which groups are listened to (ip/igmp.c). */
#pragma once
#include "ip/ip.h"

struct group_rec { /* KIND_GROUP: a group on a device, while somebody listens or its end is still to
		      be told */
	uint32_t dev, group;
	uint64_t due_ns; /* UINT64_MAX: nothing to be told */
	uint8_t changes; /* how often its state is still told unasked */
	uint8_t asked;	 /* a query waits for its answer */
	uint8_t ours;	 /* versions 1 and 2: the last report that the link saw was ours */
	uint8_t pad[5];
};

struct igmp_rec { /* KIND_IGMP, by device: routers that speak an older version were heard lately */
	uint64_t v1_until_ns, v2_until_ns;
};

extern const struct inet_proto igmp_proto;

/* What the host wants of the group is another thing now. */
void igmp_changed(struct stack *s, uint32_t dev, uint32_t group, bool was_nothing, bool is_nothing);
/* KIND_GROUP's timer. */
void igmp_expired(struct stack *s, uint32_t index);
int igmp_reindex(struct stack *s);
