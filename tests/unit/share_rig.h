/*
 * A make-believe netd-inet in a process of its own that knows shares, clones, tokens and holders:
 * many sessions, their sockets connected with each other; a connection to where nobody listens is
 * an echo. No UDP, no recovery; but it can give each answer twice, as a netd-inet that dies after its
 * answer and its successor do.
 */
#pragma once
#include "proto/client.h"
#include "proto/share.h"

struct share_rig { /* seen by the tests */
	int sessions, socks, tokens, shares, refused_grows;
	bool twice;   /* set by the test */
	bool crowded; /* set by the test: the last socket of each share does not get in, and is reset */
};
extern volatile struct share_rig *share_rig;

/* Starts it and sets NETD_SOCKET. */
void share_rig_start(void);
void share_rig_stop(void);
