/*
 * Address queries (RFC 1035) to the name servers of netd's configuration, over a socket of netd.
 *
 * libc's resolver opens its sockets inside libc, so they are the kernel's; where the kernel has no
 * way out, it fails. This is no replacement for it: A records over UDP, one question, no search
 * list, no cache. An answer counts only if identifier, question and sender are right; everything in
 * it is bounds-checked.
 */
#include "clientlib/preload/dns.h"
#include "clientlib/preload/hook.h"
#include <arpa/inet.h>
#include <string.h>
#include <sys/random.h>

#define TRIES	   2
#define TIMEOUT_MS 2000
#define HEADER	   12
#define PACKET_MAX 1232

struct packet {
	uint8_t b[PACKET_MAX];
	size_t len;
};

static void put16(struct packet *p, unsigned v)
{
	p->b[p->len++] = (uint8_t)(v >> 8);
	p->b[p->len++] = (uint8_t)v;
}

static unsigned get16(const struct packet *p, size_t at)
{
	return at + 2 <= p->len ? (unsigned)p->b[at] << 8 | p->b[at + 1] : 0;
}

/* The question for A records; false if the name cannot be asked for. */
static bool make_question(const char *name, unsigned id, struct packet *p)
{
	size_t n = strlen(name);

	if (n == 0 || n > 253)
		return false;
	p->len = 0;
	put16(p, id);
	put16(p, 0x0100); /* recursion desired */
	put16(p, 1);
	put16(p, 0);
	put16(p, 0);
	put16(p, 0);
	while (*name) {
		size_t label = strcspn(name, ".");

		if (label == 0 || label > 63)
			return false;
		p->b[p->len++] = (uint8_t)label;
		memcpy(p->b + p->len, name, label);
		p->len += label;
		name += label;
		name += *name == '.';
	}
	p->b[p->len++] = 0;
	put16(p, 1); /* A */
	put16(p, 1); /* IN */
	return true;
}

/* The place after a name, 0 if it is broken. A pointer ends a name; where it leads does not matter
 * here. */
static size_t skip_name(const struct packet *p, size_t at)
{
	while (at < p->len) {
		unsigned n = p->b[at];

		if (n == 0)
			return at + 1;
		if (n >= 0xc0)
			return at + 2;
		at += n + 1;
	}
	return 0;
}

/* The A records of an answer: how many, an EAI_ error, or -1000 if it is no answer to this
 * question. */
static int read_answer(const struct packet *q, const struct packet *a, struct in_addr *out, int max)
{
	unsigned code = a->b[3] & 0xf, count;
	size_t at = q->len;
	int n = 0;

	if (a->len < q->len || memcmp(a->b, q->b, 2) != 0 || !(a->b[2] & 0x80) || get16(a, 4) != 1 ||
	    memcmp(a->b + HEADER, q->b + HEADER, q->len - HEADER) != 0)
		return -1000;
	if (code)
		return code == 3 ? EAI_NONAME : EAI_AGAIN;
	count = get16(a, 6);
	for (unsigned i = 0; i < count && n < max; i++) {
		at = skip_name(a, at);
		if (!at || at + 10 > a->len)
			break;
		if (get16(a, at) == 1 && get16(a, at + 8) == 4 && at + 14 <= a->len)
			memcpy(&out[n++], a->b + at + 10, 4);
		at += 10 + get16(a, at + 8);
	}
	return n ? n : EAI_NODATA;
}

/* Waits for the answer on a connected socket. */
static int await_answer(struct nsock *s, const struct packet *q, struct in_addr *out, int max)
{
	for (int looks = 0; looks < 16; looks++) {
		struct packet a;
		struct iovec iov = {.iov_base = a.b, .iov_len = sizeof(a.b)};
		struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
		ssize_t n;
		int ret;

		if (ns_wait(s, POLLIN, TIMEOUT_MS) <= 0)
			return EAI_AGAIN;
		n = ns_recvmsg(s, &m, 0, true);
		if (n < 0 && n != -EAGAIN)
			return EAI_AGAIN;
		if (n < HEADER)
			continue;
		a.len = (size_t)n;
		ret = read_answer(q, &a, out, max);
		if (ret != -1000)
			return ret;
	}
	return EAI_AGAIN;
}

static int ask_server(const char *server, const struct packet *q, struct in_addr *out, int max)
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(53)};
	struct iovec iov = {.iov_base = (void *)(uintptr_t)q->b, .iov_len = q->len};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
	struct nsock *s;
	int ret = EAI_AGAIN;

	if (inet_pton(AF_INET, server, &sa.sin_addr) != 1 ||
	    ns_socket(AF_INET, SOCK_DGRAM, 0, &s) < 0)
		return EAI_AGAIN;
	if (ns_connect(s, (struct sockaddr *)&sa, sizeof(sa), false) == 0 &&
	    ns_sendmsg(s, &m, 0, false) >= 0)
		ret = await_answer(s, q, out, max);
	ns_close(s);
	ns_put(s);
	return ret;
}

int dns_query(const char *name, struct in_addr *out, int max)
{
	struct packet q;
	uint16_t id = 0;
	int ret = EAI_AGAIN;

	if (getrandom(&id, sizeof(id), GRND_NONBLOCK) < 0 || !make_question(name, id, &q))
		return EAI_NONAME;
	for (int t = 0; t < TRIES && ret == EAI_AGAIN; t++)
		for (int i = 0; ns_name_server(i) && ret == EAI_AGAIN; i++)
			ret = ask_server(ns_name_server(i), &q, out, max);
	return ret;
}
