/*
 * lxd-lxc is the only program here that touches liblxc and the namespaces of containers. It keeps no state: all that it
 * needs comes with each call, and all that lasts is in the kernel or in the caller's folders.
 *
 *   lxd-lxc start NAME LXCPATH CONFIG [native]   starts a container and leaves its monitor running
 *   lxd-lxc exec [LABEL]                 runs a program in a container (request on descriptor 5, see exec.c)
 *   lxd-lxc console NAME LXCPATH         sends the console's descriptors over the socket that is descriptor 3
 *   lxd-lxc seccomp RULES OUT            compiles rules about system calls to the kernel's filter program
 *   lxd-lxc version [EXTENSION ...]      prints the version of liblxc, and those of the extensions that it has
 */
#include "helper.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

int fail(int err, const char *format, ...)
{
	va_list args;

	fputs("lxd-lxc: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	if (err)
		fprintf(stderr, ": %s", strerror(err));
	fputc('\n', stderr);
	return 1;
}

long read_file(const char *path, char *buf, size_t size)
{
	size_t have = 0;
	ssize_t n = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -1;
	while (have < size - 1 && (n = read(fd, buf + have, size - 1 - have)) > 0)
		have += n;
	close(fd);
	buf[have] = 0;
	return n < 0 ? -1 : (long)have;
}

int send_fds(int sock, const void *msg, size_t len, const int *fds, int count)
{
	char control[CMSG_SPACE(4 * sizeof(int))] = {0};
	struct iovec iov = {.iov_base = (void *)msg, .iov_len = len};
	struct msghdr hdr = {.msg_iov = &iov, .msg_iovlen = 1};

	if (count > 0) {
		hdr.msg_control = control;
		hdr.msg_controllen = CMSG_SPACE(count * sizeof(int));
		struct cmsghdr *c = CMSG_FIRSTHDR(&hdr);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(count * sizeof(int));
		memcpy(CMSG_DATA(c), fds, count * sizeof(int));
	}
	return sendmsg(sock, &hdr, MSG_NOSIGNAL) < 0 ? -1 : 0;
}

/*
 * A container that gets at /proc/<pid>/exe of a process of ours must not be able to change the program on the host. So it
 * always runs from a sealed copy in memory. The daemon starts it from one; when somebody else does not, it makes its own.
 */
static int run_sealed(char **argv)
{
	const int want = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
	struct stat st;
	off_t at = 0;
	char *none[] = {NULL};
	int self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

	if (self < 0 || fstat(self, &st) < 0)
		return fail(errno, "cannot open the own program; is /proc mounted?");
	int seals = fcntl(self, F_GET_SEALS);
	if (seals >= 0 && (seals & want) == want) {
		close(self);
		return 0;
	}
	int copy = memfd_create("lxd-lxc", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (copy < 0)
		return fail(errno, "cannot make a copy of the own program in memory");
	while (at < st.st_size)
		if (sendfile(copy, self, &at, st.st_size - at) <= 0)
			return fail(errno, "cannot copy the own program to memory");
	if (fcntl(copy, F_ADD_SEALS, want) < 0)
		return fail(errno, "cannot seal the copy of the own program");
	fexecve(copy, argv, none);
	return fail(errno, "cannot run the copy of the own program");
}

static const struct command {
	const char *name;
	int (*run)(int argc, char **argv);
	int min, max;
	const char *usage;
} commands[] = {
	{"exec", cmd_exec, 0, 2, "[ID [GROUP]]"},
	{"start", cmd_start, 3, 4, "NAME LXCPATH CONFIG [native]"},
	{"console", cmd_console, 2, 2, "NAME LXCPATH"},
	{"seccomp", cmd_seccomp, 2, 2, "RULES OUT"},
	{"version", cmd_version, 0, 64, "[EXTENSION ...]"},
	{0},
};

int main(int argc, char **argv)
{
	for (const struct command *c = commands; argc > 1 && c->name; c++) {
		if (strcmp(argv[1], c->name))
			continue;
		if (argc - 2 < c->min || argc - 2 > c->max) {
			fail(0, "usage: lxd-lxc %s %s", c->name, c->usage);
			return 2;
		}
		return run_sealed(argv) ? 1 : c->run(argc - 2, argv + 2);
	}
	fail(0, "usage: lxd-lxc start|exec|console|seccomp ...");
	return 2;
}
