/* Start-up of a driver: what the supervisor sends before the first frame. */
#pragma once
#include "drivers/runtime/driver.h"

/* Reads messages up to HandedEnd: Start with its descriptors, the deposits. 0 or a negative errno. */
int attach_await(struct driver *d);
/* Tells the world that the device works: facts, incarnation, Hello. */
int attach_announce(struct driver *d);
/* Undoes attach_await(). */
void attach_release(struct driver *d);
/* A message after start-up. False: unknown to a driver. */
bool attach_message(struct driver *d, const Netd__Component__ToComponent *m);
