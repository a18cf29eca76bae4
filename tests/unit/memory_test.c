/* Ring memory: pieces never overlap, claims rebuild what was, freed pieces wait for the commit. */
#include "state/memory.h"
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define SIZE (64ull << 20)
#define HEAP 8192ull

static struct memories *m;
static uint8_t *base;

static void *make(void)
{
	return mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
}

static void setup(void)
{
	m = memories_new();
	base = make();
	cr_assert_eq(memory_add(m, 0, base, SIZE, HEAP), 0);
}

static void teardown(void)
{
	memory_remove(m, 0);
	memories_free(m);
}

TestSuite(memory, .init = setup, .fini = teardown);

Test(memory, refuses_nonsense)
{
	struct ring_place p = {0};

	cr_assert_eq(ring_alloc(m, 0, 5000, &p), -EINVAL);
	cr_assert_eq(ring_alloc(m, 0, 2048, &p), -EINVAL);
	cr_assert_eq(ring_alloc(m, 7, 4096, &p), -ENOENT);
	cr_assert_eq(memory_add(m, 0, base, SIZE, 0), -EEXIST);
	cr_assert_eq(ring_claim(m, &(struct ring_place){.off = 0, .cap = 4096}), -EINVAL, "before the heap");
	cr_assert_eq(ring_claim(m, &(struct ring_place){.off = SIZE - 4096, .cap = 8192}), -EINVAL);
	cr_assert_eq(ring_claim(m, &(struct ring_place){.off = HEAP + 1, .cap = 4096}), -EINVAL);
	cr_assert_eq(ring_claim(m, &(struct ring_place){.off = UINT64_MAX - 4095, .cap = 4096}), -EINVAL);
}

Test(memory, freed_piece_waits_for_the_commit)
{
	struct ring_place a = {0}, b = {0}, c = {0};

	cr_assert_eq(ring_alloc(m, 0, 65536, &a), 0);
	ring_free(m, &a);
	cr_assert_eq(ring_alloc(m, 0, 65536, &b), 0);
	cr_assert_neq(a.off, b.off);
	memories_commit(m);
	cr_assert_eq(ring_alloc(m, 0, 65536, &c), 0);
	cr_assert_eq(c.off, a.off);
	cr_assert_eq(memory_used(m, 0), 2 * 65536);
}

/* Random work beside a plain byte map; now and then everything private is forgotten and claimed again. */
/* Takes `n` pieces of `cap` bytes and marks the first page of each; gives them all back. How many kept the mark of last time. */
static unsigned churn(unsigned n, uint32_t cap)
{
	static struct ring_place p[600];
	unsigned kept = 0;

	for (unsigned i = 0; i < n; i++) {
		cr_assert_eq(ring_alloc(m, 0, cap, &p[i]), 0);
		kept += base[p[i].off] == 0xaa;
		base[p[i].off] = 0xaa;
	}
	for (unsigned i = 0; i < n; i++)
		ring_free(m, &p[i]);
	memories_commit(m);
	return kept;
}

Test(memory, who_opens_and_closes_many_keeps_the_pages)
{
	cr_assert_eq(churn(200, 65536), 0);
	cr_assert_eq(churn(200, 65536), 200, "none was given back to the kernel");
	cr_assert_eq(churn(500, 65536), 200, "these first, before those that were never used");
	cr_assert_eq(churn(500, 65536), (16 << 20) / 65536, "as many as the limit says are kept");
	cr_assert_eq(churn(200, 65536), 200, "and given out first");
	cr_assert_eq(churn(2, 1 << 20), 0);
	cr_assert_eq(churn(2, 1 << 20), 0, "large ones never stay");
}

Test(memory, pieces_never_overlap)
{
	static struct ring_place live[400];
	static uint8_t taken[SIZE / 4096];
	unsigned n = 0;

	srand(7);
	for (int round = 0; round < 20000; round++) {
		if (rand() % 5000 == 0) {
			memories_free(m);
			m = memories_new();
			cr_assert_eq(memory_add(m, 0, base, SIZE, HEAP), 0);
			for (unsigned i = 0; i < n; i++)
				cr_assert_eq(ring_claim(m, &live[i]), 0);
			cr_assert(!n || ring_claim(m, &live[0]) == -EINVAL, "twice");
		}
		if (n < 400 && rand() % 2) {
			struct ring_place p = {0};

			if (ring_alloc(m, 0, 4096u << (rand() % 8), &p) < 0)
				continue;
			for (uint64_t o = p.off; o < p.off + p.cap; o += 4096) {
				cr_assert_not(taken[o / 4096]);
				taken[o / 4096] = 1;
			}
			cr_assert_geq(p.off, HEAP);
			cr_assert_leq(p.off + p.cap, SIZE);
			live[n++] = p;
		} else if (n) {
			unsigned i = (unsigned)rand() % n;

			for (uint64_t o = live[i].off; o < live[i].off + live[i].cap; o += 4096)
				taken[o / 4096] = 0;
			ring_free(m, &live[i]);
			memories_commit(m);
			live[i] = live[--n];
		}
	}
}

Test(memory, bytes_wrap_at_the_end_and_follow_the_base)
{
	struct ring_place p = {0};
	uint8_t in[6000], out[6000];
	uint32_t run;

	cr_assert_eq(ring_alloc(m, 0, 8192, &p), 0);
	p.base = 1000;
	for (unsigned i = 0; i < sizeof(in); i++)
		in[i] = (uint8_t)(i * 7);
	ring_write(m, &p, 5000, in, sizeof(in));
	ring_read(m, &p, 5000, out, sizeof(out));
	cr_assert_arr_eq(in, out, sizeof(in));
	cr_assert_eq(ring_span(m, &p, 1000, 10, &run), base + p.off);
	cr_assert_eq(ring_span(m, &p, 1000 + 8190, 10, &run), base + p.off + 8190);
	cr_assert_eq(run, 2);
	cr_assert_null(ring_span(m, &(struct ring_place){.mem = 0}, 0, 1, &run), "no memory");
}
