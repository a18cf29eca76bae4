/*
 * Crash files: components have no file access, so the supervisor writes down how they died. One small
 * text file a death, the newest CRASH_FILES are kept.
 */
#include "supervisor/supervisor.h"
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define CRASH_FILES 50

void crash_note(struct component *c, const char *line)
{
	snprintf(c->line[c->lines++ % LOG_LINES], LOG_LINE_MAX, "%s", line);
}

static int is_crash_file(const struct dirent *e)
{
	return !strncmp(e->d_name, "crash-", 6);
}

/* The names begin with the time, so their order is their age. */
static void bound_number(const char *dir)
{
	struct dirent **list;
	char path[512];
	int n = scandir(dir, &list, is_crash_file, alphasort);

	for (int i = 0; i < n; i++) {
		if (i < n - CRASH_FILES) {
			snprintf(path, sizeof(path), "%s/%.255s", dir, list[i]->d_name);
			unlink(path);
		}
		free(list[i]);
	}
	if (n >= 0)
		free(list);
}

static void write_facts(FILE *f, const struct component *c, const char *name, const char *when, const char *death,
    uint64_t died_ns)
{
	unsigned first = c->lines > LOG_LINES ? c->lines - LOG_LINES : 0;

	fprintf(f, "component: %s\npid: %d\ntime: %s\ncause: %s\n", name, (int)c->pid, when, death);
	fprintf(f, "lived_ms: %llu\n", (unsigned long long)((died_ns - c->started_ns) / NSEC_PER_MSEC));
	if (c->hang.answered_ns)
		fprintf(f, "last_sign_of_life_ms_before: %llu\n",
		    (unsigned long long)((died_ns - min_of(died_ns, c->hang.answered_ns)) / NSEC_PER_MSEC));
	fprintf(f, "last log lines: %u\n", c->lines - first);
	for (unsigned i = first; i < c->lines; i++)
		fprintf(f, "  %s\n", c->line[i % LOG_LINES]);
}

void crash_write(const struct component *c, const char *death, uint64_t died_ns)
{
	const char *dir = c->sup->config->crash_dir;
	char path[512], name[48], when[32];
	struct timespec ts;
	struct tm tm;
	FILE *f;

	component_name(c, name, sizeof(name));
	clock_gettime(CLOCK_REALTIME, &ts);
	gmtime_r(&ts.tv_sec, &tm);
	strftime(when, sizeof(when), "%Y%m%dT%H%M%S", &tm);
	snprintf(path, sizeof(path), "%s/crash-%s.%06ld-%s-%d.txt", dir, when, ts.tv_nsec / 1000,
	    c->device ? c->device->name : "inet", (int)c->pid);
	make_directories(path, true);
	f = fopen(path, "wxe");
	if (!f) {
		log_warn("%s: %s", path, strerror(errno));
		return;
	}
	write_facts(f, c, name, when, death, died_ns);
	if (file_finish(f) < 0) {
		log_warn("%s: cannot be written: %s", path, strerror(errno));
		unlink(path); /* half of it helps nobody */
		return;
	}
	bound_number(dir);
}
