/* Signals about sockets (async.c). Errors are negative errnos. */
#pragma once
#include "clientlib/preload/hook.h"

/* O_ASYNC of the socket, asked for by the number `fd`. */
int async_set(struct nsock *s, int fd, bool on);
/* F_SETOWN, F_GETOWN, their _EX forms, F_SETSIG, F_GETSIG. */
int async_fcntl(struct nsock *s, int fd, int cmd, long arg);
/* The socket was there when the program started: who asked for signals to itself before an exec still gets them. */
void async_inherited(struct nsock *s, int fd);
/* Its last number was closed. */
void async_forget(struct nsock *s);
void async_fork_prepare(void);
void async_fork_done(bool child);
