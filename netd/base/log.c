#include "base/log.h"
#include "proto/channel.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char *log_name = "netd";
static enum log_level log_max = LOG_LEVEL_INFO;
static int log_journal;
static int log_fd = STDERR_FILENO;

void log_init(const char *name, enum log_level max)
{
	log_name = name;
	log_max = max;
	log_journal = getenv("JOURNAL_STREAM") != NULL;
}

void log_init_component(const char *name)
{
	const char *level = getenv("NETD_LOG_LEVEL");
	int max = level ? atoi(level) : 0;

	if (getenv("NETD_LOG_FD"))
		log_fd = LOG_FD;
	log_init(name, max >= LOG_LEVEL_ERROR && max <= LOG_LEVEL_DEBUG ? (enum log_level)max : LOG_LEVEL_INFO);
}

void log_pass_level(enum log_level max)
{
	char text[4];

	snprintf(text, sizeof(text), "%d", (int)max);
	setenv("NETD_LOG_LEVEL", text, 1);
}

/* A copy among the last words, for which there always has to be room: see proto/channel.h. */
static void note(const char *line, size_t n)
{
	if (log_fd == STDERR_FILENO)
		return;
	if (lseek(STDERR_FILENO, 0, SEEK_CUR) > WORDS_SIZE / 2)
		lseek(STDERR_FILENO, 0, SEEK_SET);
	if (write(STDERR_FILENO, line, n) < 0)
		return;
}

void log_at(enum log_level level, const char *fmt, ...)
{
	char line[1024];
	int n = 0;
	va_list ap;

	if (level > log_max)
		return;
	if (log_journal)
		n = snprintf(line, sizeof(line), "<%d>", (int)level);
	n += snprintf(line + n, sizeof(line) - (size_t)n, "%s: ", log_name);
	va_start(ap, fmt);
	n += vsnprintf(line + n, sizeof(line) - (size_t)n, fmt, ap);
	va_end(ap);
	if (n > (int)sizeof(line) - 2)
		n = (int)sizeof(line) - 2;
	line[n++] = '\n';
	/* One write, so that lines of several components do not mix; nobody to tell if it fails. */
	note(line, (size_t)n);
	if (write(log_fd, line, (size_t)n) < 0)
		return;
}
