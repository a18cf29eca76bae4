/* What the parts of test_process.c share. */
#pragma once
#include "tests/apps/relatives.h"

extern const char *process_self; /* this program */

void process_fork(void);
void process_server(void);
void process_exec(void);
void process_rights(void);
