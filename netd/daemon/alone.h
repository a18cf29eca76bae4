/*
 * Without a supervisor.
 *
 * Every netd-inet keeps what the supervisor has, under the supervisor's names (netd/supervisor/store.c). Two of them
 * mean something here: "channel.inet.SLOT", the supervisor's end of a netd-inet's channel, and "supervisor", the pidfd of
 * the one in office.
 * So when the supervisor is dead (its pidfd says so, the office is empty: base/office.h) the active netd-inet does
 * itself what the supervisor did for the next takeover:
 *
 * - what lies unread in the channels of all netd-inets is read, and handed on to the others. The supervisor
 *   forwards before it consumes, so nothing is lost between the two;
 * - from then on a deposit goes straight into the other netd-inets' channels, as the supervisor would have handed it;
 * - a standby that gets the role asks nobody;
 * - who asks over the control socket to succeed the supervisor is given everything that is kept.
 *
 * A new supervisor ends this by its "redeposit".
 */
#pragma once
#include "daemon/handover.h"

/* Is there no supervisor? Learns of its death; after that the channels have been read, into `h` too if it has not taken over. */
bool alone(struct handover *h);
/* A message to the supervisor that is not there: what concerns the others is handed to them. 0 or a negative errno. */
int alone_send(struct handover *h, const Netd__Component__FromComponent *m, const int *fds, int nfds);
/* Waits for news of the supervisor, or its death. 0 or a negative errno. */
int alone_wait(struct handover *h, int timeout_ms);
/* The reading end of a socket with everything that is kept, for a new supervisor; -EBUSY while there is one, -EAGAIN if it is dead but its
 * office is still taken. */
int alone_succession(struct handover *h);
