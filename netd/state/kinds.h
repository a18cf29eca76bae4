/* The kinds of records in the arena. What each holds is defined by its layer; sizes are listed once, in daemon/switchboard.c. */
#pragma once

enum record_kind {
	KIND_WORLD,   /* index 0 only: secrets, cursors, counters that must survive (state/world.h) */
	KIND_DEVICE,  /* device/device.h */
	KIND_CHUNKS,  /* device/device.h: "given to the driver" bits of 1,024 chunks */
	KIND_ADDR,    /* ip/addr.h */
	KIND_ROUTE,   /* ip/route.h */
	KIND_NEIGH,   /* device/neigh.h */
	KIND_MEMBER,  /* ip/group.h: an owner's membership of a multicast group */
	KIND_GROUP,   /* ip/igmp.h: a group on a device, as routers are told of it */
	KIND_IGMP,    /* ip/igmp.h: by device, routers of older versions */
	KIND_FRAG,    /* ip/reassemble.h: a datagram in reassembly, its chunks */
	KIND_SESSION, /* socket/session.h: a client session or control connection */
	KIND_HOLDER,  /* socket/share.h: a session's claim on a shared socket */
	KIND_TOKEN,   /* socket/share.h: a descriptor whose copies keep a shared socket alive */
	KIND_SOCK,    /* inet/sock.h: any socket */
	KIND_SOCKX,   /* inet/sockx.h: rare options and urgent data of the socket with the same index, only if it has any */
	KIND_ERRQ,    /* inet/errq.h: an entry of a socket's error queue */
	KIND_RAW,     /* inet/raw.h: what only a raw or packet socket has */
	KIND_TCP,     /* tcp/tcb.h: the control block of the stream socket with the same index */
	KIND_TCPX,    /* tcp/tcb.h: its scoreboard and out-of-order intervals, only while there are any */
	KIND_SYNRCV,  /* tcp/tcb.h: a half-open connection of a listener */
	KIND_TIMEWAIT, /* tcp/tcb.h: a connection without owner in TIME_WAIT */
	KIND_COUNT
};
