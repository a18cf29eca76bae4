/*
 * A client that shares its sockets with itself: it asks for shares, clones and tokens, becomes its own child, joins and
 * watches with whatever it was told, right or wrong, and lies in the memories that it is given (proto/share.h).
 */
#pragma once
#include "client_rig.h"

void share_begin(void);
/* Takes the answers that are there, asks for something, and lies. */
void share_step(void);
/* Lets go of all that it has. */
void share_end(void);
