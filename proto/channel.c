#include "proto/channel.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

union fd_control {
	struct cmsghdr align;
	char buf[CMSG_SPACE(sizeof(int) * CHANNEL_FDS_MAX)];
};

int channel_send_packed(int sock, const void *data, size_t len, const int *fds, int nfds)
{
	union fd_control control;
	struct iovec iov = {.iov_base = (void *)(uintptr_t)data, .iov_len = len};
	struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1};

	if (len > CHANNEL_MSG_MAX || nfds < 0 || nfds > CHANNEL_FDS_MAX)
		return -EMSGSIZE;
	if (nfds) {
		struct cmsghdr *c;

		memset(&control, 0, sizeof(control));
		mh.msg_control = control.buf;
		mh.msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)nfds);
		c = CMSG_FIRSTHDR(&mh);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * (size_t)nfds);
		memcpy(CMSG_DATA(c), fds, sizeof(int) * (size_t)nfds);
	}
	while (sendmsg(sock, &mh, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		if (errno != EINTR)
			return -errno;
	return 0;
}

int channel_send(int sock, const ProtobufCMessage *msg, const int *fds, int nfds)
{
	size_t len = protobuf_c_message_get_packed_size(msg);
	uint8_t small[2048], *buf = small;
	int ret;

	if (len > CHANNEL_MSG_MAX)
		return -EMSGSIZE;
	if (len > sizeof(small) && !(buf = malloc(len)))
		return -ENOMEM;
	protobuf_c_message_pack(msg, buf);
	ret = channel_send_packed(sock, buf, len, fds, nfds);
	if (buf != small)
		free(buf);
	return ret;
}

bool channel_starved(int ret)
{
	return ret == -ETOOMANYREFS || ret == -ENOBUFS || ret == -ENOMEM;
}

int channel_send_wait(int sock, const ProtobufCMessage *msg, const int *fds, int nfds, int timeout_ms)
{
	int ret;

	while ((ret = channel_send(sock, msg, fds, nfds)) == -EAGAIN) {
		struct pollfd p = {.fd = sock, .events = POLLOUT};
		int n = poll(&p, 1, timeout_ms);

		if (n == 0)
			return -ETIMEDOUT;
		if (n < 0 && errno != EINTR)
			return -errno;
	}
	return ret;
}

static void take_control(struct channel_msg *m, struct msghdr *mh)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(mh); c; c = CMSG_NXTHDR(mh, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int), i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			if (m->nfds < CHANNEL_FDS_MAX)
				m->fds[m->nfds++] = fd;
			else
				close(fd);
		}
	}
}

int channel_recv(int sock, struct channel_msg *m, int flags)
{
	union fd_control control;
	struct iovec iov = {.iov_base = m->data, .iov_len = sizeof(m->data)};
	struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.buf,
	    .msg_controllen = sizeof(control.buf)};
	ssize_t n;

	m->nfds = 0;
	m->len = 0;
	do
		n = recvmsg(sock, &mh, flags | MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	take_control(m, &mh);
	if (mh.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) {
		channel_close_fds(m);
		return -EMSGSIZE;
	}
	if (n == 0) /* nobody looks into a packet without content */
		channel_close_fds(m);
	m->len = (size_t)n;
	return n > 0 ? 1 : 0;
}

void channel_want_credentials(int sock)
{
	setsockopt(sock, SOL_SOCKET, SO_PASSCRED, &(int){1}, sizeof(int));
}

void channel_consume(int sock)
{
	char byte;

	while (recv(sock, &byte, 1, MSG_DONTWAIT) < 0 && errno == EINTR)
		;
}

void channel_close_fds(struct channel_msg *m)
{
	for (int i = 0; i < m->nfds; i++)
		if (m->fds[i] >= 0)
			close(m->fds[i]);
	m->nfds = 0;
}

int channel_take_fd(struct channel_msg *m, int i)
{
	int fd;

	if (i < 0 || i >= m->nfds)
		return -1;
	fd = m->fds[i];
	m->fds[i] = -1;
	return fd;
}

int memory_create(const char *name, uint64_t size)
{
	int ret, fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		return -errno;
	if (fchmod(fd, 0600) < 0 || ftruncate(fd, (off_t)size) < 0 ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0) {
		ret = -errno;
		close(fd);
		return ret;
	}
	return fd;
}

void *memory_map(int fd, uint64_t size, int prot)
{
	struct stat st;
	void *p;

	if (fstat(fd, &st) < 0)
		return NULL;
	if (!size || (uint64_t)st.st_size != size) {
		errno = EPROTO;
		return NULL;
	}
	p = mmap(NULL, size, prot, MAP_SHARED | MAP_NORESERVE, fd, 0);
	if (p == MAP_FAILED)
		return NULL;
	madvise(p, size, MADV_DONTDUMP);
	return p;
}

void bell_ring(int fd)
{
	/* A full pipe has been rung; any other failure means that nobody listens any more. */
	if (write(fd, "", 1) < 0)
		return;
}

void bell_drain(int fd)
{
	char buf[512];

	while (read(fd, buf, sizeof(buf)) == (ssize_t)sizeof(buf))
		;
}

int bell_create(int p[2])
{
	return pipe2(p, O_NONBLOCK | O_CLOEXEC) < 0 ? -errno : 0;
}
