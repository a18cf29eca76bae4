/* Streams whose bytes are known. See sim.h. */
#include "sim.h"

#define CLIENT_NS (100 * NSEC_PER_USEC)

uint8_t sim_byte(uint64_t id, uint64_t off)
{
	uint64_t x = (off >> 3) + id * 0x9e3779b97f4a7c15ull;

	return (uint8_t)(sim_mix(&x) >> (off & 7) * 8);
}

bool sim_pump(struct sim_flow *f)
{
	static uint8_t data[65536];
	uint32_t most =
		     min_of(f->piece ? f->piece : (uint32_t)sizeof(data), (uint32_t)sizeof(data)),
		 n;

	n = (uint32_t)min_of(f->len - f->sent, (uint64_t)most);
	for (uint32_t i = 0; i < n; i++)
		data[i] = sim_byte(f->id, f->sent + i);
	f->sent += n ? sim_send(f->from, data, n) : 0;
	n = f->stop_reading ? 0 : sim_recv(f->to, data, most);
	for (uint32_t i = 0; i < n; i++)
		cr_assert_eq(data[i], sim_byte(f->id, f->got + i), "byte %lu is wrong",
		    (unsigned long)(f->got + i));
	f->got += n;
	cr_assert_leq(f->got, f->sent);
	return f->got == f->len;
}

bool sim_flows(struct sim *m, struct sim_flow *f, unsigned n, uint64_t ns)
{
	uint64_t end = m->now + ns;

	for (;;) {
		uint64_t before = 0, moved = 0;
		bool done = true;

		for (unsigned i = 0; i < n; i++) {
			before += f[i].sent + f[i].got;
			done &= sim_pump(&f[i]);
			moved += f[i].sent + f[i].got;
		}
		if (done)
			return true;
		if (m->now >= end)
			return false;
		/* A client that has more to do does it soon. */
		sim_step_until(m, moved == before ? end : min_of(end, m->now + CLIENT_NS));
	}
}
