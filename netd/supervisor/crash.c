/*
 * Crash files: components have no file access, so the supervisor writes down how they died, and their last words
 * (proto/channel.h). One file a death, of bounded size; the newest CRASH_FILES are kept.
 */
#include "supervisor/supervisor.h"
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define CRASH_FILES 50

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

bool crash_open(const struct supervisor *s, struct crash_file *c, const char *what)
{
	struct tm tm;

	clock_gettime(CLOCK_REALTIME, &c->time);
	gmtime_r(&c->time.tv_sec, &tm);
	strftime(c->when, sizeof(c->when), "%Y%m%dT%H%M%S", &tm);
	snprintf(c->path, sizeof(c->path), "%s/crash-%s.%06ld-%s", s->config->crash_dir, c->when, c->time.tv_nsec / 1000, what);
	make_directories(c->path, true);
	c->f = fopen(c->path, "wxe");
	if (!c->f)
		log_warn("%s: %s", c->path, strerror(errno));
	return c->f;
}

bool crash_close(const struct supervisor *s, struct crash_file *c)
{
	if (file_finish(c->f) < 0) {
		log_warn("%s: cannot be written: %s", c->path, strerror(errno));
		unlink(c->path); /* half of it helps nobody */
		return false;
	}
	bound_number(s->config->crash_dir);
	return true;
}

/* Whatever a dead component put there: lines of ours, without what a terminal would obey. */
static void print_words(FILE *f, const char *text, size_t n, bool *begun)
{
	for (size_t i = 0; i < n; i++) {
		char c = *(const volatile char *)&text[i]; /* a netd-inet has the memory too */

		if (!c)
			continue;
		if (!*begun)
			fputs("  ", f);
		*begun = c != '\n';
		putc(c == '\n' || c == '\t' || !iscntrl((unsigned char)c) ? c : '?', f);
	}
}

/* It goes on where it was written last: what stands behind that place is older than what stands before it. */
static void write_words(FILE *f, int words)
{
	off_t at = words < 0 ? -1 : lseek(words, 0, SEEK_CUR);
	const char *text = words < 0 ? NULL : memory_map(words, WORDS_SIZE, PROT_READ), *older;
	bool begun = false;

	if (!text)
		return;
	at = at < 0 ? 0 : min_of(at, (off_t)WORDS_SIZE);
	older = memchr(text + at, '\n', WORDS_SIZE - (size_t)at); /* the first line there may be half of one */
	fprintf(f, "last words:\n");
	if (older)
		print_words(f, older + 1, (size_t)(text + WORDS_SIZE - older - 1), &begun);
	print_words(f, text, (size_t)at, &begun);
	if (begun)
		putc('\n', f);
	munmap((void *)(uintptr_t)text, WORDS_SIZE);
}

void crash_write(const struct component *c, const char *death, uint64_t died_ns)
{
	struct crash_file file;
	char name[48], what[48];

	component_name(c, name, sizeof(name));
	snprintf(what, sizeof(what), "%s-%d.txt", c->device ? c->device->name : "inet", (int)c->pid);
	if (!crash_open(c->sup, &file, what))
		return;
	fprintf(file.f, "component: %s\npid: %d\ntime: %s\ncause: %s\n", name, (int)c->pid, file.when, death);
	fprintf(file.f, "lived_ms: %llu\n", (unsigned long long)((died_ns - c->started_ns) / NSEC_PER_MSEC));
	if (c->hang.answered_ns)
		fprintf(file.f, "last_sign_of_life_ms_before: %llu\n",
		    (unsigned long long)((died_ns - min_of(died_ns, c->hang.answered_ns)) / NSEC_PER_MSEC));
	write_words(file.f, c->words);
	if (crash_close(c->sup, &file))
		log_info("what %s (pid %d) said last is in %s", name, (int)c->pid, file.path);
}
