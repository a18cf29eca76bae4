/*
 * Which descriptor number of this process is which socket.
 *
 * A socket of netd occupies a real descriptor number: a duplicate of one anchor, an AF_UNIX socket
 * that nobody ever uses, so that the kernel never gives the number to anything else and fstat()
 * says "socket"; or a token (proto/share.h), once the socket came from another program or goes to one. Several numbers may name one socket (dup); closing the last one closes the socket.
 *
 * Lookups take no lock: entries are atomic words in chunks that are never freed, sockets are
 * type-stable objects, so a lookup takes a reference and then checks that the entry still stands.
 */
#pragma once
#include "clientlib/core.h"

/*
 * Gives `s` (one more reference is taken) a descriptor number, the lowest free one >= min.
 * Returns the number, -EMFILE.
 */
int fdtable_open(struct nsock *s, bool cloexec, int min);
/* The same by copying the socket's number `from`, which may be a token. -EBADF if it is not the socket's any more. */
int fdtable_dup(struct nsock *s, int from, bool cloexec, int min);
/*
 * The same at exactly the number `fd`, over whatever is there in the kernel (dup3); a socket of
 * netd there is closed.
 */
int fdtable_dup_at(struct nsock *s, int from, bool cloexec, int fd);
/* A descriptor from elsewhere: if it is a token, the number is its socket's from now on. -ENOTSOCK. */
int fdtable_join(int fd);
/* Puts a token at all numbers of this number's socket, if none is there: then copies of them may leave this process. */
int fdtable_token(int fd);
/* The socket with a reference, to be put with ns_put(); NULL if the number is not one of ours. */
struct nsock *fdtable_get(int fd);
/* Is it ours? Without a reference: a quick first question. */
bool fdtable_has(int fd);
/*
 * Takes the number out and closes the placeholder. When it was the socket's last number,
 * ns_close(). 0, -EBADF if the number is not one of ours.
 */
int fdtable_close(int fd);
/*
 * Forgets the number without closing it in the kernel (something else is being put there, or exec
 * keeps it). -EBADF.
 */
int fdtable_forget(int fd);
/* One more than the highest number ever used. */
int fdtable_limit(void);
/* The anchor's own number, -1 before there is one. */
int fdtable_anchor(void);
/* Holds the table still across a fork. */
void fdtable_fork_prepare(void);
void fdtable_fork_done(bool child);
/* In between: every socket that has a number, once. Fills v[], returns how many there are. */
unsigned fdtable_sockets(struct nsock **v, unsigned max);
