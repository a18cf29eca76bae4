/*
 * Which descriptor number of this process is which socket.
 *
 * A socket of netd occupies a real descriptor number: a duplicate of one anchor, an AF_UNIX socket
 * that nobody ever uses, so that the kernel never gives the number to anything else and fstat()
 * says "socket". Several numbers may name one socket (dup); closing the last one closes the socket.
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
/*
 * The same at exactly the number `fd`, over whatever is there in the kernel (dup3); a socket of
 * netd there is closed.
 */
int fdtable_open_at(struct nsock *s, bool cloexec, int fd);
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
