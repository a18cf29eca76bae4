/* netctl addr, route, neigh: tables and changes, in ip(8)'s words. */
#include "tools/netctl/netctl.h"
#include "base/util.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define BODY(x) NETD__CONTROL__REQUEST__BODY_##x

/* The words after the first two: "dev DEV", "via GW" ... in any order. */
struct words {
	const char *dev, *via, *metric, *lladdr, *src;
};

static bool words_take(struct words *w, int argc, char **argv)
{
	for (int i = 0; i < argc; i += 2) {
		const struct {
			const char *name;
			const char **value;
		} known[] = {{"dev", &w->dev}, {"via", &w->via}, {"metric", &w->metric}, {"lladdr", &w->lladdr}, {"src", &w->src}};
		bool found = false;

		for (size_t k = 0; k < ARRAY_SIZE(known); k++) {
			if (strcmp(argv[i], known[k].name) != 0)
				continue;
			if (i + 1 == argc) {
				fprintf(stderr, "netctl: '%s' wants a value\n", argv[i]);
				return false;
			}
			*known[k].value = argv[i + 1];
			found = true;
		}
		if (!found) {
			fprintf(stderr, "netctl: unknown word '%s'\n", argv[i]);
			return false;
		}
	}
	return true;
}

static bool is(const char *word, const char *a, const char *b)
{
	return !strcmp(word, a) || !strcmp(word, b);
}

static int bad(const char *what, const char *text)
{
	fprintf(stderr, "netctl: %s is not %s\n", text, what);
	return EXIT_WORDS;
}

/* Sends a change that has no answer but "done". */
static int change(request *r)
{
	response *a = ask(r);

	response_free(a);
	return a ? EXIT_DONE : EXIT_REFUSED;
}

static response *list(request *r, int body, Netd__Control__Empty *empty)
{
	r->body_case = (Netd__Control__Request__BodyCase)body;
	r->status = empty; /* a union: every list request is an Empty */
	return ask(r);
}

/* Prints what was gathered, in the form that was asked for; frees all three. */
static int show_end(response *a, struct table *t, json_t *all)
{
	if (a && want_json)
		json_dumpf(all, stdout, JSON_INDENT(2));
	else if (a)
		table_print(t);
	if (!a || want_json)
		table_free(t);
	json_decref(all);
	response_free(a);
	return a ? EXIT_DONE : EXIT_REFUSED;
}

/* ---- addr */

static int addr_show(void)
{
	static const char *const head[] = {"DEVICE", "ADDRESS"};
	Netd__Control__Empty empty = NETD__CONTROL__EMPTY__INIT;
	request r = NETD__CONTROL__REQUEST__INIT;
	response *a = list(&r, BODY(ADDR_LIST), &empty);
	struct table *t = table_new(2, head);
	json_t *all = json_array();

	for (size_t i = 0; a && a->addrs && i < a->addrs->n_addr; i++) {
		const Netd__Control__Addr *x = a->addrs->addr[i];

		table_cell(t, "%s", x->dev);
		table_cell(t, "%s/%u", address_text(&x->addr, "0.0.0.0"), x->prefix);
		json_array_append_new(all, json_pack("{ss ss si}", "dev", x->dev, "address", address_text(&x->addr, "0.0.0.0"),
		                               "prefix", (int)x->prefix));
	}
	return show_end(a, t, all);
}

int cmd_addr(int argc, char **argv)
{
	Netd__Control__Addr x = NETD__CONTROL__ADDR__INIT;
	request r = NETD__CONTROL__REQUEST__INIT;
	struct words w = {0};
	uint8_t bytes[16];

	if (argc < 2 || is(argv[1], "show", "list"))
		return addr_show();
	if (argc < 3 || (!is(argv[1], "add", "add") && !is(argv[1], "del", "delete"))) {
		fprintf(stderr, "usage: netctl addr [show | add ADDR/LEN dev DEV | del ADDR/LEN dev DEV]\n");
		return EXIT_WORDS;
	}
	if (!address_bytes(argv[2], bytes, &x.prefix))
		return bad("an address", argv[2]);
	if (!words_take(&w, argc - 3, argv + 3))
		return EXIT_WORDS;
	if (!w.dev)
		return bad("complete without 'dev DEV'", "this");
	x.addr = (ProtobufCBinaryData){16, bytes};
	x.dev = (char *)(uintptr_t)w.dev;
	r.body_case = argv[1][0] == 'a' ? BODY(ADDR_ADD) : BODY(ADDR_DEL);
	r.addr_add = &x;
	return change(&r);
}

/* ---- route */

static int route_show(void)
{
	static const char *const head[] = {"DESTINATION", "GATEWAY", "DEVICE", "METRIC", "SOURCE"};
	Netd__Control__Empty empty = NETD__CONTROL__EMPTY__INIT;
	request r = NETD__CONTROL__REQUEST__INIT;
	response *a = list(&r, BODY(ROUTE_LIST), &empty);
	struct table *t = table_new(5, head);
	json_t *all = json_array();

	for (size_t i = 0; a && a->routes && i < a->routes->n_route; i++) {
		const Netd__Control__Route *x = a->routes->route[i];
		char dst[64];

		if (x->prefix)
			snprintf(dst, sizeof(dst), "%s/%u", address_text(&x->dst, "0.0.0.0"), x->prefix);
		else
			snprintf(dst, sizeof(dst), "default");
		table_cell(t, "%s", dst);
		table_cell(t, "%s", address_text(&x->gateway, "-"));
		table_cell(t, "%s", x->dev);
		table_cell(t, "%u", x->metric);
		table_cell(t, "%s", address_text(&x->source, "-"));
		json_array_append_new(all, json_pack("{ss ss ss si ss}", "destination", dst, "gateway",
		                               address_text(&x->gateway, ""), "dev", x->dev, "metric", (int)x->metric, "source",
		                               address_text(&x->source, "")));
	}
	return show_end(a, t, all);
}

int cmd_route(int argc, char **argv)
{
	Netd__Control__Route x = NETD__CONTROL__ROUTE__INIT;
	request r = NETD__CONTROL__REQUEST__INIT;
	uint8_t dst[16] = {0}, via[16], src[16];
	struct words w = {0};

	if (argc < 2 || is(argv[1], "show", "list"))
		return route_show();
	if (argc < 3 || (!is(argv[1], "add", "add") && !is(argv[1], "del", "delete"))) {
		fprintf(stderr, "usage: netctl route [show | add DST [via GW] [dev DEV] [metric N] [src ADDR] | del DST ...]\n");
		return EXIT_WORDS;
	}
	if (strcmp(argv[2], "default") != 0 && !address_bytes(argv[2], dst, &x.prefix))
		return bad("a destination", argv[2]);
	if (!words_take(&w, argc - 3, argv + 3))
		return EXIT_WORDS;
	if (w.via && !address_bytes(w.via, via, NULL))
		return bad("an address", w.via);
	if (w.src && !address_bytes(w.src, src, NULL))
		return bad("an address", w.src);
	x.dst = (ProtobufCBinaryData){16, dst};
	if (w.via)
		x.gateway = (ProtobufCBinaryData){16, via};
	if (w.src)
		x.source = (ProtobufCBinaryData){16, src};
	if (w.dev)
		x.dev = (char *)(uintptr_t)w.dev;
	if (w.metric && !number(w.metric, &x.metric))
		return bad("a metric", w.metric);
	r.body_case = argv[1][0] == 'a' ? BODY(ROUTE_ADD) : BODY(ROUTE_DEL);
	r.route_add = &x;
	return change(&r);
}

/* ---- neigh */

static int neigh_show(void)
{
	static const char *const head[] = {"ADDRESS", "DEVICE", "MAC", "STATE", "AGE"};
	Netd__Control__Empty empty = NETD__CONTROL__EMPTY__INIT;
	request r = NETD__CONTROL__REQUEST__INIT;
	response *a = list(&r, BODY(NEIGH_LIST), &empty);
	struct table *t = table_new(5, head);
	json_t *all = json_array();

	for (size_t i = 0; a && a->neighs && i < a->neighs->n_neigh; i++) {
		const Netd__Control__Neigh *x = a->neighs->neigh[i];

		table_cell(t, "%s", address_text(&x->addr, "-"));
		table_cell(t, "%s", x->dev);
		table_cell(t, "%s", mac_text(&x->mac));
		table_cell(t, "%s", x->state);
		table_cell(t, "%.1f s", (double)x->age_ms / 1000);
		json_array_append_new(all, json_pack("{ss ss ss ss sI}", "address", address_text(&x->addr, ""), "dev", x->dev,
		                               "mac", mac_text(&x->mac), "state", x->state, "age_ms", (json_int_t)x->age_ms));
	}
	return show_end(a, t, all);
}

int cmd_neigh(int argc, char **argv)
{
	Netd__Control__Neigh x = NETD__CONTROL__NEIGH__INIT;
	request r = NETD__CONTROL__REQUEST__INIT;
	uint8_t addr[16], mac[6];
	struct words w = {0};

	if (argc < 2 || is(argv[1], "show", "list"))
		return neigh_show();
	if (argc < 3 || (!is(argv[1], "add", "add") && !is(argv[1], "del", "delete"))) {
		fprintf(stderr, "usage: netctl neigh [show | add ADDR lladdr MAC dev DEV | del ADDR dev DEV]\n");
		return EXIT_WORDS;
	}
	if (!address_bytes(argv[2], addr, NULL))
		return bad("an address", argv[2]);
	if (!words_take(&w, argc - 3, argv + 3))
		return EXIT_WORDS;
	if (!w.dev)
		return bad("complete without 'dev DEV'", "this");
	x.addr = (ProtobufCBinaryData){16, addr};
	x.dev = (char *)(uintptr_t)w.dev;
	if (argv[1][0] == 'a') {
		if (!w.lladdr || sscanf(w.lladdr, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", &mac[0], &mac[1], &mac[2], &mac[3], &mac[4], &mac[5]) != 6)
			return bad("a link address", w.lladdr ? w.lladdr : "nothing");
		x.mac = (ProtobufCBinaryData){6, mac};
	}
	r.body_case = argv[1][0] == 'a' ? BODY(NEIGH_ADD) : BODY(NEIGH_DEL);
	r.neigh_add = &x;
	return change(&r);
}
