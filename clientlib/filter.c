/* Classic BPF filters: handed to the daemon a few instructions a request; the last attaches it. */
#include "clientlib/link.h"
#include "clientlib/usermem.h"
#include <linux/filter.h>
#include <string.h>

int filter_attach(struct nsock *s, const void *val, socklen_t len)
{
	struct cm_sqe e = {.op = CM_FILTER, .slot = s->slot};
	struct sock_fprog prog;
	int ret = 0;

	if (len != sizeof(prog))
		return -EINVAL;
	memcpy(&prog, val, sizeof(prog));
	if (!prog.filter || !prog.len || prog.len > BPF_MAXINSNS)
		return -EINVAL;
	if (!user_readable(prog.filter, prog.len * sizeof(*prog.filter)))
		return -EFAULT;
	for (uint32_t at = 0; at < prog.len && ret == 0; at += CM_FILTER_PIECE) {
		uint32_t n = prog.len - at < CM_FILTER_PIECE ? prog.len - at : CM_FILTER_PIECE;

		e.arg[0] = (int32_t)at;
		e.arg[1] = (int32_t)prog.len;
		e.arg[2] = (int32_t)n;
		memcpy(e.data, prog.filter + at, n * sizeof(*prog.filter));
		ret = request_wait(s->ss, &e, NULL);
	}
	return ret;
}

int filter_detach(struct nsock *s)
{
	struct cm_sqe e = {.op = CM_FILTER, .slot = s->slot};

	return request_wait(s->ss, &e, NULL);
}
