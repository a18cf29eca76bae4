/*
 * Giving up privileges. Called once by a component, after it has opened what it needs and before it
 * touches the first byte that a stranger sent. There is no way back.
 *
 * Both: no new privileges, no capabilities, uid and gid of nobody if it was root (where the user
 * namespace has such an id), not dumpable, and a system call filter that allows what a libuv loop with
 * memory, pipes and Unix sockets needs. A call outside the list kills the process by SIGSYS; opening files and
 * sockets fails with EPERM.
 */
#pragma once

/* For netd-inet. It may still start threads, accept connections and receive descriptors. 0 or a negative errno. */
int sandbox_inet(void);
/* For netd-tap, with its TAP descriptors open and configured. 0 or a negative errno. */
int sandbox_driver_tap(void);
