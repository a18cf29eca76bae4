/*
 * Reading the configuration file.
 *
 * Theory of operation. The file is read twice. libyaml makes a tree of it, which knows the line of
 * every key; this pass finds errors of syntax. libcyaml then fills the structure by the schema below;
 * what it says about an error (a message and a backtrace of keys) is caught and put into one line.
 * config_check() finds what the schema cannot say and names a key, whose line the tree gives.
 */
#include "supervisor/config.h"
#include "supervisor/config_check.h"
#include "base/log.h"
#include "base/util.h"
#include "proto/component.pb-c.h"
#include <ctype.h>
#include <cyaml/cyaml.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <yaml.h>

#define OPTIONAL     CYAML_FLAG_OPTIONAL
#define OPTIONAL_PTR (CYAML_FLAG_OPTIONAL | CYAML_FLAG_POINTER)
#define TEXT(key, type) CYAML_FIELD_STRING_PTR(#key, OPTIONAL_PTR, type, key, 1, 255)
#define TEXT_NEEDED(key, type) CYAML_FIELD_STRING_PTR(#key, CYAML_FLAG_POINTER, type, key, 1, 255)
#define NUMBER(key, type) CYAML_FIELD_UINT(#key, OPTIONAL, type, key)
#define LIST(key, type, entry, max)                                                                \
	CYAML_FIELD_SEQUENCE(#key, OPTIONAL_PTR, type, key, entry, 0, max)

static const cyaml_schema_value_t string_value = {
    CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char, 1, 255)};
static const cyaml_schema_value_t uid_value = {CYAML_VALUE_UINT(CYAML_FLAG_DEFAULT, uint32_t)};

static const cyaml_schema_field_t device_fields[] = {
    TEXT_NEEDED(name, struct config_device),
    TEXT(driver, struct config_device),
    TEXT(ifname, struct config_device),
    NUMBER(mtu, struct config_device),
    TEXT(mac, struct config_device),
    TEXT(host_address, struct config_device),
    TEXT(netns, struct config_device),
    LIST(addresses, struct config_device, &string_value, 64),
    NUMBER(chunks, struct config_device),
    NUMBER(txqueuelen, struct config_device),
    CYAML_FIELD_BOOL_PTR("offloads", OPTIONAL_PTR, struct config_device, offloads),
    CYAML_FIELD_END};
static const cyaml_schema_value_t device_value = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct config_device, device_fields)};

static const cyaml_schema_field_t route_fields[] = {
    TEXT_NEEDED(destination, struct config_route),
    TEXT(gateway, struct config_route),
    TEXT(device, struct config_route),
    NUMBER(metric, struct config_route),
    CYAML_FIELD_END};
static const cyaml_schema_value_t route_value = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct config_route, route_fields)};

static const cyaml_schema_field_t pass_through_fields[] = {
    TEXT_NEEDED(address, struct config_pass_through),
    NUMBER(port, struct config_pass_through),
    CYAML_FIELD_END};
static const cyaml_schema_value_t pass_through_value = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct config_pass_through, pass_through_fields)};

static const cyaml_schema_field_t limits_fields[] = {
    NUMBER(session_memory_mib, struct config_limits),
    NUMBER(session_sockets, struct config_limits),
    NUMBER(user_sockets, struct config_limits),
    NUMBER(user_memory_mib, struct config_limits),
    NUMBER(rcvbuf_max_kib, struct config_limits),
    NUMBER(sndbuf_max_kib, struct config_limits),
    CYAML_FIELD_END};

static const cyaml_strval_t log_levels[] = {{"error", LOG_LEVEL_ERROR}, {"warn", LOG_LEVEL_WARN},
    {"info", LOG_LEVEL_INFO}, {"debug", LOG_LEVEL_DEBUG}};

static const cyaml_strval_t ecn_modes[] = {{"passive", NETD__COMPONENT__ECN__ECN_PASSIVE},
    {"on", NETD__COMPONENT__ECN__ECN_ON}, {"off", NETD__COMPONENT__ECN__ECN_OFF}};

static const cyaml_schema_field_t config_fields[] = {
    TEXT(socket, struct config),
    TEXT(pidfile_dir, struct config),
    TEXT(crash_dir, struct config),
    CYAML_FIELD_UINT_PTR("standbys", OPTIONAL_PTR, struct config, standbys),
    CYAML_FIELD_INT_PTR("nice", OPTIONAL_PTR, struct config, nice),
    NUMBER(hang_ms, struct config),
    CYAML_FIELD_ENUM("log_level", OPTIONAL | CYAML_FLAG_STRICT, struct config, log_level,
        log_levels, ARRAY_SIZE(log_levels)),
    NUMBER(arena_mib, struct config),
    NUMBER(daemon_memory_mib, struct config),
    CYAML_FIELD_SEQUENCE(
        "devices", CYAML_FLAG_POINTER, struct config, devices, &device_value, 1, CONFIG_DEVICES_MAX),
    LIST(routes, struct config, &route_value, 1024),
    LIST(pass_through, struct config, &pass_through_value, 256),
    LIST(name_servers, struct config, &string_value, 16),
    CYAML_FIELD_MAPPING("limits", OPTIONAL, struct config, limits, limits_fields),
    CYAML_FIELD_ENUM("tcp_ecn", OPTIONAL | CYAML_FLAG_STRICT, struct config, tcp_ecn, ecn_modes, ARRAY_SIZE(ecn_modes)),
    LIST(admin_uids, struct config, &uid_value, 256),
    LIST(raw_uids, struct config, &uid_value, 256),
    CYAML_FIELD_SEQUENCE("ping_gids", OPTIONAL_PTR, struct config, ping_gids, &uid_value, 2, 2),
    CYAML_FIELD_END};
static const cyaml_schema_value_t config_value = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct config, config_fields)};

/* What libcyaml said about one error. */
struct complaint {
	char what[256];
	char frame[8][64]; /* innermost first: "mtu", "[0]", "devices" */
	unsigned frames;
};

static void catch_complaint(cyaml_log_t level, void *ctx, const char *fmt, va_list args)
{
	struct complaint *c = ctx;
	char line[256];
	unsigned entry;

	(void)level;
	vsnprintf(line, sizeof(line), fmt, args);
	line[strcspn(line, "\n")] = 0;
	if (!c->what[0]) {
		memcpy(c->what, line, sizeof(line));
	} else if (c->frames < ARRAY_SIZE(c->frame) && !strncmp(line, "  in ", 5)) {
		char *f = c->frame[c->frames++];

		if (sscanf(line, "  in mapping field '%63[^']", f) == 1)
			return;
		f[0] = 0;
		if (sscanf(line, "  in sequence entry '%u'", &entry) == 1)
			snprintf(f, sizeof(c->frame[0]), "[%u]", entry ? entry - 1 : 0);
	}
}

static const cyaml_config_t *cyaml_settings(struct complaint *c, cyaml_config_t *s)
{
	*s = (cyaml_config_t){.log_fn = catch_complaint, .log_ctx = c, .mem_fn = cyaml_mem,
	    .log_level = CYAML_LOG_WARNING, .flags = CYAML_CFG_NO_ALIAS};
	return s;
}

static void append_key(char *key, size_t size, const char *part)
{
	size_t len = strlen(key);

	if (part[0])
		snprintf(key + len, size - len, "%s%.63s", len && part[0] != '[' ? "." : "", part);
}

/* The key that a complaint is about: "devices[0].mtu". */
static void complaint_key(const struct complaint *c, char *key, size_t size)
{
	static const char *const of_mapping[] = {
	    "Load: Unexpected key: ", "Load: Missing required mapping field: "};
	const char *last = "";
	unsigned inner = 0;

	key[0] = 0;
	for (unsigned i = 0; i < ARRAY_SIZE(of_mapping); i++) {
		if (strncmp(c->what, of_mapping[i], strlen(of_mapping[i])) != 0)
			continue;
		last = c->what + strlen(of_mapping[i]);
		inner = 1; /* the innermost frame is this key's neighbour */
	}
	for (unsigned i = c->frames; i-- > inner;)
		append_key(key, size, c->frame[i]);
	append_key(key, size, last);
}

/* Its words speak of the parser; the user's are these, and what it said about the value if they end with a colon. */
static const char *in_words(const struct complaint *c, char *buf, size_t size)
{
	static const struct {
		const char *said, *means;
	} words[] = {{"Unexpected key: ", "there is no such key"}, {"Missing required mapping field: ", "missing"},
	    {"Mapping field already seen: ", "there twice"}, {"Invalid ENUM value: ", "none of its words: "},
	    {"Invalid uint64_t value: ", "no number of its range: "}, {"Invalid UINT value: ", "no number of its range: "},
	    {"Invalid INT value: ", "no number of its range: "}, {"Expecting SEQUENCE", "a list is expected"},
	    {"Expecting MAPPING", "keys with values are expected"}, {"Expecting", "one value is expected"},
	    {"Insufficient entries", "too few entries"}, {"Excessive entries", "too many entries"}};
	const char *what = c->what + (strncmp(c->what, "Load: ", 6) ? 0 : 6);

	for (unsigned i = 0; i < ARRAY_SIZE(words); i++) {
		size_t n = strlen(words[i].said);

		if (strncmp(what, words[i].said, n) != 0)
			continue;
		snprintf(buf, size, "%s%s", words[i].means, words[i].means[strlen(words[i].means) - 1] == ' ' ? what + n : "");
		return buf;
	}
	return what;
}

static yaml_node_t *child(yaml_document_t *doc, yaml_node_t *node, const char *part, size_t len, int *line)
{
	if (node->type == YAML_SEQUENCE_NODE && part[0] == '[') {
		yaml_node_item_t *item = node->data.sequence.items.start + strtoul(part + 1, NULL, 10);

		return item < node->data.sequence.items.top ? yaml_document_get_node(doc, *item) : NULL;
	}
	if (node->type != YAML_MAPPING_NODE)
		return NULL;
	for (yaml_node_pair_t *p = node->data.mapping.pairs.start; p < node->data.mapping.pairs.top; p++) {
		yaml_node_t *k = yaml_document_get_node(doc, p->key);

		if (k->type != YAML_SCALAR_NODE || k->data.scalar.length != len ||
		    memcmp(k->data.scalar.value, part, len) != 0)
			continue;
		*line = (int)k->start_mark.line + 1;
		return yaml_document_get_node(doc, p->value);
	}
	return NULL;
}

/* The line of a key, or of the nearest thing around it that is there. */
static int line_of(yaml_document_t *doc, const char *key)
{
	yaml_node_t *node = yaml_document_get_root_node(doc);
	int line = 1;

	while (node && *key) {
		size_t len = key[0] == '[' ? strcspn(key, "]") + 1 : strcspn(key, ".[");

		node = child(doc, node, key, len, &line);
		if (node && key[0] == '[')
			line = (int)node->start_mark.line + 1;
		key += len;
		key += *key == '.';
	}
	return line;
}

static int parse_tree(const char *path, FILE *f, yaml_document_t *doc, char *err, size_t err_size)
{
	yaml_parser_t parser;
	int ret = 0;

	if (!yaml_parser_initialize(&parser))
		return -ENOMEM;
	yaml_parser_set_input_file(&parser, f);
	if (!yaml_parser_load(&parser, doc)) {
		snprintf(err, err_size, "%s:%zu: syntax: %s", path, parser.problem_mark.line + 1,
		    parser.problem ? parser.problem : "not YAML");
		ret = -EINVAL;
	} else if (!yaml_document_get_root_node(doc)) {
		snprintf(err, err_size, "%s:1: devices: missing (the file is empty)", path);
		yaml_document_delete(doc);
		ret = -EINVAL;
	}
	yaml_parser_delete(&parser);
	return ret;
}

static int fill(const char *path, yaml_document_t *doc, struct config **out, char *err, size_t err_size)
{
	struct complaint c = {.frames = 0};
	cyaml_config_t settings;
	cyaml_err_t ce;
	char key[256] = "", why[256] = "";
	int ret;

	ce = cyaml_load_file(path, cyaml_settings(&c, &settings), &config_value, (cyaml_data_t **)out, NULL);
	if (ce != CYAML_OK || !*out) {
		complaint_key(&c, key, sizeof(key));
		snprintf(err, err_size, "%s:%d: %s%s%s", path, line_of(doc, key), key, *key ? ": " : "",
		    c.what[0] ? in_words(&c, why, sizeof(why)) : cyaml_strerror(ce));
		return -EINVAL;
	}
	ret = config_defaults(*out);
	if (!ret)
		ret = config_check(*out, key, sizeof(key), why, sizeof(why));
	if (ret == -EINVAL)
		snprintf(err, err_size, "%s:%d: %s: %s", path, line_of(doc, key), key, why);
	else if (ret)
		snprintf(err, err_size, "%s: %s", path, strerror(-ret));
	return ret;
}

/* A value may hold what would begin another line, or what a terminal obeys. */
static void make_one_line(char *text)
{
	for (; *text; text++)
		if (iscntrl((unsigned char)*text))
			*text = '?';
}

static int load(const char *path, struct config **out, char *err, size_t err_size)
{
	FILE *f = fopen(path, "re");
	yaml_document_t doc;
	struct stat st;
	int ret;

	if (!f) {
		ret = -errno;
		snprintf(err, err_size, "%s: %s", path, strerror(errno));
		return ret;
	}
	if (fstat(fileno(f), &st) == 0 && !S_ISREG(st.st_mode)) {
		snprintf(err, err_size, "%s: not a regular file", path);
		ret = -EINVAL;
	} else {
		ret = parse_tree(path, f, &doc, err, err_size);
	}
	fclose(f);
	if (ret < 0)
		return ret;
	ret = fill(path, &doc, out, err, err_size);
	yaml_document_delete(&doc);
	return ret;
}

int config_load(const char *path, struct config **out, char *err, size_t err_size)
{
	int ret;

	*out = NULL;
	ret = load(path, out, err, err_size);
	if (ret < 0) {
		make_one_line(err);
		config_free(*out);
		*out = NULL;
	}
	return ret;
}

void config_free(struct config *c)
{
	struct complaint ignored = {.frames = 0};
	cyaml_config_t settings;

	if (c)
		cyaml_free(cyaml_settings(&ignored, &settings), &config_value, c, 0);
}

const struct config_device *config_find_device(const struct config *c, const char *name)
{
	for (unsigned i = 0; i < c->devices_count; i++)
		if (!strcmp(c->devices[i].name, name))
			return &c->devices[i];
	return NULL;
}
