#include "base/log.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char *log_name = "netd";
static enum log_level log_max = LOG_LEVEL_INFO;
static int log_journal;

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

	log_init(name, max >= LOG_LEVEL_ERROR && max <= LOG_LEVEL_DEBUG ? (enum log_level)max : LOG_LEVEL_INFO);
}

void log_pass_level(enum log_level max)
{
	char text[4];

	snprintf(text, sizeof(text), "%d", (int)max);
	setenv("NETD_LOG_LEVEL", text, 1);
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
	if (write(STDERR_FILENO, line, (size_t)n) < 0)
		return;
}
