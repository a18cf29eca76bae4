/* The second half of reading a configuration: defaults and what the schema cannot say. */
#pragma once
#include "supervisor/config.h"

/* Fills in what was left out. 0 or -ENOMEM. */
int config_defaults(struct config *c);
/* Is it sound? 0, or -EINVAL with the offending key ("devices[0].mtu") and what is wrong with it. */
int config_check(struct config *c, char *key, size_t key_size, char *why, size_t why_size);
