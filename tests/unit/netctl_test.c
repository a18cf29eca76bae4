/* What netctl reads and prints: addresses, tables, JSON; words that it does not know. */
#include "tools/netctl/netctl.h"
#include <criterion/criterion.h>
#include <elf.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

bool want_json;

static char out[4096];

/* Standard output (or error) of what `run` does. */
static const char *printed(FILE *stream, void (*run)(void))
{
	int fd = fileno(stream), keep = dup(fd);
	FILE *f = tmpfile();
	size_t n;

	cr_assert_not_null(f);
	fflush(stream);
	dup2(fileno(f), fd);
	run();
	fflush(stream);
	dup2(keep, fd);
	close(keep);
	rewind(f);
	n = fread(out, 1, sizeof(out) - 1, f);
	out[n] = 0;
	fclose(f);
	return out;
}

Test(netctl, addresses_there_and_back)
{
	static const char *const same[] = {
	    "10.99.0.2", "255.255.255.255", "fd99::2", "2001:db8::1"};
	uint8_t b[16];
	uint32_t prefix = 99;
	ProtobufCBinaryData d = {sizeof(b), b};

	for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
		cr_assert(address_bytes(same[i], b, NULL));
		cr_assert_str_eq(address_text(&d, "*"), same[i]);
	}
	cr_assert(address_bytes("0.0.0.0", b, NULL));
	cr_assert_str_eq(address_text(&d, "*"), "*");
	cr_assert(address_bytes("10.0.0.0/8", b, &prefix) && prefix == 8);
	cr_assert(address_bytes("10.0.0.1", b, &prefix) && prefix == 32);
	cr_assert_not(address_bytes("10.0.0.0/8", b, NULL), "no length was asked for");
	cr_assert_not(address_bytes("10.0.0.0/33", b, &prefix));
	cr_assert_not(address_bytes("ten", b, &prefix));
	d.len = 4;
	cr_assert_str_eq(address_text(&d, "?"), "?", "not an address of ours");
}

Test(netctl, eight_texts_in_one_line)
{
	uint8_t b[8][16];
	const char *t[8];
	char want[16];

	for (int i = 0; i < 8; i++) {
		snprintf(want, sizeof(want), "10.0.0.%d", i + 1);
		cr_assert(address_bytes(want, b[i], NULL));
		t[i] = address_text(&(ProtobufCBinaryData){16, b[i]}, "*");
	}
	for (int i = 0; i < 8; i++) {
		snprintf(want, sizeof(want), "10.0.0.%d", i + 1);
		cr_assert_str_eq(t[i], want);
	}
}

Test(netctl, hardware_addresses)
{
	uint8_t m[6] = {0x02, 0, 0xff, 0x10, 0xab, 0x01};

	cr_assert_str_eq(mac_text(&(ProtobufCBinaryData){6, m}), "02:00:ff:10:ab:01");
	cr_assert_str_eq(mac_text(&(ProtobufCBinaryData){5, m}), "-");
}

static void a_table(void)
{
	static const char *const head[] = {"NAME", "N", "LAST"};
	struct table *t = table_new(3, head);

	table_cell(t, "a");
	table_cell(t, "%d", 123456);
	table_cell(t, "x");
	table_cell(t, "longer than its head");
	table_cell(t, "%d", 7);
	table_cell(t, "%s", "");
	table_print(t);
}

Test(netctl, columns_are_as_wide_as_their_widest_cell)
{
	cr_assert_str_eq(printed(stdout, a_table), "NAME                  N       LAST\n"
						   "a                     123456  x\n"
						   "longer than its head  7       \n");
}

static void a_long_table(void)
{
	static const char *const head[] = {"A", "B", "C", "D", "E", "F", "G", "H"};
	struct table *t = table_new(8, head);

	for (int i = 0; i < 8 * 20000; i++)
		table_cell(t, "%d", i);
	table_print(t);
}

/* As many rows as a busy server has sockets: not the square of it in time. */
Test(netctl, long_tables_are_printed_at_once, .timeout = 20)
{
	const char *text = printed(stdout, a_long_table);

	cr_assert_eq(
	    strncmp(
		text, "A       B       C       D       E       F       G       H\n0       1 ", 60),
	    0, "%.100s", text);
}

static void an_empty_table(void)
{
	static const char *const head[] = {"ONE", "TWO"};

	table_print(table_new(2, head));
}

Test(netctl, an_empty_table_has_its_head)
{
	cr_assert_str_eq(printed(stdout, an_empty_table), "ONE  TWO\n");
}

static void some_json(void)
{
	json_t *o = json_object();

	json_object_set_new(o, "name", json_string("a \"b\" \n"));
	json_object_set_new(o, "n", json_integer(1ll << 40));
	cr_assert_eq(json_print(o), EXIT_DONE);
}

Test(netctl, json_reads_back)
{
	json_t *o = json_loads(printed(stdout, some_json), 0, NULL);

	cr_assert_not_null(o);
	cr_assert_str_eq(json_string_value(json_object_get(o, "name")), "a \"b\" \n");
	cr_assert_eq(json_integer_value(json_object_get(o, "n")), 1ll << 40);
	json_decref(o);
}

/* ---- words: refused before netd is asked, in one line that names the word */

static int (*command)(int argc, char **argv);
static char *words[8];
static int n_words, status;

static void run_command(void)
{
	status = command(n_words, words);
}

static void refused(int (*cmd)(int, char **), const char *line, const char *names)
{
	static char copy[128];
	const char *err;

	snprintf(copy, sizeof(copy), "%s", line);
	n_words = 0;
	for (char *w = strtok(copy, " "); w; w = strtok(NULL, " "))
		words[n_words++] = w;
	words[n_words] = NULL;
	command = cmd;
	err = printed(stderr, run_command);
	cr_assert_eq(status, EXIT_WORDS, "\"%s\" ended with %d: %s", line, status, err);
	cr_assert(strstr(err, names), "\"%s\" said: %s", line, err);
	cr_assert_eq(strchr(err, '\n'), err + strlen(err) - 1, "\"%s\" said more than a line: %s",
	    line, err);
}

Test(netctl, words_that_make_no_sense)
{
	setenv("NETD_SOCKET", "/nonexistent/netd.sock", 1);
	refused(cmd_addr, "addr add 10.0.0.0/99 dev tap0", "10.0.0.0/99");
	refused(cmd_addr, "addr add 10.0.0.1/24 dev", "dev");
	refused(cmd_addr, "addr frobnicate", "usage: netctl addr");
	refused(cmd_route, "route add nowhere via 10.0.0.1", "nowhere");
	refused(cmd_route, "route add 10.0.0.0/8 via here", "here");
	refused(cmd_neigh, "neigh add 10.0.0.1 lladdr 1:2:3 dev tap0", "1:2:3");
	refused(cmd_ss, "ss -Z", "-Z");
	refused(cmd_status, "status now", "now");
}

/* ---- programs that LD_PRELOAD does not reach */

struct program { /* as much of an ELF file as is looked at */
	Elf64_Ehdr h;
	Elf64_Phdr p[2];
	struct {
		Elf64_Nhdr gnu;
		char gnu_name[4], gnu_id[20];
		Elf64_Nhdr other;
		char name[4];
	} notes;
};

static const char *reached(const void *content, size_t size)
{
	static char path[] = "/tmp/netctl-test.XXXXXX";
	const char *why;
	int fd;

	strcpy(path + sizeof(path) - 7, "XXXXXX");
	fd = mkstemp(path);
	cr_assert(fd >= 0 && write(fd, content, size) == (ssize_t)size);
	close(fd);
	why = out_of_reach(path);
	unlink(path);
	return why ? why : "";
}

static void ask_status(void)
{
	Netd__Control__Empty empty = NETD__CONTROL__EMPTY__INIT;
	request q = NETD__CONTROL__REQUEST__INIT;

	q.body_case = NETD__CONTROL__REQUEST__BODY_STATUS;
	q.status = &empty;
	cr_assert_null(ask(&q));
}

/* Somebody listens there who never says anything: that is said once, and is the end of it. */
Test(netctl, no_answer)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	int listener = socket(AF_UNIX, SOCK_SEQPACKET, 0);

	snprintf(sa.sun_path, sizeof(sa.sun_path), "/tmp/netctl-test-%d.sock", (int)getpid());
	cr_assert_eq(bind(listener, (struct sockaddr *)&sa, sizeof(sa)), 0);
	cr_assert_eq(listen(listener, 8), 0);
	setenv("NETD_SOCKET", sa.sun_path, 1);
	cr_assert_str_eq(printed(stderr, ask_status), "netctl: netd does not answer\n");
	unlink(sa.sun_path);
	close(listener);
}

Test(netctl, programs_out_of_reach)
{
	struct program e = {.h = {.e_ident = ELFMAG, .e_phoff = sizeof(e.h), .e_phentsize = sizeof(e.p[0]), .e_phnum = 2},
	    .p = {{.p_type = PT_INTERP},
		{.p_type = PT_NOTE, .p_offset = offsetof(struct program, notes), .p_filesz = sizeof(e.notes)}},
	    .notes = {.gnu = {4, 20, 3}, .gnu_name = "GNU", .other = {4, 0, 4}, .name = "Go"}};
	char script[300] = "#! /nonexistent/a -x\n";

	e.h.e_ident[EI_CLASS] = ELFCLASS64;
	cr_assert_str_eq(reached(&e, sizeof(e)), "is a Go program");
	e.notes.name[0] = 'g';
	cr_assert_str_eq(reached(&e, sizeof(e)), "");
	e.notes.gnu.n_descsz = UINT32_MAX; /* a lie */
	cr_assert_str_eq(reached(&e, sizeof(e)), "");
	e.p[0].p_type = PT_LOAD;
	cr_assert_str_eq(reached(&e, sizeof(e)), "is a static program");
	e.h.e_phnum = UINT16_MAX; /* what is not in the file is nothing */
	cr_assert_str_eq(reached(&e, sizeof(e)), "");
	e.h.e_ident[EI_CLASS] = ELFCLASS32;
	cr_assert_str_eq(reached(&e, sizeof(e)), "is not of 64 bits");
	cr_assert_str_eq(reached(script, sizeof(script)), "");
	cr_assert_str_eq(reached("", 0), "");
	cr_assert_null(out_of_reach("sh"));
	cr_assert_null(out_of_reach("/nonexistent/a"));
	cr_assert_null(out_of_reach("no such program"));
}
