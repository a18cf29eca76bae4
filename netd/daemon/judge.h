/* Why the predecessor died, and what must not kill us too. Theory of operation: state/blackbox.h. */
#pragma once
#include "daemon/daemon.h"

/*
 * After the arena was recovered and the devices attached, before anything is rebuilt from records: a record
 * that is to be given up is freed here, and the layers find it lost. Then the black box is ours.
 */
void judge_predecessor(struct daemon *d, bool died);
