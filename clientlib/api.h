/* Shared by the files of the public calls. */
#pragma once
#include "clientlib/core.h"
#include "clientlib/fdtable.h"
#include "clientlib/include/netd/netd.h"
#include "clientlib/sys.h"

/* The socket with a reference; NULL and errno (EBADF, ENOTSOCK). */
struct nsock *api_get(int fd);
/* `ret`, or -1 and errno. */
long api_result(long ret);
