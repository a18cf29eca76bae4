/*
 * Does LD_PRELOAD reach a program? The loader maps the library, so a static program is out of reach;
 * it ignores LD_PRELOAD for one that gets privileges by its file; and a Go program makes its system
 * calls itself. Only said, not forbidden: such a program may well have no sockets.
 */
#include "tools/netctl/netctl.h"
#include "base/util.h"
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#define MAX_SEGMENTS 64
#define MAX_SCRIPTS  4 /* interpreters of interpreters, as in the kernel */
#define NOTES_SIZE   512

/* Go notes its build id under its own name, among others. */
static bool notes_of_go(int fd, const Elf64_Phdr *p)
{
	uint8_t buf[NOTES_SIZE];
	ssize_t got = pread(fd, buf, min_of(sizeof(buf), (size_t)p->p_filesz), (off_t)p->p_offset);
	Elf64_Nhdr n;

	for (size_t at = 0; got > 0 && at + sizeof(n) + 4 <= (size_t)got;) {
		memcpy(&n, buf + at, sizeof(n));
		at += sizeof(n);
		if (n.n_namesz == 4 && !memcmp(buf + at, "Go\0", 4))
			return true;
		at += align_up((uint64_t)n.n_namesz, 4) + align_up((uint64_t)n.n_descsz, 4);
	}
	return false;
}

static const char *why_not_elf(int fd, const Elf64_Ehdr *h)
{
	Elf64_Phdr p[MAX_SEGMENTS];
	unsigned n = min_of((unsigned)h->e_phnum, (unsigned)MAX_SEGMENTS);
	bool loader = false;

	if (h->e_ident[EI_CLASS] != ELFCLASS64)
		return "is not of 64 bits";
	if (h->e_phentsize != sizeof(p[0]) || pread(fd, p, n * sizeof(p[0]), (off_t)h->e_phoff) != (ssize_t)(n * sizeof(p[0])))
		return NULL;
	for (unsigned i = 0; i < n; i++) {
		if (p[i].p_type == PT_NOTE && notes_of_go(fd, &p[i]))
			return "is a Go program";
		loader = loader || p[i].p_type == PT_INTERP;
	}
	return loader ? NULL : "is a static program";
}

/* The interpreter's name of a script that begins with `line`. */
static bool interpreter(char *line, char *path, size_t size)
{
	const char *name;

	line[strcspn(line, "\n")] = 0;
	name = strtok(line + 2, " \t");
	return name && snprintf(path, size, "%s", name) < (int)size;
}

static bool privileged(int fd)
{
	struct stat st;

	if (geteuid() == 0 || fstat(fd, &st) < 0)
		return false;
	return ((st.st_mode & S_ISUID) && st.st_uid != geteuid()) ||
	       ((st.st_mode & S_ISGID) && st.st_gid != getegid()) ||
	       fgetxattr(fd, "security.capability", NULL, 0) > 0;
}

static const char *why_not_file(const char *file, unsigned depth)
{
	union {
		char text[PATH_MAX];
		Elf64_Ehdr elf;
	} head = {{0}};
	char path[PATH_MAX];
	int fd = open(file, O_RDONLY | O_CLOEXEC);
	const char *why = NULL;

	if (fd < 0 || pread(fd, &head, sizeof(head) - 1, 0) < (ssize_t)sizeof(head.elf))
		head.text[0] = 0;
	if (fd >= 0 && !memcmp(head.text, ELFMAG, SELFMAG))
		why = privileged(fd) ? "gets privileges by its file" : why_not_elf(fd, &head.elf);
	else if (depth && !memcmp(head.text, "#!", 2) && interpreter(head.text, path, sizeof(path)))
		why = why_not_file(path, depth - 1);
	if (fd >= 0)
		close(fd);
	return why;
}

const char *out_of_reach(const char *program)
{
	char dirs[PATH_MAX * 4], path[PATH_MAX], *at = dirs;
	const char *dir;

	if (strchr(program, '/'))
		return why_not_file(program, MAX_SCRIPTS);
	snprintf(dirs, sizeof(dirs), "%s", getenv("PATH") ? getenv("PATH") : "/bin:/usr/bin");
	while ((dir = strsep(&at, ":"))) {
		if (snprintf(path, sizeof(path), "%s/%s", *dir ? dir : ".", program) >= (int)sizeof(path))
			continue;
		if (access(path, X_OK) == 0)
			return why_not_file(path, MAX_SCRIPTS);
	}
	return NULL;
}
