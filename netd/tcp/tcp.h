/* TCP, RFC 9293: what the rest of the stack calls. The way of a segment starts in tcp/input.c. */
#pragma once
#include "inet/sock.h"
#include "ip/ip.h"

/* TCP_INFO as long as Linux 6.18 tells it. */
#define TCP_INFO_LEN 280

extern const struct sock_ops tcp_ops;
extern const struct inet_proto tcp_proto;

int tcp_layer_init(struct stack *s);
void tcp_layer_exit(struct stack *s);
/* Rebuilds accept queues, the connected table's half-open and TIME_WAIT entries, timers. After
 * inet_reindex(). */
int tcp_reindex(struct stack *s);

/* Sends for every connection that arrivals, clients or timers gave something to say: once, at the
 * end of the work step. */
void tcp_flush(struct stack *s);
/* When it has something to do without a new arrival: now, soon (a device was full), or UINT64_MAX.
 */
uint64_t tcp_next_work(const struct stack *s);

/* The records' rows in the switchboard. */
void tcp_expired(struct stack *s, uint32_t sk);
void tcp_synrcv_expired(struct stack *s, uint32_t index);
void tcp_timewait_expired(struct stack *s, uint32_t index);
void tcp_lost(struct stack *s, uint32_t sk);

/* After a restart: the pause is taken out of retransmission and probe timers, all sockets count as
 * changed. */
void tcp_resume(struct stack *s, uint64_t pause_ns);
/* Frames may have been lost in this device: peers are woken at once, paced. */
void tcp_driver_restarted(struct stack *s, uint32_t dev);

/* For getsockopt(TCP_INFO). */
void tcp_fill_info(struct stack *s, uint32_t sk, uint8_t info[TCP_INFO_LEN]);
