/*
 * The five places at which a packet can be looked at, turned back or changed on its way, by the
 * kernel's names. Filter and connection tracking will register here; the tables are constant and,
 * so far, empty (ip/hook.c).
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct stack;
struct packet;

enum ip_hook {
	IP_HOOK_PRE_ROUTING, /* every arriving packet that is well-formed */
	IP_HOOK_LOCAL_IN,    /* for us, before reassembly and delivery */
	IP_HOOK_FORWARD, /* for somebody else; netd does not forward yet, so nothing passes here */
	IP_HOOK_LOCAL_OUT,    /* made by us, routed */
	IP_HOOK_POST_ROUTING, /* about to leave, before fragmentation */
	IP_HOOKS
};

enum ip_verdict {
	IP_ACCEPT,
	IP_DROP,
};

/* The front is at the IP header. */
typedef enum ip_verdict (*ip_hook_fn)(struct stack *s, struct packet *p, uint32_t dev);

/* NULL-terminated lists. */
extern const ip_hook_fn *const ip_hooks[IP_HOOKS];

static inline enum ip_verdict ip_hook_run(
    enum ip_hook at, struct stack *s, struct packet *p, uint32_t dev)
{
	for (const ip_hook_fn *fn = ip_hooks[at]; *fn; fn++)
		if ((*fn)(s, p, dev) == IP_DROP)
			return IP_DROP;
	return IP_ACCEPT;
}
