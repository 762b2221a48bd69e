/* The commands that need liblxc. It is loaded at run time so that exec does not pay for it. */
#include "helper.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <malloc.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <lxc/lxccontainer.h>

enum { console_socket = 3, connect_socket = 4 };

/* How the shell would be asked to run the hook; arguments of liblxc's follow. */
static const char connect_hook[] = "exec lxd-lxc-connect ";

/* The process that runs start, and its start time. liblxc closes all descriptors in the monitor, here they stay open. */
static pid_t starter;
static unsigned long long starter_since;

/* Where the monitor notes that the container asked to be started again. */
static char exit_note[PATH_MAX];

static void *liblxc(void)
{
	void *lib = dlopen("liblxc.so.1", RTLD_LAZY | RTLD_GLOBAL);

	if (!lib)
		fail(0, "cannot load liblxc: %s; install the package liblxc1", dlerror());
	return lib;
}

int cmd_version(int argc, char **argv)
{
	const char *(*version)(void);
	bool (*has)(const char *extension);
	void *lib = liblxc();

	if (!lib)
		return 1;
	*(void **)&version = dlsym(lib, "lxc_get_version");
	*(void **)&has = dlsym(lib, "lxc_has_api_extension");
	if (!version)
		return fail(0, "this liblxc does not tell its version");
	puts(version());
	for (int i = 0; has && i < argc; i++)
		if (has(argv[i]))
			puts(argv[i]);
	return fflush(stdout) != 0;
}

static struct lxc_container *container(const char *name, const char *path)
{
	struct lxc_container *(*make)(const char *, const char *);
	struct lxc_container *c;
	void *lib = liblxc();

	if (!lib)
		return NULL;
	*(void **)&make = dlsym(lib, "lxc_container_new");
	c = make ? make(name, path) : NULL;
	if (!c)
		fail(errno, "liblxc makes no container object for %s in %s", name, path);
	return c;
}

/*
 * liblxc learns through waitpid how the container's init ended: the kernel reports reboot(2) in a PID namespace as death by
 * SIGHUP, and a halt as death by SIGINT. It would restart the container by itself; the caller is to do that, with its
 * present configuration and devices. So the request is noted, and liblxc is told of a halt. Should a later liblxc not come
 * past here, its own restart stays in place.
 */
__attribute__((visibility("default"))) pid_t waitpid(pid_t pid, int *status, int options)
{
	int mine = 0;
	pid_t got = syscall(SYS_wait4, pid, &mine, options, NULL);

	if (got > 0 && exit_note[0] && WIFSIGNALED(mine) && WTERMSIG(mine) == SIGHUP) {
		int fd = open(exit_note, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		if (fd >= 0 && write(fd, "reboot\n", 7) == 7)
			mine = SIGINT;
		if (fd >= 0)
			close(fd);
	}
	if (status)
		*status = mine;
	return got;
}

/*
 * The monitor comes here when the container is up, and stays for as long as that runs. What starting has left on the heap
 * and on the stack is given back once.
 */
__attribute__((visibility("default"))) int epoll_wait(int fd, struct epoll_event *events, int max, int timeout)
{
	static int trimmed;

	if (!trimmed) {
		trimmed = 1;
		uintptr_t here = (uintptr_t)__builtin_frame_address(0);
		uintptr_t page = sysconf(_SC_PAGESIZE);
		uintptr_t end = (here & ~(page - 1)) - 2 * page;
		malloc_trim(0);
		madvise((void *)(end - 64 * page), 64 * page, MADV_DONTNEED);
	}
	return syscall(SYS_epoll_pwait, fd, events, max, timeout, NULL, 8);
}

/* stat_field reads the parent's pid (4) or the start time (22) from /proc/PID/stat; 0 when the process is gone. */
static unsigned long long stat_field(pid_t pid, int field)
{
	char path[64], buf[1024];

	snprintf(path, sizeof path, "/proc/%d/stat", pid);
	if (read_file(path, buf, sizeof buf) <= 0)
		return 0;
	char *p = strrchr(buf, ')');
	for (int i = 2; p && i < field; i++)
		p = strchr(p + 1, ' ');
	return p ? strtoull(p + 1, NULL, 10) : 0;
}

/*
 * connect tells the caller which process is in the container's namespaces, and waits until that has made the network interfaces
 * there: 0 says to go on. When the caller dies, the container does not start.
 */
static int connect_networks(void)
{
	char verdict = 0;
	const char *pid = getenv("LXC_PID");
	int process = syscall(SYS_pidfd_open, starter, 0);
	int sock = process < 0 || stat_field(starter, 22) != starter_since ? -1 : syscall(SYS_pidfd_getfd, process, connect_socket, 0);

	if (!pid || sock < 0 || send(sock, pid, strlen(pid), MSG_NOSIGNAL) < 0)
		return 1;
	return recv(sock, &verdict, 1, 0) == 1 && verdict == 'y' ? 0 : 1;
}

/*
 * liblxc runs hooks by a shell: the one below it gets by this program itself, in the process that was made for the shell. Should
 * a later liblxc not come past here, the shell finds no such program, and the container does not start.
 */
__attribute__((visibility("default"))) int execl(const char *path, const char *arg, ...)
{
	char *argv[8] = {(char *)arg};
	size_t n = 0;
	va_list args;

	va_start(args, arg);
	while (argv[n] && ++n < sizeof argv / sizeof *argv)
		argv[n] = va_arg(args, char *);
	va_end(args);
	if (n == sizeof argv / sizeof *argv) {
		errno = E2BIG;
		return -1;
	}
	if (n == 3 && !strncmp(argv[2], connect_hook, strlen(connect_hook)))
		_exit(connect_networks());
	return execv(path, argv);
}

/* What is needed of libseccomp, which liblxc brings along. */
struct seccomp {
	void *(*init)(uint32_t);
	int (*attr_set)(void *, int, uint32_t);
	int (*arch_add)(void *, uint32_t), (*arch_remove)(void *, uint32_t), (*load)(const void *);
	int (*rule_add_array)(void *, uint32_t, int, unsigned, const void *);
	int (*resolve)(const char *);
	int (*export)(const void *, int);
};

enum { attr_bad_arch = 2, attr_nnp = 3, no_syscall = -1 };

/* The other architectures that the kernel runs programs of. */
#ifdef __x86_64__
static const uint32_t compat_archs[] = {0x40000003 /* i386 */, 0x4000003e /* x32 */};
#elif defined __aarch64__
static const uint32_t compat_archs[] = {0x40000028 /* arm */};
#else
static const uint32_t compat_archs[] = {0};
#endif
enum { compat_count = sizeof compat_archs / sizeof *compat_archs };

static int load_seccomp(struct seccomp *s)
{
	const struct { const char *name; void **to; } want[] = {
		{"seccomp_init", (void **)&s->init},
		{"seccomp_attr_set", (void **)&s->attr_set},
		{"seccomp_arch_add", (void **)&s->arch_add},
		{"seccomp_arch_remove", (void **)&s->arch_remove},
		{"seccomp_load", (void **)&s->load},
		{"seccomp_rule_add_array", (void **)&s->rule_add_array},
		{"seccomp_syscall_resolve_name", (void **)&s->resolve},
		{"seccomp_export_bpf", (void **)&s->export},
	};
	void *lib = dlopen("libseccomp.so.2", RTLD_LAZY);

	for (size_t i = 0; lib && i < sizeof want / sizeof *want; i++)
		if (!(*want[i].to = dlsym(lib, want[i].name)))
			return -1;
	return lib ? 0 : -1;
}

/* Set when the container to be started may run programs of the kernel's own architecture only. */
static struct seccomp native_only;

/* liblxc lets programs of architectures through that its policy has no rules for: here they are ended. */
__attribute__((visibility("default"))) int seccomp_load(const void *ctx)
{
	struct seccomp s = native_only;

	for (int i = 0; s.load && i < compat_count; i++)
		s.arch_remove((void *)ctx, compat_archs[i]); /* of no consequence if it is not there */
	if (s.load && s.attr_set((void *)ctx, attr_bad_arch, 0x80000000))
		return -EINVAL;
	if (!s.load && load_seccomp(&s))
		return -ENOSYS;
	return s.load(ctx);
}

/*
 * start NAME LXCPATH CONFIG [native]: prints "INIT STARTTIME MONITOR STARTTIME". With the hook lxd-lxc-connect in CONFIG, descriptor 4 is
 * a SOCK_SEQPACKET socket: the number of a process in the new namespaces is sent there, and "y" comes back to go on.
 */
int cmd_start(int argc, char **argv)
{
	struct lxc_container *c = container(argv[0], argv[1]);

	if (!c)
		return 1;
	starter = getpid();
	starter_since = stat_field(starter, 22);
	if (snprintf(exit_note, sizeof exit_note, "%s/exit", argv[1]) >= (int)sizeof exit_note)
		return fail(ENAMETOOLONG, "%s", argv[1]);
	unlink(exit_note);
	if (argc > 3 && load_seccomp(&native_only))
		return fail(0, "cannot load libseccomp; install the package libseccomp2");
	if (!c->load_config(c, argv[2]))
		return fail(0, "liblxc rejects the configuration %s", argv[2]);
	c->want_daemonize(c, true);
	if (!c->start(c, 0, NULL))
		return fail(0, "liblxc could not start %s", argv[0]);
	pid_t init = c->init_pid(c);
	unsigned long long since = init > 0 ? stat_field(init, 22) : 0;
	pid_t monitor = since ? stat_field(init, 4) : 0;
	if (monitor <= 0)
		return fail(0, "%s ended as soon as it had been started", argv[0]);
	printf("%d %llu %d %llu\n", init, since, monitor, stat_field(monitor, 22));
	fflush(stdout);
	_exit(0);
}

/*
 * console NAME LXCPATH: sends two descriptors, the terminal's controlling side and the one that keeps it reserved: the
 * monitor frees the console when the latter is closed.
 */
int cmd_console(int argc, char **argv)
{
	(void)argc;
	struct lxc_container *c = container(argv[0], argv[1]);
	int tty = 0, fds[2];

	if (!c)
		return 1;
	fds[1] = c->console_getfd(c, &tty, &fds[0]);
	if (fds[1] < 0)
		return fail(0, "the console of %s is in use, or it does not run", argv[0]);
	if (send_fds(console_socket, "C", 1, fds, 2) < 0)
		return fail(errno, "cannot hand over the console of %s", argv[0]);
	return 0;
}

/* A condition on an argument of a system call, as libseccomp has it. */
struct condition {
	unsigned arg;
	int op;
	uint64_t a, b;
};

/* add_rule adds "NAME ACTION" and, for each condition, "ARG OP A B", all numbers but the name. */
static int add_rule(struct seccomp *s, void *ctx, char *line)
{
	struct condition all[6];
	char name[65];
	uint32_t act;
	unsigned count = 0;
	int used;

	if (sscanf(line, "%64s %u%n", name, &act, &used) != 2)
		return fail(0, "the rule %s can not be read", line);
	for (line += used; count < 6; count++, line += used) {
		struct condition *c = &all[count];
		if (sscanf(line, " %u %d %" SCNu64 " %" SCNu64 "%n", &c->arg, &c->op, &c->a, &c->b, &used) != 4)
			break;
	}
	int nr = s->resolve(name);
	int err = nr == no_syscall ? 0 : s->rule_add_array(ctx, act, nr, count, all);
	return err ? fail(-err, "the policy's rule for %s", name) : 0;
}

/*
 * seccomp RULES OUT: exec applies this program to what it runs, since liblxc has the filter only in the container's own
 * first process. The first line of RULES is the action for all other calls, and 1 if programs of the machine's other architectures
 * may run; then comes one rule a line, for all of these.
 */
int cmd_seccomp(int argc, char **argv)
{
	(void)argc;
	static char text[1 << 17];
	struct seccomp s;
	char *save = NULL, *line;
	uint32_t fallback;
	int compat;

	if (read_file(argv[0], text, sizeof text) < 0)
		return fail(errno, "cannot read %s", argv[0]);
	if (load_seccomp(&s))
		return fail(0, "cannot load libseccomp; install the package libseccomp2");
	line = strtok_r(text, "\n", &save);
	if (!line || sscanf(line, "%u %d", &fallback, &compat) != 2)
		return fail(0, "%s has no first line", argv[0]);
	void *ctx = s.init(fallback);
	if (!ctx)
		return fail(0, "libseccomp makes no filter");
	s.attr_set(ctx, attr_nnp, 0);
	for (int i = 0; compat && i < compat_count; i++)
		s.arch_add(ctx, compat_archs[i]);
	while ((line = strtok_r(NULL, "\n", &save)))
		if (add_rule(&s, ctx, line))
			return 1;
	int out = open(argv[1], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (out < 0)
		return fail(errno, "cannot write %s", argv[1]);
	int err = s.export(ctx, out);
	return err ? fail(-err, "cannot write the filter to %s", argv[1]) : 0;
}
