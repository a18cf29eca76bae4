/*
 * What the files of the SOCKET layer share: the derived, private side of sessions. All of it is
 * rebuilt after a restart from records and deposits.
 *
 * Lists. Nothing here scans all sessions or all sockets in a cycle: a session stands in `active`
 * while its submission ring is polled, in `ctl` while its control connection may hold a request, in
 * `answers` while an answer is due, in `starved` while the kernel has no room for it, in `dying` while it is being closed, in `done` when the speak
 * step has to see it, in `ended` when nothing needs it any more.
 */
#pragma once
#include "inet/sock.h"
#include "proto/client.h"
#include "proto/control.pb-c.h"
#include "socket/session.h"
#include "socket/socket.h"
#include <sys/queue.h>
#include <sys/socket.h>

#define NEWS_MAX 4096 /* closed slots a cycle that await their publication */

/* Our half of a slot. */
struct slot_note {
	uint32_t sk;     /* the socket in it, NO_INDEX */
	uint32_t holder; /* the claim by which it is there, NO_INDEX: it is not shared */
	uint64_t ev_pos; /* its newest entry in the event ring stands before this position; 0: none */
};

struct user {
	LIST_ENTRY(user) link;
	uint32_t uid;
	uint32_t sessions, sockets, holders;
	struct memory_quota memory; /* ring bytes in client memories */
};
LIST_HEAD(user_list, user);
#define USER_BUCKETS 64

struct session {
	uint32_t index, gen;
	struct user *user;
	/* Descriptors, -1 for none: the four of DEPOSIT_SESSION, and the client's ends until it has them. */
	int control, memfd, bell, set_bell[CM_SETS];
	int client_bell;         /* writing end of `bell` */
	int client_set;          /* reading end of set `client_set_nr` */
	uint32_t client_set_nr;
	int client_control;      /* of a clone that its asker may have to be given again: the connection's other end */
	bool awaited;            /* reindex: there is such an asker */
	/* Client memory; `lay` is computed from the record, never read from the memory. */
	uint8_t *mem;
	struct cm_header lay;
	struct slot_note *note;
	uint32_t notes; /* room of `note`, grows with the highest slot used */
	uint32_t socks; /* slots with a socket */
	uint32_t holders; /* of those, the ones that are shared */
	uint64_t ev_prod;
	uint32_t set_rung[CM_SETS]; /* the arm value that was answered last */
	uint32_t empty_looks;
	uint32_t close_next;    /* DYING: slots below are closed */
	uint32_t drained;       /* DYING: requests taken since the end; a ring's worth at most */
	const char *lie;        /* set by a request that costs the session its life */
	/* Control request in work */
	Netd__Control__Request *request;
	struct ucred sender;    /* of that request; pid 0: not told */
	int32_t ctl_error;
	const char *ctl_text;
	bool blocked; /* the answer did not go out: wait until the peer reads */
	bool in_active, in_ctl, in_answers, in_starved, in_dying, in_done, in_ended;
	bool hangup;      /* speak: shut the connection down, give the bells back */
	bool attached_now; /* speak: its control deposit is superfluous */
	bool cq_news;     /* speak: completions were published */
	TAILQ_ENTRY(session) active, ctl, answers, starved, dying, done, ended;
};
TAILQ_HEAD(session_list, session);

struct news { /* a closed slot to be published */
	struct session *ss;
	uint32_t slot, state;
};

struct told { /* a slot published in this speak */
	struct session *ss;
	uint32_t slot, sk;
	bool news; /* it has to hear of it */
	bool room; /* its transmit ring has more room: news if it asked */
};
#define TOLD_MAX 256

struct sock_note { /* who pays for a socket, whose memory it lies in */
	uint32_t uid;
	uint32_t session;
	bool counted;
	bool listens; /* as it was at the reindex */
	uint32_t holders; /* first holder's index + 1 */
	uint32_t tokens;
};

struct token_ends { /* descriptors + 1; 0: none */
	int ours, client;
};

/* What an event of the epoll descriptor is about. */
enum watched { WATCH_CONTROL, WATCH_BELL, WATCH_TOKEN };

struct socket_layer {
	struct socket_env env;
	int epoll;
	struct session **session; /* by record index */
	uint32_t sessions_max;
	uint32_t attached;        /* sessions with client memory that live */
	struct sock_note *sock;   /* by socket index */
	uint32_t socks_max;
	uint32_t *next_holder;    /* index + 1 of the same socket's next holder */
	struct token_ends *token; /* by token index */
	uint32_t tokens_max;
	struct session_list active, ctl, answers, starved, dying, done, ended;
	uint64_t starved_until; /* when the starved ones are tried again */
	struct user_list user[USER_BUCKETS];
	struct news news[NEWS_MAX];
	uint32_t n_news;
	struct told told[TOLD_MAX];
	uint32_t n_told;
	uint64_t log_window_ns; /* rate limit of complaints about clients */
	uint32_t log_count;
	uint8_t buf[65536]; /* scratch: bells, control messages */
};

/* ---- session.c: the table and the lists */
struct session *session_new(struct stack *s, uint32_t index, uint32_t gen);
/* A new record, still empty, and its session for this user; undone by session_unmake(). 0, -EMFILE, -ENOMEM. */
int session_make(struct stack *s, struct user *u, struct session **out);
void session_unmake(struct stack *s, struct session *ss);
/* Closes its descriptors, unmaps its memory, takes it out of every list. The record is not touched. */
void session_drop(struct stack *s, struct session *ss);
struct session *session_at(const struct stack *s, uint32_t index);
static inline const struct session_rec *session_peek(const struct stack *s, const struct session *ss)
{
	return state_peek(s->state, KIND_SESSION, ss->index);
}
static inline struct session_rec *session_get(struct stack *s, const struct session *ss)
{
	return state_get(s->state, KIND_SESSION, ss->index);
}
/* The socket in a slot, NO_INDEX. */
static inline uint32_t session_sock(const struct session *ss, uint32_t slot)
{
	return slot < ss->notes ? ss->note[slot].sk : NO_INDEX;
}
/* Maps its memory unless `premapped` has it; needs the record. 0 or a negative errno. */
int session_map(struct stack *s, struct session *ss, void *premapped);
/* Watches the control connection, and the bell if there is one. */
int session_watch(struct stack *s, struct session *ss);
void session_activate(struct stack *s, struct session *ss);
/* "Ring me" is set; if nothing came meanwhile the session leaves the active set. */
bool session_rest(struct stack *s, struct session *ss);
void session_close_fd(int *fd);
/* The same for a watched one: escrow holds a duplicate, so closing alone would not end the watch. */
void session_unwatch(struct socket_layer *l, int *fd);
static inline struct cm_header *session_header(const struct session *ss)
{
	return (struct cm_header *)(void *)ss->mem;
}
static inline struct cm_slot *session_slot(const struct session *ss, uint32_t slot)
{
	return (struct cm_slot *)(void *)(ss->mem + ss->lay.slot_off) + slot;
}
/* Entries that wait in the submission ring; -1 if sq_prod is a lie. */
int64_t session_waiting(const struct stack *s, const struct session *ss);

#define LIST_PUT(l, ss, which)                                                                     \
	do {                                                                                       \
		if (!(ss)->in_##which) {                                                           \
			(ss)->in_##which = true;                                                   \
			TAILQ_INSERT_TAIL(&(l)->which, (ss), which);                               \
		}                                                                                  \
	} while (0)
#define LIST_TAKE(l, ss, which)                                                                    \
	do {                                                                                       \
		if ((ss)->in_##which) {                                                            \
			(ss)->in_##which = false;                                                  \
			TAILQ_REMOVE(&(l)->which, (ss), which);                                    \
		}                                                                                  \
	} while (0)

/* ---- policy.c: who may do what, and how much of it */
struct user *user_get(struct socket_layer *l, uint32_t uid);
void user_put(struct socket_layer *l, struct user *u); /* forgets it if nothing is left of it */
/* May this one succeed the supervisor? Whoever sent the request decides, not who made the connection. */
bool policy_owner(const struct ucred *sender);
bool policy_admin(const struct stack *s, uint32_t uid);
/* CM_RIGHT_*, by the uid or kept. */
uint32_t policy_rights(const struct stack *s, const struct session_rec *r);
/* 0, -EACCES. */
int policy_port(const struct stack *s, const struct session_rec *r, uint16_t port);
/* May this session open a socket of this kind? 0, -EPERM (raw, packet), -EACCES (ping). */
int policy_type(
    const struct stack *s, const struct session_rec *r, int family, int type, int protocol);
/* 0, -EPERM, -EACCES. */
int policy_option(
    const struct stack *s, const struct session_rec *r, int level, int name, int value);
int policy_ip_options(
    const struct stack *s, const struct session_rec *r, const void *val, uint32_t len);
/* One more connection or session; one more socket; `bytes` more of ring memory. 0, -EMFILE, -ENOBUFS, -ENOMEM. */
int policy_session(const struct stack *s, const struct user *u);
int policy_socket(const struct stack *s, const struct user *u);
int policy_memory(const struct stack *s, const struct user *u, uint64_t bytes);
/* One more token for this user; 0 or -ENFILE. */
int policy_token(const struct stack *s, uint32_t uid);
/* So many more holders; the same. */
int policy_holders(const struct stack *s, const struct user *u, uint32_t n);
uint32_t limit_slots(const struct stack *s);
uint64_t limit_memory(const struct stack *s);
/* Notes who pays for a socket; and no more. */
void socket_charge(struct stack *s, uint32_t sk, const struct session *ss, uint32_t uid);
void socket_discharge(struct stack *s, uint32_t sk);
/* The session's rings count for its user, within the limit of now. */
void session_charge(struct stack *s, struct session *ss);

/* ---- attach.c */
int session_attach(struct stack *s, struct session *ss, const Netd__Control__Attach *a, const char **why);
/* The session's process and user are the sender's of this request. 0, -ENOMEM. */
int session_identify(struct stack *s, struct session *ss, uint32_t keep);
int session_new_set(struct stack *s, struct session *ss, uint32_t set, const char **why);
/* The client has its newest answer: what was kept in order to give it again goes. */
void session_release_answer(struct stack *s, struct session *ss);
/* The client's ends of this session and their deposit go, whoever was to get them. */
void session_release_ends(struct stack *s, struct session *ss);
/* Deposits whatever belongs to it. */
int session_deposit(struct stack *s, struct session *ss);

/* Parts of an attach: a memory as the record says, the bells, the header. */
int session_memory(struct session *ss, struct session_rec *r, uint64_t size);
int session_bells(struct session *ss);
void session_header_fill(struct stack *s, struct session *ss);

/* ---- holder.c, share.c, clone.c, token.c: sockets that several processes hold (proto/share.h) */
/* The holder's index of a slot, NO_INDEX if its socket is not shared. */
uint32_t session_holder(const struct session *ss, uint32_t slot);
/* The share that a socket lies in, NULL if it is not shared. */
struct session *share_of(const struct stack *s, uint32_t sk);
/* Holders of a socket, as index + 1; 0 after the last. */
uint32_t holder_first(const struct stack *s, uint32_t sk);
uint32_t holder_next(const struct stack *s, uint32_t h);
struct session *holder_session(const struct stack *s, uint32_t h, uint32_t *slot);
/* The session holds the socket through this free slot; or only watches it. 0 or a negative errno. */
int holder_add(struct stack *s, struct session *ss, uint32_t slot, uint32_t sk, bool watch);
bool holder_watches(const struct stack *s, uint32_t h);
/* Does anybody hold it, but for `but` (0: nobody)? Who watches does not. */
bool holder_any(const struct stack *s, uint32_t sk, uint32_t but);
/* This claim is over; the socket is closed if it was the last. */
void holder_end(struct stack *s, struct session *ss, uint32_t slot, bool killed, uint32_t tell);
/* Closes the socket if nobody holds it any more. */
void share_unheld(struct stack *s, uint32_t sk, bool killed);
/* Positions in a share that cannot be: the socket is reset, for all its holders. */
void share_lie(struct stack *s, uint32_t sk);
int holders_reindex(struct stack *s);
int session_share(struct stack *s, struct session *ss, const Netd__Control__Share *q, const char **why);
int share_send(struct stack *s, struct session *ss, const uint32_t *slot, size_t n, Netd__Control__Response *a, bool join);
int session_clone(struct stack *s, struct session *ss, const char **why);
/* The clone that the session's newest request made, NULL. */
struct session *clone_of(const struct stack *s, const struct session *ss);
/* Clones whose asker is gone are nobody's to answer with. */
void clones_reindex(struct stack *s);
int session_token(struct stack *s, struct session *ss, uint32_t slot, const char **why);
int token_send(struct stack *s, struct session *ss, Netd__Control__Response *a);
/* The asker has its answer. */
void token_release(struct stack *s, struct session *ss);
void token_event(struct stack *s, uint32_t token);
void tokens_drop(struct stack *s, uint32_t sk);
int session_join(struct stack *s, struct session *ss, const Netd__Control__Join *q, const char **why);
/* 1 if the deposit is of no use; else the descriptor is taken. */
int token_handed(struct stack *s, uint32_t kind, uint32_t token, uint32_t gen, int fd);
int tokens_reindex(struct stack *s);
int tokens_redeposit(struct stack *s);
void tokens_exit(struct socket_layer *l);

/* ---- slot.c */
/* Puts a socket (NO_INDEX: nothing) into a slot. 0 or -ENOMEM. */
int session_set_sock(struct session *ss, uint32_t slot, uint32_t sk);
/* Reads the client's positions of a socket once and gives them to the protocol. 0, or -EPROTO for a lie. */
int session_poke(struct stack *s, struct session *ss, uint32_t slot, uint32_t sk);
/* The client is told a slot's new state, after the commit. */
void session_tell(struct stack *s, struct session *ss, uint32_t slot, uint32_t state);
#define TELL_NOBODY UINT32_MAX
/* Takes the socket out of its slot and closes it for its client, who is told the slot's new state. */
void session_close_sock(struct stack *s, struct session *ss, uint32_t slot, bool killed, uint32_t tell);
/* May the client have one more socket, in this slot? 0, -EEXIST, -EBADF (and a lie), or what policy.c says. */
int slot_available(struct stack *s, struct session *ss, uint32_t slot);
/* Gives a socket to a slot and its costs to the session's user. 0 or -ENOMEM. */
int slot_settle(struct stack *s, struct session *ss, uint32_t slot, uint32_t sk);

/* ---- submission.c */
/* Takes up to `budget` entries; the number worked. `drain`: the client is gone, no completions. */
unsigned session_take(struct stack *s, struct session *ss, unsigned budget, bool drain);

/* ---- death.c */
/* The control connection is at its end, or (`lie`) the client is thrown out. */
void session_die(struct stack *s, struct session *ss, const char *lie);
unsigned death_work(struct stack *s);
/* Speak: a DEAD session whose memory nobody needs any more goes to `ended`. */
void death_check(struct stack *s, struct session *ss);
/* Closes the socket of a session that is lost: its rings' bytes cannot be had any more. */
void death_orphan(struct stack *s, uint32_t sk, bool memory_lost);

/* ---- publish.c */
void publish_changed(struct stack *s);
void publish_everything(struct stack *s);
/* Wakes whoever sleeps on a futex word that processes share. */
void publish_wake(uint32_t *word);

/* ---- control.c, admin.c, tables.c */
unsigned control_work(struct stack *s);
void control_speak(struct stack *s);
/* Answers for which there was no room in the kernel, if it is time for them. Returns how many. */
unsigned control_retry(struct stack *s);
/* Carries out a request that changes something. 0 or a negative errno, *why for people. */
int admin_change(struct stack *s, const Netd__Control__Request *r, const char **why);
/* Fills the answer's body and sends it; the return of channel_send(). */
int tables_answer(struct stack *s, int conn, const Netd__Control__Request *r, Netd__Control__Response *a);
int box_answer(struct stack *s, int conn, Netd__Control__Response *a);
int stats_answer(struct stack *s, int conn, Netd__Control__Response *a);
int socklist_answer(struct stack *s, int conn, const Netd__Control__Request *r, Netd__Control__Response *a);
/* One row about a KIND_SYNRCV or KIND_TIMEWAIT record. */
void socklist_small(const struct stack *s, enum record_kind kind, uint32_t index, Netd__Control__Sock *m);
const char *tcp_state_name(uint8_t state);
