/*
 * SO_PEEK_OFF: where MSG_PEEK begins, counted from what would be read next; of datagrams, through all that wait. It moves on by
 * what was peeked at, and back by what was read.
 */
#include "clientlib/session.h"

bool takes_peek_off(const struct nsock *s)
{
	return s->type == SOCK_STREAM || is_udp(s);
}

uint32_t peek_offset(const struct nsock *s, int flags)
{
	int32_t off = ~load_once(&s->d->peek_not);

	return flags & MSG_PEEK && off > 0 ? (uint32_t)off : 0;
}

void peek_moved(struct nsock *s, int flags, ssize_t n)
{
	int32_t off = ~load_once(&s->d->peek_not);
	int64_t to = flags & MSG_PEEK ? off + (int64_t)n : off - (int64_t)n;

	if (off >= 0)
		store_once(&s->d->peek_not, ~(int32_t)(to < 0		? 0
						       : to > INT32_MAX ? INT32_MAX
									: to));
}
