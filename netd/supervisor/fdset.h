/* A counted set of descriptors: one deposit's, or what travels beside a message that has to wait. */
#pragma once
#include <stdlib.h>
#include <unistd.h>

struct fdset {
	unsigned refs;
	int n;
	int fd[];
};

/* Takes the descriptors over, also when it fails (then they are closed). NULL without memory. */
static inline struct fdset *fdset_take(const int *fds, int n)
{
	struct fdset *s = malloc(sizeof(*s) + sizeof(int) * (size_t)n);

	for (int i = 0; i < n; i++) {
		if (s)
			s->fd[i] = fds[i];
		else
			close(fds[i]);
	}
	if (s) {
		s->refs = 1;
		s->n = n;
	}
	return s;
}

static inline struct fdset *fdset_ref(struct fdset *s)
{
	if (s)
		s->refs++;
	return s;
}

static inline void fdset_unref(struct fdset *s)
{
	if (!s || --s->refs)
		return;
	for (int i = 0; i < s->n; i++)
		if (s->fd[i] >= 0)
			close(s->fd[i]);
	free(s);
}
