/* What the files of wait sets share. Theory of operation: set.c. Everything here is called with ev_lock held. */
#pragma once
#include "clientlib/session.h"

/* The member has news: it goes to the end of its set's list, and who sleeps on a set that is not plain is woken. */
void set_mark(struct member *m);
/* Takes a member off its set's list of news, on which it is. */
void set_news_take(struct member *m);
/* Stores what the daemon is to see of this set and of the common one. */
void set_publish_arms(struct nset *set);
/* Empties a bell (-1: none); at its end of file the session may be lost. */
void set_drain(struct session *ss, int fd);
/* The set as the daemon sees it. */
struct cm_set *set_shared(const struct session *ss, uint32_t idx);
/* Takes the member out of all lists and frees it. The caller puts the socket. */
void member_remove(struct member *m);
