/* A small resolver over netd, for names that libc could not resolve. */
#pragma once
#include <netinet/in.h>

/* IPv4 addresses of `name` from netd's name servers. How many, or an EAI_ error (negative). */
int dns_query(const char *name, struct in_addr *out, int max);
