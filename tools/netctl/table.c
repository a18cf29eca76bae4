#include "tools/netctl/netctl.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct table {
	unsigned columns;
	size_t n, room;
	char **cell;
};

static void add(struct table *t, char *text)
{
	if (t->n == t->room) {
		t->room = t->room ? t->room * 2 : 64;
		t->cell = realloc(t->cell, t->room * sizeof(*t->cell));
		if (!t->cell)
			abort(); /* a command-line tool out of memory */
	}
	t->cell[t->n++] = text;
}

struct table *table_new(unsigned columns, const char *const *head)
{
	struct table *t = calloc(1, sizeof(*t));

	if (!t)
		abort();
	t->columns = columns;
	for (unsigned i = 0; i < columns; i++)
		add(t, strdup(head[i]));
	return t;
}

void table_cell(struct table *t, const char *fmt, ...)
{
	char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		abort();
	va_end(ap);
	add(t, text);
}

void table_free(struct table *t)
{
	for (size_t i = 0; i < t->n; i++)
		free(t->cell[i]);
	free(t->cell);
	free(t);
}

void table_print(struct table *t)
{
	size_t *width = calloc(t->columns, sizeof(*width));

	if (!width)
		abort();
	for (size_t i = 0; i < t->n; i++) {
		size_t len = strlen(t->cell[i]);

		if (len > width[i % t->columns])
			width[i % t->columns] = len;
	}
	for (size_t i = 0; i < t->n; i++) {
		unsigned column = (unsigned)(i % t->columns);

		if (column + 1 == t->columns)
			printf("%s\n", t->cell[i]);
		else
			printf("%-*s  ", (int)width[column], t->cell[i]);
	}
	free(width);
	table_free(t);
}

int json_print(json_t *root)
{
	json_dumpf(root, stdout, JSON_INDENT(2));
	putchar('\n');
	json_decref(root);
	return EXIT_DONE;
}
