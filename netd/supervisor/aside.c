/*
 * What netd-inet set aside (state/blackbox.h), kept as a pcapng file beside the crash files: one frame,
 * with the reason as its comment, to be opened with any packet viewer. RFC draft-ietf-opsawg-pcapng.
 */
#include "supervisor/supervisor.h"
#include <stdio.h>
#include <string.h>

#define LINKTYPE_ETHERNET 1
#define OPT_END		  0
#define OPT_COMMENT	  1

static uint32_t padded(size_t n)
{
	return (uint32_t)(n + 3) & ~3u;
}

static void put32(FILE *f, uint32_t v)
{
	fwrite(&v, sizeof(v), 1, f);
}

static void put_bytes(FILE *f, const void *data, size_t n)
{
	static const uint8_t zeros[4];

	fwrite(data, 1, n, f);
	fwrite(zeros, 1, padded(n) - n, f);
}

static void put_section(FILE *f)
{
	put32(f, 0x0a0d0d0a);
	put32(f, 28);
	put32(f, 0x1a2b3c4d); /* byte order */
	put32(f, 1);	      /* version 1.0 */
	put32(f, UINT32_MAX); /* length of the section: not given */
	put32(f, UINT32_MAX);
	put32(f, 28);
	put32(f, 1); /* interface description */
	put32(f, 20);
	put32(f, LINKTYPE_ETHERNET);
	put32(f, 0); /* no limit of length */
	put32(f, 20);
}

static void put_frame(FILE *f, const struct timespec *ts, const char *comment, const uint8_t *frame, size_t n)
{
	size_t words = strlen(comment);
	uint32_t size = 32 + padded(n) + 4 + padded(words) + 4;
	uint64_t us = (uint64_t)ts->tv_sec * 1000000 + (uint64_t)ts->tv_nsec / 1000;

	put32(f, 6); /* enhanced packet */
	put32(f, size);
	put32(f, 0); /* interface */
	put32(f, (uint32_t)(us >> 32));
	put32(f, (uint32_t)us);
	put32(f, (uint32_t)n);
	put32(f, (uint32_t)n);
	put_bytes(f, frame, n);
	put32(f, OPT_COMMENT | (uint32_t)words << 16);
	put_bytes(f, comment, words);
	put32(f, OPT_END);
	put32(f, size);
}

void aside_write(struct supervisor *s, const char *text, const uint8_t *frame, size_t n)
{
	struct crash_file file;

	if (!n || !crash_open(s, &file, "aside.pcapng"))
		return;
	put_section(file.f);
	put_frame(file.f, &file.time, text, frame, n);
	crash_close(s, &file);
}
