/*
 * Kill points: places at which a test lets the daemon die, as if by SIGKILL from outside.
 *
 * KILLPOINT("name") costs nothing in normal builds. In builds with NETD_KILLPOINTS every one of them
 * stands in a table that the linker collects, so that a test enumerates all and forgets none. Arming
 * is a word in memory that outlives the process; it is cleared before the death, so that the successor
 * lives.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

#define KILLPOINT_NAME_MAX 48

struct killpoint_arm {
	uint32_t countdown; /* die when it falls to 0; 0: not armed */
	char name[KILLPOINT_NAME_MAX];
	uint32_t spin; /* hang instead */
	char then[KILLPOINT_NAME_MAX]; /* armed for the successor by this death; may be empty */
};

/*
 * POISON(data, len): in builds with kill points, data that begins with one of these makes the daemon fail here by itself,
 * every time, as a defect in a parser would.
 */
#define POISON_SEGV "\x01netd-poison-segv"
#define POISON_SPIN "\x01netd-poison-spin"

#ifdef NETD_KILLPOINTS
void killpoint_poison(const void *data, size_t len);
#define POISON(data, len) killpoint_poison(data, len)
#else
#define POISON(data, len)                                                                          \
	do {                                                                                       \
	} while (0)
#endif

#ifdef NETD_KILLPOINTS
struct killpoint {
	const char *name;
};
void killpoint_pass(const struct killpoint *k);
#define KILLPOINT(label)                                                                           \
	do {                                                                                       \
		static const struct killpoint kp_here = {label};                                   \
		static const struct killpoint *const kp_entry                                      \
		    __attribute__((used, section("netd_kp"))) = &kp_here;                          \
		killpoint_pass(&kp_here);                                                          \
	} while (0)
#else
#define KILLPOINT(label)                                                                           \
	do {                                                                                       \
	} while (0)
#endif

/* Where arming is kept; call once, early. */
void killpoint_init(struct killpoint_arm *arm);
/*
 * Arms `name` for its n-th passage; "first+second" arms the second by the death at the first, for
 * points that only the successor of a certain death passes; "!name" hangs there in a busy loop. 0, -ENOENT for an unknown name, -ENOTSUP
 * in builds without.
 */
int killpoint_arm(const char *name, uint32_t n);
/* Would killpoint_arm() take that name? */
int killpoint_check(const char *name);
/* Names in no order; NULL after the last. */
const char *killpoint_name(unsigned i);
