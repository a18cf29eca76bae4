/* What is called at the five hooks, in order. */
#include "ip/hook.h"
#include <stddef.h>

static const ip_hook_fn none[] = {NULL};

const ip_hook_fn *const ip_hooks[IP_HOOKS] = {
    [IP_HOOK_PRE_ROUTING] = none,
    [IP_HOOK_LOCAL_IN] = none,
    [IP_HOOK_FORWARD] = none,
    [IP_HOOK_LOCAL_OUT] = none,
    [IP_HOOK_POST_ROUTING] = none,
};
