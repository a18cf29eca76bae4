/*
 * Sockets that change hands between programs that are no relatives, and programs that change
 * themselves: daemon(), another user, another root, a closed standard input; signals about sockets.
 * See pair.h. With "take PATH" as its arguments the program is one that is given descriptors over a
 * Unix socket.
 */
#include "tests/apps/relatives.h"
#include <linux/capability.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>

static const char *self;

/* ---- SCM_RIGHTS to a stranger: sockets, a pipe and a file in one message */

/* The stranger: takes {socket, pipe, listener or socket, file}, uses each, says what it found in
 * the pipe. */
static int take(const char *path)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	int over = socket(AF_UNIX, SOCK_STREAM, 0), fd[4], got;
	char c, back[16];

	snprintf(at.sun_path, sizeof(at.sun_path), "%s", path);
	if (over < 0 || connect(over, (struct sockaddr *)&at, sizeof(at)) < 0)
		return 10;
	if (take_rights(over, fd, 4, 0) != 4)
		return 11;
	if (read(fd[0], &c, 1) != 1 || c != '1' || write(fd[0], "one", 3) != 3)
		return 12;
	got = (int)read(fd[3], back, sizeof(back));
	if (got != 4 || memcmp(back, "file", 4))
		return 13;
	if (write(fd[2], "two", 3) != 3)
		return 14;
	return write(fd[1], "pipe", 4) == 4 ? 0 : 15;
}

static void to_a_stranger(void)
{
	char dir[] = "/tmp/netd-handed.XXXXXX", buf[16], name[64];
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	int l, over, p[2], q[2], pipes[2], file, fd[4];
	pid_t pid;
	char *const argv[] = {
	    (char *)(uintptr_t)self, (char *)(uintptr_t) "take", at.sun_path, NULL};
	extern char **environ;

	CHECK(mkdtemp(dir) != NULL);
	snprintf(at.sun_path, sizeof(at.sun_path), "%s/socket", dir);
	snprintf(name, sizeof(name), "%s/file", dir);
	file = open(name, O_RDWR | O_CREAT, 0600);
	CHECK(write(file, "file", 4) == 4 && lseek(file, 0, SEEK_SET) == 0);
	l = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK(bind(l, (struct sockaddr *)&at, sizeof(at)) == 0 && listen(l, 1) == 0);
	CHECK(posix_spawn(&pid, self, NULL, NULL, argv, environ) == 0);
	over = accept(l, NULL, NULL);
	make_pair(p);
	make_pair(q);
	CHECK(pipe(pipes) == 0);
	fd[0] = p[0];
	fd[1] = pipes[1];
	fd[2] = q[0];
	fd[3] = file;
	CHECK(send_rights(over, fd, 4) == 0);
	close(p[0]);
	close(q[0]);
	close(pipes[1]);
	CHECK(write(p[1], "1", 1) == 1);
	CHECK(recv(p[1], buf, 3, MSG_WAITALL) == 3 && !memcmp(buf, "one", 3));
	CHECK(recv(q[1], buf, 3, MSG_WAITALL) == 3 && !memcmp(buf, "two", 3));
	CHECK(
	    read(pipes[0], buf, 4) == 4 && !memcmp(buf, "pipe", 4) && read(pipes[0], buf, 1) == 0);
	CHECK(ended_well(pid));
	CHECK(read(p[1], buf, 1) == 0 && read(q[1], buf, 1) == 0);
	close(p[1]);
	close(q[1]);
	close(pipes[0]);
	close(over);
	close(l);
	close(file);
	unlink(name);
	unlink(at.sun_path);
	rmdir(dir);
}

/* Room for fewer descriptors than come: the kernel drops the others, and they count as closed. */
static void rights_cut_short(void)
{
	int p[2], q[2], over[2], fd[2];
	union rights c;
	char byte;
	struct iovec iov = {&byte, 1};
	struct msghdr m = {.msg_iov = &iov,
	    .msg_iovlen = 1,
	    .msg_control = &c,
	    .msg_controllen = CMSG_LEN(sizeof(int))};

	make_pair(p);
	make_pair(q);
	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, over) == 0);
	fd[0] = p[0];
	fd[1] = q[0];
	CHECK(send_rights(over[0], fd, 2) == 0);
	close(p[0]);
	close(q[0]);
	CHECK(recvmsg(over[1], &m, 0) == 1 && (m.msg_flags & MSG_CTRUNC));
	memcpy(fd, CMSG_DATA(&c.h), sizeof(int));
	CHECK(talk(fd[0], p[1], "first") && talk(p[1], fd[0], "back"));
	CHECK(wait_for(q[1], POLLIN, 5000) >= 0 && read(q[1], &byte, 1) == 0);
	close(fd[0]);
	CHECK(read(p[1], &byte, 1) == 0);
	close(p[1]);
	close(q[1]);
	close_pair(over);
}

static ino_t inode(int fd)
{
	struct stat st;

	CHECK(fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode));
	return st.st_ino;
}

/* By its inode a socket is known again, by whatever number, in whatever process. */
static void identity(void)
{
	int p[2], over[2], again, got;
	ino_t was;
	pid_t pid;

	make_pair(p);
	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, over) == 0);
	was = inode(p[0]);
	again = dup(p[0]);
	CHECK(inode(again) == was && inode(p[1]) != was);
	close(again);
	CHECK(send_rights(over[0], p, 1) == 0);
	CHECK(inode(p[0]) == was);
	CHECK(take_rights(over[1], &got, 1, 0) == 1 && inode(got) == was);
	close(got);
	CHILD(pid)
	{
		CHECK(inode(p[0]) == was && inode(p[1]) != was);
		leave();
	}
	CHECK(ended_well(pid));
	close_pair(p);
	close_pair(over);
}

/* ---- programs that change themselves */

static void as_daemon(void)
{
	int p[2], q[2], status;
	pid_t pid;
	char c;

	make_pair(p);
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		char word[8];

		if (daemon(0, 0) < 0)
			_exit(1);
		/* In the daemon, whose parent is gone: what was inherited and what is new. */
		if (read(p[0], word, 4) != 4)
			_exit(2);
		make_pair(q);
		if (!talk(q[0], q[1], "daemon") || write(p[0], word, 4) != 4)
			_exit(3);
		_exit(0);
	}
	close(p[0]);
	CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0);
	CHECK(write(p[1], "work", 4) == 4);
	CHECK(recv(p[1], &c, 1, MSG_WAITALL) == 1 && c == 'w' && wait_for(p[1], POLLIN, 5000) >= 0);
	{
		char rest[8];

		CHECK(recv(p[1], rest, 3, MSG_WAITALL) == 3 && read(p[1], rest, 1) == 0);
	}
	close(p[1]);
}

/* Another root directory and another user, as servers do after they have started: old sockets and
 * new ones work. */
static void jailed(void)
{
	char dir[] = "/tmp/netd-jail.XXXXXX";
	pid_t pid;
	int p[2], q[2];

	if (geteuid() != 0)
		return;
	CHECK(mkdtemp(dir) != NULL && chmod(dir, 0755) == 0);
	make_pair(p);
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		failures = 0;
		CHECK(chroot(dir) == 0 && chdir("/") == 0);
		CHECK(setgid(65534) == 0 && setuid(65534) == 0);
		CHECK(talk(p[0], p[1], "jail"));
		make_pair(q);
		CHECK(talk(q[0], q[1], "new in jail"));
		if (fork() == 0) { /* and its children */
			CHECK(talk(q[1], q[0], "grandchild"));
			_exit(failures != 0);
		}
		CHECK(ended_well(-1));
		_exit(failures != 0);
	}
	CHECK(ended_well(pid));
	CHECK(talk(p[1], p[0], "outside"));
	close_pair(p);
	rmdir(dir);
}

/* The threads of one process with uid changed before the first socket. */
static void jailed_first(void)
{
	pid_t pid;

	if (geteuid() != 0)
		return;
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		int p[2];

		failures = 0;
		CHECK(setgid(65534) == 0 && setuid(65534) == 0);
		make_pair(p);
		CHECK(talk(p[0], p[1], "nobody"));
		_exit(failures != 0);
	}
	CHECK(ended_well(pid));
}

static bool binds_low(void)
{
	struct sockaddr_in at = address;
	int fd = socket(AF_INET, SOCK_DGRAM, 0), err = EADDRINUSE;

	for (int port = 1023; err == EADDRINUSE && port > 900; port--) {
		at.sin_port = htons((in_port_t)port);
		err = bind(fd, (struct sockaddr *)&at, sizeof(at)) ? errno : 0;
	}
	close(fd);
	errno = err;
	return !err;
}

static bool has_only(uint32_t capabilities)
{
	struct __user_cap_header_struct h = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct set[2] = {
	    {.effective = capabilities, .permitted = capabilities}};

	return syscall(SYS_capset, &h, set) == 0;
}

/* A byte with a number as a control message of the sockets' own level. */
static ssize_t send_word(int fd, int type, uint32_t value)
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(value))];
	} c = {
	    .head = {
		.cmsg_len = CMSG_LEN(sizeof(value)), .cmsg_level = SOL_SOCKET, .cmsg_type = type}};
	struct sockaddr_in nobody = {
	    .sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct iovec iov = {&nobody, 1};
	struct msghdr m = {.msg_name = &nobody,
	    .msg_namelen = sizeof(nobody),
	    .msg_iov = &iov,
	    .msg_iovlen = 1,
	    .msg_control = &c,
	    .msg_controllen = sizeof(c)};

	memcpy(CMSG_DATA(&c.head), &value, sizeof(value));
	return sendmsg(fd, &m, MSG_NOSIGNAL);
}

/* Another user with one of root's capabilities, as name servers run: in a process that had no socket before, and its child. */
static void kept_capability(void)
{
	pid_t pid, child;
	int fd;

	if (!over_tcp || geteuid() != 0)
		return;
	CHILD(pid)
	{
		CHECK(prctl(PR_SET_KEEPCAPS, 1L, 0L, 0L, 0L) == 0);
		CHECK(setgid(65534) == 0 && setuid(65534) == 0 &&
		      has_only(1u << CAP_NET_BIND_SERVICE));
		CHECK(binds_low());
		FAILS(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP), EPERM);
		CHILD(child)
		{
			CHECK(binds_low());
			leave();
		}
		CHECK(ended_well(child));
		CHECK(has_only(0));
		CHECK(!binds_low() && errno == EACCES);
		leave();
	}
	CHECK(ended_well(pid));
	CHILD(pid)
	{
		CHECK(setgid(65534) == 0 && setuid(65534) == 0);
		CHECK(!binds_low() && errno == EACCES);
		fd = socket(AF_INET, SOCK_DGRAM, 0);
		FAILS(send_word(fd, SO_MARK, 0), EPERM);
		FAILS(send_word(fd, SO_PRIORITY, 7), EPERM);
		CHECK(send_word(fd, SO_PRIORITY, 6) == 1);
		leave();
	}
	CHECK(ended_well(pid));
}

static int set(int fd, int level, int name, int value)
{
	return setsockopt(fd, level, name, &value, sizeof(value));
}

/* Those that take CAP_NET_ADMIN, or it or CAP_NET_RAW, and those only that take neither. */
static void privileged_options(bool raw)
{
	int fd = socket(AF_INET, SOCK_DGRAM, 0), ret = raw ? 0 : -1;

	CHECK(send_word(fd, SO_MARK, 5) == (raw ? 1 : -1) && (raw || errno == EPERM));
	CHECK(send_word(fd, SO_PRIORITY, 7) == (raw ? 1 : -1) && (raw || errno == EPERM));
	FAILS(set(fd, SOL_SOCKET, SO_PREFER_BUSY_POLL, 1), EPERM);
	FAILS(set(fd, SOL_SOCKET, SO_BUSY_POLL_BUDGET, 9), EPERM);
	FAILS(set(fd, SOL_SOCKET, SO_RCVBUFFORCE, 9999), EPERM);
	FAILS(set(fd, SOL_SOCKET, SO_SNDBUFFORCE, 9999), EPERM);
	FAILS(set(fd, SOL_SOCKET, SO_DEBUG, 1), EACCES);
	CHECK(set(fd, SOL_SOCKET, SO_MARK, 5) == ret && (raw || errno == EPERM));
	CHECK(set(fd, SOL_SOCKET, SO_PRIORITY, 7) == ret && (raw || errno == EPERM));
	CHECK(set(fd, IPPROTO_IP, IP_TRANSPARENT, 1) == ret && (raw || errno == EPERM));
	CHECK(set(fd, SOL_SOCKET, SO_DEBUG, 0) == 0 && set(fd, SOL_SOCKET, SO_PRIORITY, 6) == 0 &&
	      set(fd, IPPROTO_IP, IP_TRANSPARENT, 0) == 0);
	close(fd);
}

/* Root that gave its capabilities away, or is root of a user namespace only. */
static void lost_capability(void)
{
	pid_t pid;

	if (!over_tcp || geteuid() != 0)
		return;
	CHILD(pid)
	{
		CHECK(binds_low());
		CHECK(has_only(1u << CAP_NET_RAW));
		CHECK(close(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP)) == 0);
		CHECK(!binds_low() && errno == EACCES);
		privileged_options(true);
		CHECK(has_only(0));
		FAILS(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP), EPERM);
		FAILS(socket(AF_PACKET, SOCK_DGRAM, 0), EPERM);
		privileged_options(false);
		leave();
	}
	CHECK(ended_well(pid));
	CHILD(pid)
	{
		if (unshare(CLONE_NEWUSER) == 0) { /* else this system does not allow it */
			FAILS(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP), EPERM);
			CHECK(!binds_low() && errno == EACCES);
		}
		leave();
	}
	CHECK(ended_well(pid));
}

/* A program started with its standard descriptors closed gets sockets there. */
static void standard_numbers(void)
{
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		char word[16];
		int p[2], q[2];

		make_pair(p); /* before, so that the peers are elsewhere */
		if (dup2(p[0], 0) != 0 || dup2(p[0], 1) != 1 || dup2(p[0], 2) != 2)
			_exit(1);
		close(p[0]);
		failures = 0;
		if (printf("out\n") != 4 || fflush(stdout) || fprintf(stderr, "err\n") != 4)
			_exit(2);
		if (recv(p[1], word, 8, MSG_WAITALL) != 8 || memcmp(word, "out\nerr\n", 8))
			_exit(3);
		if (write(p[1], "in 5\n", 5) != 5 || scanf("%7s", word) != 1 || strcmp(word, "in"))
			_exit(4);
		if (!freopen("/dev/null", "w", stdout) || printf("nowhere\n") != 8 ||
		    fflush(stdout))
			_exit(5);
		close(0);
		close(1);
		close(2);
		if (read(p[1], word, 1) != 0)
			_exit(6);
		make_pair(q); /* at 0, 1 or 2 */
		if (q[0] > 2 || !talk(q[0], q[1], "low"))
			_exit(7);
		_exit(0);
	}
	CHECK(ended_well(pid));
}

/* The shell speaks with a socket that it was started on. */
static void shell_on_socket(void)
{
	char buf[64];
	pid_t pid;
	int p[2];

	make_pair(p);
	fcntl(p[1], F_SETFD, FD_CLOEXEC);
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		dup2(p[0], 0);
		dup2(p[0], 1);
		close(p[0]);
		execl("/bin/sh", "sh", (char *)NULL);
		_exit(9);
	}
	close(p[0]);
	CHECK(write(p[1], "x=3; echo $((x + 4)) | cat; head -c 3; exit 0\nabc", 49) == 49);
	CHECK(recv(p[1], buf, 2, MSG_WAITALL) == 2 && !memcmp(buf, "7\n", 2));
	shutdown(p[1], SHUT_WR);
	CHECK(ended_well(pid));
	close(p[1]);
}

/* ---- signals about sockets (F_SETOWN, O_ASYNC) */

static volatile sig_atomic_t ios, last_fd, last_band;

static void on_io(int sig, siginfo_t *info, void *context)
{
	(void)sig;
	(void)context;
	ios++;
	last_fd = info->si_fd;
	last_band = (int)info->si_band;
}

static bool io_comes(void)
{
	for (int i = 0; i < 3000 && !ios; i++)
		usleep(1000);
	return ios;
}

static void io_signals(void)
{
	struct sigaction sa = {.sa_sigaction = on_io, .sa_flags = SA_SIGINFO | SA_RESTART}, old;
	int p[2], on = 1;
	char c;

	make_pair(p);
	sigaction(SIGIO, &sa, &old);
	sigaction(SIGRTMIN, &sa, NULL);
	CHECK(fcntl(p[0], F_SETOWN, getpid()) == 0 && fcntl(p[0], F_GETOWN) == getpid());
	CHECK(fcntl(p[0], F_GETSIG) == 0);
	ios = 0;
	CHECK(fcntl(p[0], F_SETFL, O_ASYNC) == 0 && (fcntl(p[0], F_GETFL) & O_ASYNC));
	ios = 0;
	CHECK(write(p[1], "a", 1) == 1 && io_comes());
	CHECK(read(p[0], &c, 1) == 1 && c == 'a');
	/* another signal, which says where */
	CHECK(fcntl(p[0], F_SETSIG, SIGRTMIN) == 0 && fcntl(p[0], F_GETSIG) == SIGRTMIN);
	usleep(50000);
	ios = 0;
	CHECK(write(p[1], "b", 1) == 1 && io_comes());
	CHECK(last_fd == p[0] && (last_band & POLLIN));
	CHECK(read(p[0], &c, 1) == 1 && c == 'b');
	CHECK(fcntl(p[0], F_SETFL, 0) == 0 && !(fcntl(p[0], F_GETFL) & O_ASYNC));
	usleep(50000);
	ios = 0;
	CHECK(write(p[1], "c", 1) == 1 && wait_for(p[0], POLLIN, 3000) >= 0);
	usleep(50000);
	CHECK(!ios && read(p[0], &c, 1) == 1);
	CHECK(ioctl(p[0], FIOASYNC, &on) == 0 && (fcntl(p[0], F_GETFL) & O_ASYNC));
	ios = 0;
	close(p[1]); /* the end is news, too */
	CHECK(io_comes());
	close(p[0]);
	sigaction(SIGIO, &old, NULL);
}

/* Urgent data tells the owner, whether it wants to hear of other news or not. */
static void urgent_signal(void)
{
	struct sigaction sa = {.sa_sigaction = on_io, .sa_flags = SA_SIGINFO | SA_RESTART}, old;
	int p[2], domain = 0;
	socklen_t len = sizeof(domain);
	char c;

	make_pair(p);
	if (getsockopt(p[0], SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 && domain == AF_UNIX) {
		close(p[0]); /* not every kernel has urgent data there */
		close(p[1]);
		return;
	}
	sigaction(SIGURG, &sa, &old);
	CHECK(fcntl(p[0], F_SETOWN, getpid()) == 0);
	ios = 0;
	CHECK(write(p[1], "a", 1) == 1 && wait_for(p[0], POLLIN, 3000) >= 0);
	CHECK(!ios);
	CHECK(send(p[1], "!", 1, MSG_OOB) == 1 && io_comes());
	CHECK(recv(p[0], &c, 1, MSG_OOB) == 1 && c == '!');
	CHECK(read(p[0], &c, 1) == 1 && c == 'a');
	close(p[0]);
	close(p[1]);
	sigaction(SIGURG, &old, NULL);
}

static void all(void)
{
	int before_ = 0;

	RUN(to_a_stranger);
	RUN(rights_cut_short);
	RUN(identity);
	RUN(as_daemon);
	RUN(jailed);
	RUN(jailed_first);
	RUN(kept_capability);
	RUN(lost_capability);
	RUN(standard_numbers);
	RUN(shell_on_socket);
	RUN(io_signals);
	RUN(urgent_signal);
}

int main(int argc, char **argv)
{
	self = argv[0];
	if (argc == 3 && !strcmp(argv[1], "take"))
		return take(argv[2]);
	return test_main(argc, argv, all);
}
