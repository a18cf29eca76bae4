/*
 * What AF_PACKET sockets have beyond the others: link names (link.c), filters (filter.c), mapped
 * rings (tpacket.c).
 */
#pragma once
#include "clientlib/session.h"

/* ---- link.c: struct sockaddr_ll and the endpoint that stands for it */
socklen_t link_to_sockaddr(const struct endpoint *ep, struct sockaddr *sa);
/* `to_send`: as names of packets that are sent are read, of which the family does not count and the address is always there. */
int link_from_sockaddr(const struct sockaddr *sa, socklen_t len, bool to_send, struct endpoint *ep);
/* The length that getsockname() tells. */
socklen_t link_name_length(const struct endpoint *ep);

/* ---- filter.c: SO_ATTACH_FILTER and SO_DETACH_FILTER; `val` is a struct sock_fprog */
int filter_attach(struct nsock *s, const void *val, socklen_t len);
int filter_detach(struct nsock *s);

/* ---- tpacket.c: the options of SOL_PACKET that concern this process only; -ENOPROTOOPT for the
 * others */
int tpacket_setsockopt(struct nsock *s, int name, const void *val, socklen_t len);
int tpacket_getsockopt(struct nsock *s, int name, void *val, socklen_t *len);
/* Has the socket a mapped ring? */
bool tpacket_on(const struct nsock *s);
/* Frames from the socket's ring into the mapped one. Is there any for the program? rx_lock held. */
int tpacket_fill(struct nsock *s);
/* The socket object is given up. */
void tpacket_free(struct nsock *s);
