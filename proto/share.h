/*
 * Sockets that several processes hold: after fork, exec, or SCM_RIGHTS.
 *
 * Theory of operation
 *
 * - A **share** is a memory with the layout of client memory (proto/client.h) of which only slots, descriptions and the
 *   heap are used: no requests, no events, no bells, no control connection. It is made by the control request Share, which
 *   moves sockets of a session into it; their rings move along. The session parks for that time: no thread of it is
 *   between reading and publishing a position of such a socket. Positions stay.
 * - A **holder** is a session's claim on a shared socket: one of the session's own slots, through which it
 *   submits requests (CM_POKE looks at the share's positions) and is woken. A socket lives as long as it has a holder or a
 *   token; CM_CLOSE of a holder, or the end of its session, ends that claim only.
 * - **Fork**: the parent shares all its sockets, asks for a clone (control request Clone): a second session, not yet anybody's, that
 *   holds every shared socket of the first in slots of the same numbers. Everything the child will need is mapped and
 *   open before the fork; it makes no call to become a client. Nobody forks, or the child dies at once: the clone's
 *   control connection ends, and with it the clone.
 * - **Exec, SCM_RIGHTS**: the control request Token gives a descriptor, one end of a socket pair that carries no
 *   traffic: the kernel counts its copies for us, and the daemon sees its end when the last one is closed. Waiting in it to be
 *   *peeked* (never taken) is a struct cm_token, by which any process that holds a copy recognises it and joins (control
 *   request Join, which proves the possession with `secret`). A token stands at the socket's descriptor number.
 * - **Watching**: who knows a share's secret, which its holders were told, may become a holder that does not count (Join
 *   with a Watch): it is woken as the others, and told when the last that counts is gone. Epoll sets that processes
 *   share need it (clientlib/preload/epview.h).
 * - Among themselves the holders trust each other: they are one program, or were handed the socket. Positions of the
 *   client's line are then read from the share under a robust lock of the description (clientlib). The daemon believes no
 *   more of a share than of any client memory; a lie costs all its holders this socket, not their sessions.
 */
#pragma once
#include <assert.h>
#include <stdint.h>

#define CM_TOKEN_MAGIC 0x6b6f746e64746e44ull /* "Dntdntok" */

/* The one packet (SOCK_SEQPACKET) that lies in a token. */
struct cm_token {
	uint64_t magic;
	uint32_t index; /* which token */
	uint16_t family;
	uint8_t type, protocol;
	uint8_t secret[16];
};
static_assert(sizeof(struct cm_token) == 32, "layout");
