/* netctl: asks netd over its control socket and prints the answer, as a table or as JSON. */
#pragma once
#include "proto/control.pb-c.h"
#include <jansson.h>
#include <stdbool.h>

typedef Netd__Control__Request request;
typedef Netd__Control__Response response;

/* Exit statuses: 0 done, 1 netd said no or is not there, 2 the words are wrong. */
enum { EXIT_DONE = 0, EXIT_REFUSED = 1, EXIT_WORDS = 2 };

extern bool want_json;

/* client.c: one request, one answer (to be freed with response_free()). NULL after an error was printed. */
response *ask(request *r);
void response_free(response *a);
const char *socket_path(void);
/* A connection to netd, or -1 after an error was printed. */
int dial(void);

/* text.c */
/* 16 bytes as text; "*" or "0.0.0.0" for the wildcard as `any` says. Static buffers, eight in turn. */
const char *address_text(const ProtobufCBinaryData *a, const char *any);
const char *mac_text(const ProtobufCBinaryData *m);
/* "10.0.0.1" or, with `prefix`, "10.0.0.0/8", to 16 bytes in `buf`. False if it is neither. */
bool address_bytes(const char *text, uint8_t buf[16], uint32_t *prefix);
/* A number of decimal digits and nothing else. */
bool number(const char *text, uint32_t *out);

/* table.c: columns as wide as their widest cell. */
struct table;
struct table *table_new(unsigned columns, const char *const *head);
void table_cell(struct table *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void table_print(struct table *t); /* frees it */
void table_free(struct table *t);
int json_print(json_t *root);      /* frees it, returns EXIT_DONE */

/* Complains, and is true, if there are words behind a subcommand that takes none. */
int no_words(int argc, char **argv);

/* The subcommands: argv[0] is the subcommand's name. */
int cmd_status(int argc, char **argv);
int cmd_addr(int argc, char **argv);
int cmd_route(int argc, char **argv);
int cmd_neigh(int argc, char **argv);
int cmd_link(int argc, char **argv);
int cmd_ss(int argc, char **argv);
int cmd_stats(int argc, char **argv);
int cmd_blackbox(int argc, char **argv);
/* reach.c: why a program that is run as `program` will not be on netd, NULL if it will. */
const char *out_of_reach(const char *program);
int cmd_run(int argc, char **argv);
int cmd_killpoint(int argc, char **argv);
