/* A library that the program loads later, even one that looks for libc's calls before the
 * program's; see pair.h. The library is pair.c once more. */
#include "tests/apps/pair.h"
#include <dlfcn.h>

enum { PAIRS = 4 };

#ifdef __SANITIZE_ADDRESS__ /* whose runtime has its own dlopen(), which refuses RTLD_DEEPBIND */
static const int modes[] = {RTLD_NOW, RTLD_LAZY | RTLD_GLOBAL};
#else
static const int modes[] = {RTLD_NOW, RTLD_LAZY | RTLD_GLOBAL, RTLD_NOW | RTLD_DEEPBIND};
#endif

static void *symbol(void *library, const char *name)
{
	void *p = dlsym(library, name);

	if (!p) {
		fprintf(stderr, "%s\n", dlerror());
		exit(1);
	}
	return p;
}

static void pairs_of(int mode)
{
	void *library = dlopen(PLUGIN, mode);
	void (*make)(int fd[2]);
	int p[2];
	char c;

	CHECK(library);
	if (!library)
		return;
	*(bool *)symbol(library, "over_tcp") = over_tcp;
	memcpy(symbol(library, "address"), &address, sizeof(address));
	*(void **)&make = symbol(library, "make_pair");
	for (int i = 0; i < PAIRS; i++) {
		make(p);
		CHECK(write(p[0], "x", 1) == 1 && read(p[1], &c, 1) == 1 && c == 'x');
		close_pair(p);
	}
	dlclose(library);
}

static void loaded(void)
{
	for (unsigned i = 0; i < sizeof(modes) / sizeof(*modes); i++)
		pairs_of(modes[i]);
}

static void all(void)
{
	int before_ = 0;

	RUN(loaded);
}

int main(int argc, char **argv)
{
	return test_main(argc, argv, all);
}
