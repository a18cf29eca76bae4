/*
 * What the kernel calls an open file description: all that the processes which hold one socket must
 * agree on.
 *
 * A socket that one process holds has its description, and two small locks, in its object. A shared
 * one (proto/share.h) has it in the share, beside its slot, with locks that are robust and work
 * between processes. Both sides of a ring publish a position with one store, after the bytes: so
 * whoever finds a lock left by the dead finds the socket as it was before or after that store, and
 * goes on.
 */
#pragma once
#include "proto/client.h"
#include <pthread.h>
#include <stdbool.h>

/* Largest members first: a process may have a hundred thousand of these. */
struct desc {
	uint64_t rx_told;	     /* rx_head at the last poke */
	uint64_t grow_after;	     /* monotonic ns: no earlier try to grow the transmit ring */
	uint64_t rcvtimeo, sndtimeo; /* ns, 0 for none */
	union {
		uint64_t urgent_seen; /* streams: the slot's `urgent` when it was last looked at; rx_lock */
		uint64_t stamp;	      /* datagrams: when the last one that was read came, monotonic ns; 0: none was */
	};
	uint32_t rcvlowat;
	uint32_t want_cmsg;   /* enum want_cmsg */
	uint32_t linger;      /* SO_LINGER's seconds + 1, 0: off */
	uint32_t stamping;    /* SO_TIMESTAMPING */
	uint32_t stamp_number; /* of the next datagram with SOF_TIMESTAMPING_OPT_ID; tx_lock */
	uint32_t segment;     /* UDP_SEGMENT */
	uint32_t cork_len;    /* bytes written of a datagram that is not whole yet; tx_lock */
	int32_t peek_not;     /* ~SO_PEEK_OFF: 0 is none */
	uint32_t err_taken;   /* so_error_seq of the last error handed out */
	uint32_t fl_flags;    /* F_SETFL's, but for O_NONBLOCK */
	int32_t owner, sig;   /* F_SETOWN, F_SETSIG */
	bool cork, corked;    /* UDP_CORK; there is such a datagram */
	bool no_fragments;    /* IP_MTU_DISCOVER says that a datagram may be too long */
	bool urgent_read;     /* that byte was taken out of band */
	bool more;	      /* the last write said that more comes at once; tx_lock */
	bool nonblock;
	bool shut_rd, shut_wr, connected, connecting; /* known here before the slot says so */
};

/* As it stands in a share; a socket's `d` then points to the first member. */
struct shared_desc {
	struct desc d;
	pthread_mutex_t rx_lock, tx_lock;
};
static_assert(sizeof(struct shared_desc) <= CM_DESC_SIZE, "has its place in a share");
