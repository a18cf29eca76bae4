/* A socket under stdio's streams; see pair.h. */
#include "tests/apps/pair.h"

static void one_stream(void)
{
	char line[32];
	int p[2];
	FILE *f;

	make_pair(p);
	CHECK(dprintf(p[0], "number %d\n", 42) == 10);
	f = fdopen(p[1], "r+");
	CHECK(f && fileno(f) == p[1]);
	CHECK(f && fgets(line, sizeof(line), f) && !strcmp(line, "number 42\n"));
	if (f) {
		setvbuf(f, NULL, _IONBF, 0);
		fseek(f, 0, SEEK_CUR);
		CHECK(fputs("reply\n", f) >= 0 && fflush(f) == 0);
		CHECK(read(p[0], line, sizeof(line)) > 0);
		fclose(f);
	}
	CHECK(read(p[0], line, sizeof(line)) == 0);
	close(p[0]);
}

static void both_ways(void)
{
	static char line[70000];
	FILE *in, *out, *peer;
	size_t room = 0;
	char *got = NULL;
	int p[2];

	make_pair(p);
	in = fdopen(p[0], "r");
	out = fdopen(dup(p[0]), "w");
	peer = fdopen(p[1], "r+");
	CHECK(in && out && peer && fileno(in) == p[0] && fileno(peer) == p[1]);
	memset(line, 'l', sizeof(line) - 2);
	line[sizeof(line) - 2] = '\n';
	CHECK(fputs("short\n", out) >= 0 && fputs(line, out) >= 0 && fflush(out) == 0);
	CHECK(getline(&got, &room, peer) == 6 && !strcmp(got, "short\n"));
	CHECK(getline(&got, &room, peer) == sizeof(line) - 1 && !strcmp(got, line));
	fseek(peer, 0, SEEK_CUR);
	CHECK(fprintf(peer, "%d %s\n", 7, "seven") == 8 && fflush(peer) == 0);
	{
		char word[8];
		int n;

		CHECK(fscanf(in, "%d %7s", &n, word) == 2 && n == 7 && !strcmp(word, "seven"));
		CHECK(getc(in) == '\n');
	}
	fclose(out); /* a copy: the connection stays */
	CHECK(fputs("still\n", peer) >= 0 && fflush(peer) == 0 && getline(&got, &room, in) == 6);
	fclose(peer);
	CHECK(getc(in) == EOF && feof(in) && !ferror(in));
	fclose(in);
	free(got);
	FAILS(read(p[0], line, 1), EBADF);
	CHECK(fdopen(p[0], "r") == NULL && errno == EBADF);
}

static void errors(void)
{
	FILE *f;
	char c;
	int p[2];

	signal(SIGPIPE, SIG_IGN);
	make_pair(p);
	CHECK(fdopen(p[0], "nonsense") == NULL && errno == EINVAL);
	f = fdopen(p[0], "w");
	shutdown(p[0], SHUT_WR);
	errno = 0;
	CHECK(f && fputs("lost", f) >= 0 && fflush(f) == EOF && errno == EPIPE && ferror(f));
	CHECK(f && fclose(f) == 0);
	CHECK(read(p[1], &c, 1) == 0);
	close(p[1]);
	make_pair(p);
	f = fdopen(p[0], "r");
	CHECK(fcntl(p[0], F_SETFL, O_NONBLOCK) == 0);
	errno = 0;
	CHECK(f && getc(f) == EOF && errno == EAGAIN && ferror(f) && !feof(f));
	if (f)
		clearerr(f);
	CHECK(write(p[1], "k", 1) == 1 && wait_for(p[0], POLLIN, 3000) >= 0 && f && getc(f) == 'k');
	if (f)
		fclose(f);
	close(p[1]);
	signal(SIGPIPE, SIG_DFL);
}

/* freopen() puts a file in the place of a socket's stream; the peer sees the end. */
static void reopened(void)
{
	FILE *f, *g;
	char c;
	int p[2];

	make_pair(p);
	f = fdopen(p[0], "r+");
	CHECK(f && fputs("a", f) >= 0);
	g = freopen("/dev/zero", "r", f);
	CHECK(g != NULL && getc(g) == 0);
	CHECK(read(p[1], &c, 1) == 1 && c == 'a');
	CHECK(wait_for(p[1], POLLIN, 3000) >= 0 && read(p[1], &c, 1) == 0);
	if (g)
		fclose(g);
	close(p[1]);
}

/* Commands of the shell that speak with a socket, and sockets that are none of their business. */
static void commands(void)
{
	char line[64], command[64];
	int p[2], status;
	FILE *f;

	make_pair(p);
	f = popen("echo from the shell", "r");
	CHECK(f && fgets(line, sizeof(line), f) && !strcmp(line, "from the shell\n") &&
	      pclose(f) == 0);
	snprintf(command, sizeof(command), "cat >&%d", p[0]);
	f = popen(command, "w");
	CHECK(f && fputs("through cat\n", f) >= 0 && pclose(f) == 0);
	CHECK(read_all(p[1], line, 12) && !memcmp(line, "through cat\n", 12));
	snprintf(command, sizeof(command), "read x <&%d; echo \"got $x\" >&%d; exit 5", p[0], p[0]);
	CHECK(write(p[1], "word\n", 5) == 5);
	status = system(command);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 5);
	CHECK(read_all(p[1], line, 9) && !memcmp(line, "got word\n", 9));
	close_pair(p);
}

static void all(void)
{
	int before_ = 0;

	RUN(one_stream);
	RUN(both_ways);
	RUN(errors);
	RUN(reopened);
	RUN(commands);
}

int main(int argc, char **argv)
{
	return test_main(argc, argv, all);
}
