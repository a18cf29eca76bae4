/* See supervisor_rig.h. */
#include "supervisor_rig.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>

/* We are its systemd, if `notify` is a socket. */
static struct {
	int notify;
	bool deaf, ready;
	struct {
		char name[48];
		int fd;
	} entry[FDTABLE_MAX];
	int n;
} store = {.notify = -1};

void write_devices(const struct rig *r, unsigned hang_ms, unsigned standbys, const char *devices)
{
	FILE *f = fopen(r->config, "we");

	cr_assert_not_null(f);
	fprintf(f, "socket: %s/netd.sock\npidfile_dir: %s/pid\ncrash_dir: %s/crash\n", r->dir, r->dir, r->dir);
	fprintf(f, "hang_ms: %u\nstandbys: %u\nlog_level: %s\n", hang_ms, standbys,
	    getenv("RIG_LOG") ? getenv("RIG_LOG") : "error");
	fprintf(f, "devices:\n%s", devices);
	fclose(f);
}

void write_config(const struct rig *r, unsigned hang_ms, unsigned standbys, const char *more)
{
	char devices[512];

	snprintf(devices, sizeof(devices), "  - name: tap0\n    chunks: 64\n%s", more);
	write_devices(r, hang_ms, standbys, devices);
}

static void become_supervisor(const struct rig *r)
{
	static struct supervisor s;
	struct config *config;
	char err[512], names[2048] = "", number[16];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (store.notify >= 0)
		close(store.notify); /* it is the test's to close */
	for (int i = 0; i < store.n; i++) {
		dup2(store.entry[i].fd, 3 + i);
		snprintf(names + strlen(names), sizeof(names) - strlen(names), "%s%s", i ? ":" : "", store.entry[i].name);
	}
	if (store.n) {
		snprintf(number, sizeof(number), "%d", store.n);
		setenv("LISTEN_FDS", number, 1);
		setenv("LISTEN_FDNAMES", names, 1);
		snprintf(number, sizeof(number), "%d", (int)getpid());
		setenv("LISTEN_PID", number, 1);
	}
	if (config_load(r->config, &config, err, sizeof(err)) < 0) {
		fprintf(stderr, "%s\n", err);
		_exit(1);
	}
	log_init("netd", (enum log_level)config->log_level);
	log_pass_level((enum log_level)config->log_level);
	if (supervisor_start(&s, config, r->config) < 0)
		_exit(1);
	exit(supervisor_run(&s));
}

void start_supervisor(struct rig *r)
{
	r->supervisor = fork();
	cr_assert_geq(r->supervisor, 0);
	if (!r->supervisor)
		become_supervisor(r);
}

void rig_start(struct rig *r, unsigned hang_ms, unsigned standbys)
{
	memset(r, 0, sizeof(*r));
	strcpy(r->dir, "/tmp/netd-rig-XXXXXX");
	cr_assert_not_null(mkdtemp(r->dir));
	snprintf(r->config, sizeof(r->config), "%s/netd.yaml", r->dir);
	r->sh = rig_create(r->dir);
	cr_assert_not_null(r->sh);
	setenv("RIG_DIR", r->dir, 1);
	setenv("NETD_LIBEXEC", r->dir, 1);
	unsetenv("NOTIFY_SOCKET");
	write_config(r, hang_ms, standbys, "");
}

void rig_run(struct rig *r)
{
	start_supervisor(r);
	eventually(r->sh->actives == 1);
}

bool exists(const struct rig *r, const char *name)
{
	char path[160];

	snprintf(path, sizeof(path), "%s/%s", r->dir, name);
	return access(path, F_OK) == 0;
}

pid_t pid_in(const struct rig *r, const char *name)
{
	char path[160];
	int pid = 0;
	FILE *f;

	snprintf(path, sizeof(path), "%s/pid/%s.pid", r->dir, name);
	f = fopen(path, "re");
	if (f) {
		if (fscanf(f, "%d", &pid) != 1)
			pid = 0;
		fclose(f);
	}
	return pid;
}

bool gone_for_good(pid_t pid)
{
	char path[64], state = 'Z';
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	f = fopen(path, "re");
	if (!f)
		return true;
	if (fscanf(f, "%*d (%*[^)]) %c", &state) != 1)
		state = 'Z';
	fclose(f);
	return state == 'Z';
}

void rig_remove(const struct rig *r)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf %s", r->dir);
	cr_assert_eq(system(command), 0);
}

void rig_stop(struct rig *r)
{
	pid_t gone = 0;
	int status = 0;

	kill(r->supervisor, SIGTERM);
	eventually(gone || (gone = waitpid(r->supervisor, &status, WNOHANG)));
	cr_assert_eq(gone, r->supervisor);
	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %x", status);
	cr_assert_not(exists(r, "netd.sock"));
	cr_assert_not(exists(r, "pid/inet.pid"));
	cr_assert_not(exists(r, "pid/supervisor.pid"));
	cr_assert_not(exists(r, "pid/driver-tap0.pid"));
	eventually(gone_for_good(r->sh->active));
	rig_remove(r);
}

const char *crash_text(const struct rig *r)
{
	static char text[128 << 10];
	char command[160];
	size_t n;
	FILE *f;

	snprintf(command, sizeof(command), "ls %s/crash/crash-*-tap0-*.txt 2>/dev/null | tail -1 | xargs -r cat", r->dir);
	f = popen(command, "re");
	cr_assert_not_null(f);
	n = fread(text, 1, sizeof(text) - 1, f);
	text[n] = 0;
	pclose(f);
	return text;
}

void rig_store_listen(struct rig *r)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/notify", r->dir);
	store.notify = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	cr_assert_eq(bind(store.notify, (struct sockaddr *)&addr, sizeof(addr)), 0);
	setenv("NOTIFY_SOCKET", addr.sun_path, 1);
}

static void store_message(char *text, int fd)
{
	char *name = strstr(text, "FDNAME=");

	store.ready |= strstr(text, "READY=1") != NULL;
	if (!name)
		return;
	name += 7;
	name[strcspn(name, "\n")] = 0;
	if (strstr(text, "FDSTOREREMOVE=1")) {
		for (int i = 0; i < store.n; i++) {
			if (strcmp(store.entry[i].name, name) != 0)
				continue;
			close(store.entry[i].fd);
			store.entry[i--] = store.entry[--store.n];
		}
	} else if (fd >= 0) {
		for (int i = 0; i < store.n; i++)
			cr_assert_str_neq(store.entry[i].name, name, "stored twice");
		cr_assert_lt(store.n, FDTABLE_MAX);
		snprintf(store.entry[store.n].name, sizeof(store.entry[0].name), "%s", name);
		/* Far from where the child wants them. */
		store.entry[store.n++].fd = fcntl(fd, F_DUPFD_CLOEXEC, 500);
	}
}

void rig_store_serve(void)
{
	char text[1024];
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int))];
	} control;

	while (store.notify >= 0 && !store.deaf) {
		struct iovec iov = {.iov_base = text, .iov_len = sizeof(text) - 1};
		struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.buf,
		    .msg_controllen = sizeof(control.buf)};
		ssize_t n = recvmsg(store.notify, &mh, MSG_CMSG_CLOEXEC);
		struct cmsghdr *c = n < 0 ? NULL : CMSG_FIRSTHDR(&mh);
		int fd = -1;

		if (n < 0)
			return;
		text[n] = 0;
		if (c && c->cmsg_type == SCM_RIGHTS)
			memcpy(&fd, CMSG_DATA(c), sizeof(fd));
		store_message(text, fd);
		if (fd >= 0)
			close(fd);
	}
}

void rig_store_leave(void)
{
	rig_store_serve();
	close(store.notify);
	store.notify = -1;
	unlink(getenv("NOTIFY_SOCKET"));
}

void rig_store_deafen(void)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", getenv("NOTIFY_SOCKET"));
	cr_assert_eq(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	while (send(fd, "noise", 5, 0) == 5)
		;
	cr_assert_eq(errno, EAGAIN);
	close(fd);
	store.deaf = true;
}

void rig_store_undeafen(void)
{
	store.deaf = false;
}

bool rig_store_has(const char *name)
{
	int i = 0;

	while (i < store.n && strcmp(store.entry[i].name, name) != 0)
		i++;
	return i < store.n;
}

bool rig_store_ready(void)
{
	return store.ready;
}

void rig_store_replace(const char *name, int fd)
{
	int i = 0;

	while (i < store.n && strcmp(store.entry[i].name, name) != 0)
		i++;
	cr_assert_lt(i, store.n);
	cr_assert_eq(dup3(fd, store.entry[i].fd, O_CLOEXEC), store.entry[i].fd);
	close(fd);
}

void rig_store_close(void)
{
	rig_store_serve();
	cr_assert_eq(store.n, 0, "%d descriptors are left in the store, %s first", store.n, store.entry[0].name);
	close(store.notify);
	store.notify = -1;
}
