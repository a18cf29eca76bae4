/*
 * What a supervisor needs to succeed another one, kept by every netd-inet: the memories, the bells, the
 * supervisor's end of each component's channel, each component's pidfd. The names are the supervisor's
 * (netd/supervisor/store.c); two of them mean something here: "channel.inet.SLOT" leads to another netd-inet,
 * and "supervisor" is the pidfd of the one in office.
 */
#pragma once
#include <stdbool.h>

#define KEPT_MAX  256
#define KEPT_NAME 48
#define KEPT_INETS 32 /* slots that are looked for */

struct kept {
	struct kept_item {
		char name[KEPT_NAME];
		int fd;
	} item[KEPT_MAX];
	unsigned n;
	int supervisor; /* item's pidfd + 1; 0: none */
};

/* Takes the descriptor, in the place of what has that name now. */
void kept_put(struct kept *k, const char *name, int fd);
void kept_remove(struct kept *k, const char *name);
/* The supervisor's end of that netd-inet's channel, or -1. */
int kept_inet(const struct kept *k, unsigned slot);
/* Sends all of it as ToComponent{keep}. 0 or a negative errno. */
int kept_send(const struct kept *k, int sock, int timeout_ms);
void kept_close(struct kept *k);
