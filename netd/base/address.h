/* Addresses as people write them: in the configuration, in requests, on the command line. */
#pragma once
#include "proto/endpoint.h"

/* "10.0.0.1", "fd00::1". 0 or -EINVAL: nothing may stand before, behind or instead. */
int address_parse(const char *text, struct ipaddr *a);
/* "10.0.0.0/8", "fd00::/64"; without a length the whole address (32, 128). Bits beyond it are the
 * caller's business. */
int prefix_parse(const char *text, struct ipaddr *a, unsigned *bits);
