/* Pid files: inet.pid (the active one), driver-NAME.pid, supervisor.pid; each replaced by a rename. */
#include "supervisor/supervisor.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

int make_directories(const char *path, bool parent_only)
{
	char dir[512];

	snprintf(dir, sizeof(dir), "%s", path);
	for (char *p = strchr(dir + 1, '/'); p; p = strchr(p + 1, '/')) {
		*p = 0;
		if (mkdir(dir, 0755) < 0 && errno != EEXIST)
			return -errno;
		*p = '/';
	}
	if (!parent_only && mkdir(dir, 0755) < 0 && errno != EEXIST)
		return -errno;
	return 0;
}

int file_finish(FILE *f)
{
	bool bad = ferror(f);
	int e = errno;

	if (fclose(f) == 0 && !bad)
		return 0;
	if (bad)
		errno = e;
	return -errno;
}

static void file_name(const struct supervisor *s, const char *name, const char *suffix, char *path, size_t size)
{
	snprintf(path, size, "%s/%s.pid%s", s->config->pidfile_dir, name, suffix);
}

static void write_pid(const struct supervisor *s, const char *name, pid_t pid)
{
	char path[512], fresh[512];
	FILE *f;

	file_name(s, name, "", path, sizeof(path));
	file_name(s, name, ".new", fresh, sizeof(fresh));
	f = fopen(fresh, "we");
	if (f) {
		fprintf(f, "%d\n", (int)pid);
		if (file_finish(f) == 0 && rename(fresh, path) == 0)
			return;
	}
	log_warn("%s: %s", path, strerror(errno));
	unlink(fresh);
	unlink(path); /* it names a process that is dead, and the number will be another's */
}

static void driver_file(const struct device *d, char *buf, size_t size)
{
	snprintf(buf, size, "driver-%s", d->name);
}

void pidfiles_update(struct supervisor *s)
{
	char name[32];

	if (!s->written[0] && make_directories(s->config->pidfile_dir, false) == 0)
		write_pid(s, "supervisor", getpid());
	if (s->active && s->written[0] != s->active->pid) {
		s->written[0] = s->active->pid;
		write_pid(s, "inet", s->active->pid);
	}
	for (unsigned i = 0; i < CONFIG_DEVICES_MAX; i++) {
		const struct component *c = s->device[i] ? driver_of(s, s->device[i]) : NULL;

		if (!c || s->written[1 + i] == c->pid)
			continue;
		s->written[1 + i] = c->pid;
		driver_file(s->device[i], name, sizeof(name));
		write_pid(s, name, c->pid);
	}
}

static void remove_file(const struct supervisor *s, const char *name)
{
	char path[512];

	file_name(s, name, "", path, sizeof(path));
	unlink(path);
}

void pidfile_remove_device(struct supervisor *s, const struct device *d)
{
	char name[32];

	driver_file(d, name, sizeof(name));
	remove_file(s, name);
	s->written[1 + d->slot] = 0;
}

void pidfiles_remove(struct supervisor *s)
{
	remove_file(s, "inet");
	remove_file(s, "supervisor");
}

pid_t pidfile_read(const struct supervisor *s, const char *name)
{
	char path[512];
	int pid = 0;
	FILE *f;

	file_name(s, name, "", path, sizeof(path));
	f = fopen(path, "re");
	if (!f)
		return 0;
	if (fscanf(f, "%d", &pid) != 1)
		pid = 0;
	fclose(f);
	return pid;
}
