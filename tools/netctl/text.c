/* Addresses between bytes and text. */
#include "tools/netctl/netctl.h"
#include "netd/base/address.h"
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
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

bool address_bytes(const char *text, uint8_t buf[16], uint32_t *prefix)
{
	struct ipaddr ip;
	unsigned bits = 0;

	if (prefix ? prefix_parse(text, &ip, &bits) : address_parse(text, &ip))
		return false;
	if (prefix)
		*prefix = bits;
	memcpy(buf, ip.b, sizeof(ip.b));
	return true;
}

bool number(const char *text, uint32_t *out)
{
	unsigned long v;
	char *end;

	errno = 0;
	v = strtoul(text, &end, 10);
	if (!isdigit((unsigned char)text[0]) || *end || errno || v > UINT32_MAX)
		return false;
	*out = (uint32_t)v;
	return true;
}
