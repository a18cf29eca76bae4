#include "proto/client.h"
#include <errno.h>

int cm_layout(struct cm_header *h, uint64_t size, uint32_t slots)
{
	uint64_t off = 4096;

	if (!is_pow2(slots) || slots > (1u << 20))
		return -EINVAL;
	*h = (struct cm_header){.magic = CM_MAGIC, .version = CM_VERSION, .size = size, .slots = slots,
	    .sq_entries = CM_SQ_ENTRIES, .cq_entries = CM_CQ_ENTRIES, .ev_entries = slots, .sets = CM_SETS};
	h->sq_off = off;
	off += (uint64_t)h->sq_entries * sizeof(struct cm_sqe);
	h->cq_off = off;
	off += (uint64_t)h->cq_entries * sizeof(struct cm_cqe);
	h->ev_off = off;
	off += (uint64_t)h->ev_entries * sizeof(uint32_t);
	off = (off + CACHELINE - 1) & ~(uint64_t)(CACHELINE - 1);
	h->set_off = off;
	off += (uint64_t)h->sets * sizeof(struct cm_set);
	h->slot_off = off;
	off += (uint64_t)slots * sizeof(struct cm_slot);
	h->desc_off = off;
	off += (uint64_t)slots * CM_DESC_SIZE;
	h->heap_off = (off + 4095) & ~4095ull;
	return h->heap_off < size ? 0 : -EINVAL;
}

int cm_check(const struct cm_header *h, uint64_t size)
{
	struct cm_header want;

	if (h->magic != CM_MAGIC || h->version != CM_VERSION || h->size != size)
		return -EPROTO;
	if (cm_layout(&want, size, h->slots) < 0)
		return -EPROTO;
	if (h->sq_entries != want.sq_entries || h->cq_entries != want.cq_entries ||
	    h->ev_entries != want.ev_entries || h->sets != want.sets || h->sq_off != want.sq_off ||
	    h->cq_off != want.cq_off || h->ev_off != want.ev_off || h->set_off != want.set_off ||
	    h->slot_off != want.slot_off || h->desc_off != want.desc_off ||
	    h->heap_off != want.heap_off)
		return -EPROTO;
	return 0;
}
