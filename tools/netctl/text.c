/* Addresses between bytes and text. */
#include "tools/netctl/netctl.h"
#include "proto/endpoint.h"
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *buffer(void)
{
	static char ring[8][INET6_ADDRSTRLEN];
	static unsigned at;

	return ring[at++ % 8];
}

const char *address_text(const ProtobufCBinaryData *a, const char *any)
{
	char *buf = buffer();
	struct ipaddr ip;

	if (a->len != sizeof(ip.b))
		return any;
	memcpy(ip.b, a->data, sizeof(ip.b));
	if (ipaddr_is_any(&ip))
		return any;
	if (ipaddr_is_v4(&ip))
		inet_ntop(AF_INET, ip.b + 12, buf, INET6_ADDRSTRLEN);
	else
		inet_ntop(AF_INET6, ip.b, buf, INET6_ADDRSTRLEN);
	return buf;
}

const char *mac_text(const ProtobufCBinaryData *m)
{
	char *buf = buffer();

	if (m->len != 6)
		return "-";
	snprintf(buf, INET6_ADDRSTRLEN, "%02x:%02x:%02x:%02x:%02x:%02x", m->data[0], m->data[1], m->data[2],
	    m->data[3], m->data[4], m->data[5]);
	return buf;
}

bool address_parse(const char *text, uint8_t buf[16], uint32_t *prefix)
{
	char copy[64];
	char *slash, *end;
	struct in_addr v4;
	struct ipaddr ip;

	if (strlen(text) >= sizeof(copy))
		return false;
	strcpy(copy, text);
	slash = strchr(copy, '/');
	if (slash) {
		unsigned long n = strtoul(slash + 1, &end, 10);

		if (!prefix || *end || end == slash + 1 || n > 32)
			return false;
		*prefix = (uint32_t)n;
		*slash = 0;
	} else if (prefix) {
		*prefix = 32;
	}
	if (inet_pton(AF_INET, copy, &v4) != 1)
		return false;
	ip = ipaddr_v4(ntohl(v4.s_addr));
	memcpy(buf, ip.b, 16);
	return true;
}
