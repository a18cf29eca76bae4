/*
 * Logging. A component has no file: lines go to standard error (the journal's pipe, with its level as
 * "<N>" prefix when it is a journal), or through a sink that the component installs.
 */
#pragma once

enum log_level { LOG_LEVEL_ERROR = 3, LOG_LEVEL_WARN = 4, LOG_LEVEL_INFO = 6, LOG_LEVEL_DEBUG = 7 };

/* `name` (static storage) stands before each line; levels above `max` are dropped. */
void log_init(const char *name, enum log_level max);
/* The same for a component, at the level of the supervisor that started it. */
void log_init_component(const char *name);
/* What components that are started from now on take as their level. */
void log_pass_level(enum log_level max);
void log_at(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_at(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...)  log_at(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...)  log_at(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_at(LOG_LEVEL_DEBUG, __VA_ARGS__)
