#include "supervisor/hang.h"
#include "base/util.h"
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* A disk that does not answer is the machine's trouble, up to a point. */
#define BLOCKED_LIMITS 10

static bool read_text(int dir, const char *name, char *buf, size_t size)
{
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return false;
	n = read(fd, buf, size - 1);
	close(fd);
	buf[n > 0 ? n : 0] = 0;
	return n > 0;
}

static void read_thread(int task, struct hang_sample *s)
{
	char buf[1024];
	const char *state;
	uint64_t run, wait;

	if (read_text(task, "schedstat", buf, sizeof(buf)) &&
	    sscanf(buf, "%" SCNu64 " %" SCNu64, &run, &wait) == 2) {
		s->run_ns += run;
		s->wait_ns += wait;
		s->known = true;
	}
	/* "pid (name) state ...": the name may hold anything, so the last parenthesis counts. */
	if (!read_text(task, "stat", buf, sizeof(buf)) || !(state = strrchr(buf, ')')) || !state[1])
		return;
	s->runnable |= state[2] == 'R';
	s->blocked |= state[2] == 'D';
	s->stopped |= state[2] == 'T' || state[2] == 't';
}

void hang_read(pid_t pid, struct hang_sample *s)
{
	char path[64];
	struct dirent *e;
	DIR *dir;

	memset(s, 0, sizeof(*s));
	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	dir = opendir(path);
	if (!dir)
		return;
	while ((e = readdir(dir))) {
		int task = e->d_name[0] == '.' ? -1
		    : openat(dirfd(dir), e->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		if (task < 0)
			continue;
		read_thread(task, s);
		close(task);
	}
	closedir(dir);
}

static uint64_t less(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

enum hang_kind hang_verdict(
    const struct hang *h, uint64_t now, uint64_t limit_ns, const struct hang_sample *s)
{
	uint64_t silent = now - h->asked_ns, ran = 0;

	if (!h->asked_ns || now < h->grace_ns)
		return HANG_NOT;
	silent = less(silent, h->late_ns);
	if (s->known && h->sampled && h->first.known) {
		silent = less(silent, less(s->wait_ns, h->first.wait_ns));
		ran = less(s->run_ns, h->first.run_ns);
	}
	if (silent <= limit_ns)
		return HANG_NOT;
	if (s->stopped)
		return HANG_STOPPED;
	if (s->known && s->runnable && ran < limit_ns / 2)
		return HANG_NOT;
	if (s->blocked && silent <= limit_ns * BLOCKED_LIMITS)
		return HANG_NOT;
	return ran >= limit_ns / 2 ? HANG_SPINNING : HANG_ASLEEP;
}
