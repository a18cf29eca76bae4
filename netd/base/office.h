/*
 * The supervisor's office: a lock on one byte of the arena's file.
 *
 * Whoever is supervisor holds it for life, by an open file description that nobody else has; the kernel
 * gives it up when the process dies. So there is never more than one supervisor to one arena, and
 * netd-inet, which does without one for a while (daemon/alone.h), takes the same lock to prove that
 * there is none, and to keep the next one out while it reads what is the supervisor's to read.
 */
#pragma once
#include <stdbool.h>

enum office {
	OFFICE_TAKEN,
	OFFICE_BUSY,	 /* a netd-inet has it, for a moment */
	OFFICE_OCCUPIED, /* another supervisor has it */
};

/* Until the process dies. `*fd` becomes the description that holds it. An enum office, or a negative errno. */
int office_take(int arena, int *fd);
/* For a moment. False: there is a supervisor. */
bool office_borrow(int arena);
void office_give_back(int arena);
