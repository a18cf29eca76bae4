/* Tables of options, private to inet/: one row an option; what stands in none is refused. */
#pragma once
#include "inet/layer.h"
#include "inet/sockx.h"

enum { GET_ONLY = 1, SET_ONLY = 2 };

struct option {
	int level, name;
	uint32_t flag;	 /* enum sock_flags: the option is this bit */
	uint32_t xflag;	 /* enum sockx_flags, likewise */
	uint16_t family; /* 0: both */
	uint8_t type;	 /* SOCK_...: others are refused with -EINVAL; 0: all */
	uint8_t access;
	int (*set)(struct stack *s, uint32_t sk, struct sock_rec *k, int v);
	int (*get)(struct stack *s, uint32_t sk,
	    const struct sock_rec *k); /* negative errno only with `fails` */
	bool inverted;		       /* the bit says that it is off */
	bool fails;
	bool empty;  /* no value at all is 0 */
	bool strict; /* 0 and 1 only, else -EINVAL */
};

struct option_table {
	const struct option *row;
	unsigned n;
};

extern const struct option_table options_socket, options_ip;

/* Options that are no numbers. 1 if `name` is none of them. */
int socket_set_struct(
    struct stack *s, uint32_t sk, struct sock_rec *k, int name, const void *val, uint32_t len);
int socket_get_struct(
    struct stack *s, uint32_t sk, const struct sock_rec *k, int name, void *val, uint32_t *len);
int ip_set_struct(
    struct stack *s, uint32_t sk, struct sock_rec *k, int name, const void *val, uint32_t len);
int ip_get_struct(
    struct stack *s, uint32_t sk, const struct sock_rec *k, int name, void *val, uint32_t *len);

/* option_group.c: memberships of multicast groups; 1 if `name` is none of theirs. `val` of a get is the question, too. */
int group_setsockopt(
    struct stack *s, uint32_t sk, struct sock_rec *k, int name, const void *val, uint32_t len);
int group_getsockopt(struct stack *s, uint32_t sk, int name, void *val, uint32_t *len);

/* Told doubled where a user set them, as by the kernel, which counts its own overhead in. */
int socket_get_rcvbuf(struct stack *s, uint32_t sk, const struct sock_rec *k);
int socket_get_sndbuf(struct stack *s, uint32_t sk, const struct sock_rec *k);
/* The value, cut to the room there is. 0. */
int option_give(void *val, uint32_t *len, const void *from, uint32_t size);
