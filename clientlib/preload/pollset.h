/*
 * One poll(), ppoll(), select() or pselect() over descriptors of which some are netd's.
 *
 * Theory of operation
 *
 * - The array is the application's (or made from its fd_sets). Beside it stands a copy for the
 * kernel, in which the first of netd's sockets makes place for the bell of this thread's wait set, the others are -1.
 * - First everybody is asked what is true now; only if nothing is, and the timeout is not zero, the
 *   sockets go into the thread's wait set, it is armed, everybody is asked again, and the thread
 * sleeps in the kernel's ppoll(), where timeout and signal mask are exact.
 * - An epoll descriptor with sockets of netd in it is a kernel descriptor that we keep honest: see
 *   epset_watch_begin().
 * - The wait set is made at a thread's first such sleep and freed at its end. After a fork, or when
 * the session was lost, a new one is made. If there can be none the thread looks every few
 * milliseconds.
 */
#pragma once
#include "clientlib/preload/deadline.h"
#include "clientlib/preload/epset.h"

/* Is there anything in the array that the kernel alone cannot answer? */
bool pollset_concerns(struct pollfd *fds, nfds_t n);
/* ppoll(); `timeout` NULL for none, is not changed. -1 and errno, or the count. */
int pollset_wait(
    struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask);
