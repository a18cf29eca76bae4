/*
 * Messages with descriptors over a SOCK_SEQPACKET Unix socket: one protobuf message a packet.
 * Used by the component channel and by the control socket. No call here ever blocks unless its
 * comment says so.
 */
#pragma once
#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * What a component starts with: its end of the channel, the supervisor's standard error for its log, and as its own
 * standard error a memory for its last words, of which every supervisor in office has a descriptor. What a sanitizer or glibc
 * says at the end goes there, and a copy of each line of the log, which begins again at the front when the memory is half
 * full (base/log.c): so it has room for what comes last, and who fills it all the same writes no more.
 */
#define CHANNEL_FD      3
#define LOG_FD          4
#define WORDS_SIZE      65536

#define CHANNEL_MSG_MAX 65536 /* bytes of one packet */
#define CHANNEL_FDS_MAX 64

enum deposit_kind {
	DEPOSIT_SESSION = 1,   /* control connection, client memory, bell (read end), set 0 bell (write end) */
	DEPOSIT_WAIT_SET = 2,  /* index = session * CM_SETS + set; one write end */
	DEPOSIT_CONTROL = 3,   /* control connection that has not attached */
	DEPOSIT_TAP = 4,       /* a driver's TAP descriptors; index = queue */
	DEPOSIT_ANSWER = 5,    /* a client's ends whose answer it may not have yet: wait set, bell, control connection of a clone; index as WAIT_SET */
	DEPOSIT_TOKEN = 6,     /* the daemon's end of a token */
	DEPOSIT_TOKEN_ANSWER = 7, /* the client's end, as long as it may not have it */
};

struct channel_msg {
	size_t len;
	int nfds;
	int fds[CHANNEL_FDS_MAX];
	uint8_t data[CHANNEL_MSG_MAX];
};

/*
 * Packs `msg` and sends it with `fds`. MSG_DONTWAIT and MSG_NOSIGNAL.
 * Returns 0, -EAGAIN when the peer does not read, -EMSGSIZE, -EPIPE ...
 */
int channel_send(int sock, const ProtobufCMessage *msg, const int *fds, int nfds);
/* The same for a message that is packed already. */
int channel_send_packed(int sock, const void *data, size_t len, const int *fds, int nfds);
/* The same, but waits (poll) for room up to `timeout_ms`; -ETIMEDOUT. For components towards their supervisor. */
int channel_send_wait(int sock, const ProtobufCMessage *msg, const int *fds, int nfds, int timeout_ms);
/*
 * Was that for want of something that comes again by itself, and that no event announces? ETOOMANYREFS: more descriptors of
 * this user are under way in sockets than it may have open.
 */
bool channel_starved(int ret);

/*
 * Receives one packet; descriptors get close-on-exec. `flags` may hold MSG_PEEK: then the packet stays, with its
 * descriptors, of which the caller has duplicates. Returns 1, 0 at end of file (or for an empty packet), -EAGAIN, -EMSGSIZE (packet or descriptors
 * did not fit; dropped), or another negative errno.
 */
int channel_recv(int sock, struct channel_msg *m, int flags);
/*
 * Each packet that comes to this socket tells who sent it (SCM_CREDENTIALS). Connections have it from the socket that listens:
 * asked for after an accept() it would miss what was sent before.
 */
void channel_want_credentials(int sock);
/* Drops the packet that was peeked at, whatever it was. */
void channel_consume(int sock);
/* Closes the descriptors that the message still holds (those not set to -1 by their taker). */
void channel_close_fds(struct channel_msg *m);
/* Takes descriptor `i` out of the message, or -1. */
int channel_take_fd(struct channel_msg *m, int i);

/* A sealed (size fixed), close-on-exec memfd of `size` bytes, mode 0600. Returns it or a negative errno. */
int memory_create(const char *name, uint64_t size);
/* Maps `size` bytes shared and leaves them out of core dumps; checks that the file has that size. NULL and errno on failure. */
void *memory_map(int fd, uint64_t size, int prot);

/* Rings a bell (one byte into a non-blocking pipe); a full pipe has been rung already. */
void bell_ring(int fd);
/* Empties a bell's reading end. */
void bell_drain(int fd);
/* A bell: p[0] reading, p[1] writing end, both non-blocking and close-on-exec. 0 or negative errno. */
int bell_create(int p[2]);
