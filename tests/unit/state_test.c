/* The arena: commits are all or nothing, whatever part of their stores reached the memory. */
#include "base/crc32c.h"
#include "state/state.h"
#include "state/image.h"
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

struct toy {
	uint64_t value, echo;
	uint8_t fill[80];
};

static const struct record_type types[KIND_COUNT] = {
	[KIND_WORLD] = {.name = "world", .size = 64, .capacity = 1},
	[KIND_DEVICE] = {.name = "device", .size = 64, .capacity = 4},
	[KIND_CHUNKS] = {.name = "chunks", .size = 64, .capacity = 4},
	[KIND_ADDR] = {.name = "addr", .size = 64, .capacity = 4},
	[KIND_ROUTE] = {.name = "route", .size = 64, .capacity = 4},
	[KIND_NEIGH] = {.name = "neigh", .size = 64, .capacity = 4},
	[KIND_FRAG] = {.name = "frag", .size = 64, .capacity = 4},
	[KIND_SESSION] = {.name = "session", .size = 64, .capacity = 4},
	[KIND_SOCK] = {.name = "sock", .size = sizeof(struct toy), .capacity = 200},
	[KIND_TCP] = {.name = "tcp", .size = sizeof(struct toy), .capacity = 200},
	[KIND_TCPX] = {.name = "tcpx", .size = 64, .capacity = 4},
	[KIND_SYNRCV] = {.name = "synrcv", .size = 64, .capacity = 4},
	[KIND_TIMEWAIT] = {.name = "timewait", .size = 64, .capacity = 4},
};

static uint64_t size;
static void *arena;
static struct state *st;

static void setup(void)
{
	size = state_size(types);
	arena = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	cr_assert_neq(arena, MAP_FAILED);
	cr_assert_eq(state_open(&st, arena, size, types), 0);
	cr_assert_eq(state_recover(st, NULL, NULL), 0);
}

static void teardown(void)
{
	state_close(st);
	munmap(arena, size);
}

/* The daemon dies: private memory is gone, the arena stays. */
static int restart(void)
{
	state_close(st);
	cr_assert_eq(state_open(&st, arena, size, types), 0);
	return state_recover(st, NULL, NULL);
}

TestSuite(state, .init = setup, .fini = teardown);

Test(state, a_record_lives_from_its_commit_on)
{
	uint32_t i;
	struct toy *t = state_alloc(st, KIND_SOCK, &i);

	cr_assert_not_null(t);
	t->value = 7;
	cr_assert_eq(((const struct toy *)state_peek(st, KIND_SOCK, i))->value, 7);
	restart();
	cr_assert_not(state_live(st, KIND_SOCK, i), "not committed: never was");
	t = state_alloc(st, KIND_SOCK, &i);
	t->value = 8;
	state_commit(st);
	restart();
	cr_assert_eq(((const struct toy *)state_peek(st, KIND_SOCK, i))->value, 8);
	cr_assert_eq(state_count(st, KIND_SOCK), 1);
}

Test(state, freed_index_is_not_given_out_before_the_commit_and_changes_generation)
{
	uint32_t i, j;
	uint32_t gen;

	cr_assert_not_null(state_alloc(st, KIND_SOCK, &i));
	state_commit(st);
	gen = state_generation(st, KIND_SOCK, i);
	state_free(st, KIND_SOCK, i);
	cr_assert_null(state_get(st, KIND_SOCK, i));
	cr_assert_not_null(state_alloc(st, KIND_SOCK, &j));
	cr_assert_neq(i, j);
	state_commit(st);
	restart();
	cr_assert_not(state_live(st, KIND_SOCK, i));
	cr_assert_not_null(state_alloc_at(st, KIND_SOCK, i));
	cr_assert_neq(state_generation(st, KIND_SOCK, i), gen);
}

Test(state, freed_and_made_again_at_the_same_index_within_a_cycle)
{
	struct toy *t = state_alloc_at(st, KIND_TCP, 5);

	t->value = 1;
	state_commit(st);
	state_free(st, KIND_TCP, 5);
	t = state_alloc_at(st, KIND_TCP, 5);
	cr_assert_not_null(t);
	cr_assert_eq(t->value, 0);
	t->value = 2;
	state_commit(st);
	restart();
	cr_assert_eq(((const struct toy *)state_peek(st, KIND_TCP, 5))->value, 2);
	cr_assert_eq(state_count(st, KIND_TCP), 1);
}

Test(state, out_of_range_and_full_are_refused)
{
	uint32_t i;

	cr_assert_null(state_get(st, KIND_SOCK, 200));
	cr_assert_null(state_peek(st, KIND_SOCK, NO_INDEX));
	cr_assert_null(state_alloc_at(st, KIND_SOCK, 200));
	for (int n = 0; n < 200; n++)
		cr_assert_not_null(state_alloc(st, KIND_SOCK, &i));
	cr_assert_null(state_alloc(st, KIND_SOCK, &i));
	state_commit(st);
	cr_assert_null(state_alloc(st, KIND_SOCK, &i));
	cr_assert_eq(state_count(st, KIND_SOCK), 200);
}

Test(state, iteration_finds_exactly_the_living)
{
	uint32_t seen = 0;

	for (uint32_t i = 0; i < 200; i += 63)
		state_alloc_at(st, KIND_SOCK, i);
	state_commit(st);
	restart();
	for (uint32_t i = state_next(st, KIND_SOCK, 0); i != NO_INDEX; i = state_next(st, KIND_SOCK, i + 1)) {
		cr_assert_eq(i % 63, 0);
		seen++;
	}
	cr_assert_eq(seen, 4);
}

Test(state, abandoned_work_leaves_nothing)
{
	uint32_t i;

	state_alloc_at(st, KIND_SOCK, 3);
	state_commit(st);
	state_free(st, KIND_SOCK, 3);
	state_alloc(st, KIND_SOCK, &i);
	state_abandon(st);
	cr_assert(state_live(st, KIND_SOCK, 3));
	cr_assert_not(state_live(st, KIND_SOCK, i));
	cr_assert_eq(state_count(st, KIND_SOCK), 1);
	cr_assert_eq(state_dirty(st), 0);
}

Test(state, arena_of_another_layout_is_refused)
{
	struct record_type other[KIND_COUNT];
	struct state *again = NULL;

	memcpy(other, types, sizeof(other));
	other[KIND_SOCK].size += 64;
	cr_assert_eq(state_open(&again, arena, size, other), -EPROTO);
	cr_assert_eq(state_open(&again, arena, size / 2, types), -EPROTO);
}

/* Two records that must always say the same, changed together. */
static void set_pair(uint64_t v)
{
	((struct toy *)state_get(st, KIND_SOCK, 0))->value = v;
	((struct toy *)state_get(st, KIND_TCP, 1))->value = v;
	for (unsigned i = 2; i < 6; i++)
		((struct toy *)state_get(st, KIND_TCP, i))->value = v;
}

static uint64_t check_pair(void)
{
	uint64_t v = ((const struct toy *)state_peek(st, KIND_SOCK, 0))->value;

	for (unsigned i = 1; i < 6; i++)
		cr_assert_eq(((const struct toy *)state_peek(st, KIND_TCP, i))->value, v);
	return v;
}

static void make_pair(void)
{
	state_alloc_at(st, KIND_SOCK, 0);
	for (unsigned i = 1; i < 6; i++)
		state_alloc_at(st, KIND_TCP, i);
	set_pair(1);
	state_commit(st);
	set_pair(2);
	state_commit(st);
}

/*
 * Any subset of a commit's stores, as long as the last one is missing, must be as if it had not been;
 * and the commits after the recovery must be sound too.
 */
Test(state, torn_commits_never_show)
{
	uint64_t *before = malloc(size), *after = malloc(size), *mem = arena;
	size_t words = size / 8, committed = offsetof(struct state_header, committed) / 8;

	cr_assert(before && after);
	make_pair();
	srand(1);
	for (int round = 0; round < 300; round++) {
		uint64_t v = check_pair();

		memcpy(before, arena, size);
		set_pair(v + 1);
		state_commit(st);
		memcpy(after, arena, size);
		for (size_t w = 0; w < words; w++)
			if (before[w] != after[w])
				mem[w] = w == committed || rand() % 3 == 0 ? before[w] : after[w];
		cr_assert_eq(restart(), 0, "torn work must not look corrupt");
		cr_assert_eq(check_pair(), v);
		set_pair(v + 1);
		state_commit(st);
		cr_assert_eq(restart(), 0);
		cr_assert_eq(check_pair(), v + 1);
	}
	free(before);
	free(after);
}

Test(state, corruption_is_reported_and_never_falls_back)
{
	struct image *im;
	uint32_t gen;

	make_pair();
	gen = state_generation(st, KIND_TCP, 3);
	im = image_at(st, &st->kind[KIND_TCP], 3, st->kind[KIND_TCP].newest[3]);
	im->content[0] ^= 1;
	cr_assert_eq(restart(), 1);
	cr_assert_not(state_live(st, KIND_TCP, 3), "the older image would be a past truth");
	state_commit(st);
	cr_assert_eq(restart(), 0);
	cr_assert_not_null(state_alloc_at(st, KIND_TCP, 3));
	cr_assert_neq(state_generation(st, KIND_TCP, 3), gen);
}

/* Wherever they are: also where one third's remainder could make up for another's. */
Test(state, checksum_finds_any_two_bits)
{
	enum { SIZE = 136, BITS = SIZE * 8 };
	uint8_t data[SIZE];
	uint32_t sum;

	for (unsigned i = 0; i < SIZE; i++)
		data[i] = (uint8_t)(i * 37);
	sum = crc32c_thirds(1, data, SIZE);
	for (unsigned a = 0; a < BITS; a++) {
		data[a / 8] ^= (uint8_t)(1u << a % 8);
		cr_assert_neq(crc32c_thirds(1, data, SIZE), sum, "bit %u", a);
		for (unsigned b = a + 1; b < BITS; b++) {
			data[b / 8] ^= (uint8_t)(1u << b % 8);
			if (crc32c_thirds(1, data, SIZE) == sum)
				cr_assert_fail("bits %u and %u", a, b);
			data[b / 8] ^= (uint8_t)(1u << b % 8);
		}
		data[a / 8] ^= (uint8_t)(1u << a % 8);
	}
}
