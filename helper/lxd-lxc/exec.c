/*
 * exec ID GROUP: runs one program in a running container, whose cgroups have that name. The caller hands over three descriptors:
 *   3  a SOCK_SEQPACKET socket for reports
 *   4  a pidfd of the container's init, so that a reused pid can not be meant
 *   5  a file (memfd) with the request: NUL-terminated strings, see read_request
 * and gets these reports, one message each, the first two in any order:
 *   "P<pid>"   with a descriptor, a pidfd of the program
 *   "R"        the program is about to be run with everything set up; with a terminal, its controlling side comes along
 *   "E<text>"  it could not be set up; no more follows
 *   "I<text>"  the same, and the request is at fault: no such folder or user
 * The exit code is the program's: 128+n when signal n ended it, 127 when there is no such program, 126 when it can't be run.
 *
 * Two processes take part. The first stays on the host, where nothing inside can see it, and waits for the second. That is born
 * in the container's pid namespace and version 2 cgroup, which takes the host's rights, and joins the rest by itself. It can't
 * be traced, nor its files in /proc be opened, from inside: it is not dumpable and its memory is the host's user namespace's.
 */
#include "helper.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/filter.h>
#include <linux/keyctl.h>
#include <linux/magic.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

enum { report_fd = 3, init_fd = 4, request_fd = 5, max_hierarchies = 32 };

struct request {
	uid_t uid;
	gid_t gid;
	const char *dir, *seccomp;
	int terminal, width, height;
	char **env, **args, **limits;
};

/* What must be opened before the host is out of sight. */
struct host {
	int tasks[max_hierarchies], hierarchies; /* "tasks" files of the version 1 hierarchies */
	int cgroup;                              /* folder of the version 2 one, -1 without */
	int attr;                                /* the host's /proc */
	int apparmor;                            /* whether its layout has attr/apparmor */
	char label[512];                         /* security label of the container's init */
	uint64_t bounding;                       /* capabilities that it may ever have */
	int userns;                              /* whether it has a user namespace of its own */
	struct sock_fprog filter;
};

static _Noreturn void report(char kind, const char *what, int err)
{
	char text[512];
	int n = snprintf(text, sizeof text, err ? "%c%s: %s" : "%c%s", kind, what, strerror(err));

	send_fds(report_fd, text, n < (int)sizeof text ? (size_t)n : sizeof text - 1, NULL, 0);
	_exit(1);
}

/* give_up reports a failure to the caller and ends this process. */
static _Noreturn void give_up(const char *what, int err)
{
	report('E', what, err);
}

/* refuse reports a request that this container can not fulfil, and ends this process. */
static _Noreturn void refuse(const char *what, int err)
{
	report('I', what, err);
}

static const char *next(char **at, const char *end)
{
	char *s = *at;

	if (s >= end)
		give_up("the request is cut short", 0);
	*at = s + strlen(s) + 1;
	return s;
}

static char **next_list(char **at, const char *end)
{
	long n = strtol(next(at, end), NULL, 10);
	char **list = n < 0 || n > 1 << 20 ? NULL : calloc(n + 1, sizeof *list);

	if (!list)
		give_up("the request's list is too long", 0);
	for (long i = 0; i < n; i++)
		list[i] = (char *)next(at, end);
	return list;
}

/* The request: uid, gid, folder, filter program or "", terminal ("0" or "1"), width, height, number of variables and these,
 * number of arguments and these, number of limits and these, "NUMBER SOFT HARD". */
static void read_request(struct request *r)
{
	struct stat st;

	if (fstat(request_fd, &st) < 0 || st.st_size <= 0)
		give_up("there is no request on descriptor 5", errno);
	char *at = mmap(NULL, st.st_size, PROT_READ, MAP_PRIVATE, request_fd, 0);
	if (at == MAP_FAILED)
		give_up("cannot read the request", errno);
	const char *end = at + st.st_size;
	if (end[-1])
		give_up("the request is cut short", 0);
	r->uid = strtoul(next(&at, end), NULL, 10);
	r->gid = strtoul(next(&at, end), NULL, 10);
	r->dir = next(&at, end);
	r->seccomp = next(&at, end);
	r->terminal = !strcmp(next(&at, end), "1");
	r->width = strtol(next(&at, end), NULL, 10);
	r->height = strtol(next(&at, end), NULL, 10);
	r->env = next_list(&at, end);
	r->args = next_list(&at, end);
	r->limits = next_list(&at, end);
	if (!r->args[0])
		give_up("the request names no program", 0);
}

/* init_pid asks the pidfd, which stays right, for the number. */
static pid_t init_pid(void)
{
	char path[64], text[1024], *p;

	snprintf(path, sizeof path, "/proc/self/fdinfo/%d", init_fd);
	if (read_file(path, text, sizeof text) < 0)
		give_up("descriptor 4 is not open", errno);
	p = strstr(text, "\nPid:");
	pid_t pid = p ? strtol(p + 5, NULL, 10) : 0;
	if (pid <= 0)
		give_up("the container has ended", 0);
	return pid;
}

/* cut_cgroup shortens the path of init's cgroup to that of the container. Where init has moved to by itself, such as systemd's
 * init.scope, has limits that are meant for init alone. */
static int cut_cgroup(char *dir, const char *group)
{
	size_t n = strlen(group);

	for (char *at = dir; n && (at = strchr(at, '/')); at++)
		if (!strncmp(at + 1, group, n) && (at[1 + n] == '/' || !at[1 + n])) {
			at[1 + n] = 0;
			return 1;
		}
	return 0;
}

/* open_cgroup opens what is needed to enter the hierarchy of one line of /proc/PID/cgroup, "4:cpu,cpuacct:/path". In version 2 a
 * group that hands controllers on has no processes of its own: there programs get a group beside init's, like those of lxc-attach. */
static void open_cgroup(struct host *h, char *line, const char *group)
{
	char path[4352], *controllers = strchr(line, ':'), *dir = controllers ? strchr(controllers + 1, ':') : NULL;

	if (!dir)
		return;
	*dir++ = 0;
	controllers++;
	int own = cut_cgroup(dir, group);
	if (!*controllers) {
		int only = access("/sys/fs/cgroup/cgroup.controllers", F_OK) == 0;
		snprintf(path, sizeof path, "/sys/fs/cgroup%s%s%s", only ? "" : "/unified", dir, own ? "/.lxc" : "");
		if (own && mkdir(path, 0755) < 0 && errno != EEXIST && errno != ENOENT)
			give_up(path, errno);
		h->cgroup = open(path, O_DIRECTORY | O_PATH | O_CLOEXEC);
		/* or the program would run in the daemon's group, without the container's limits */
		if (h->cgroup < 0 && (only || access("/sys/fs/cgroup/unified/cgroup.controllers", F_OK) == 0))
			give_up(path, errno);
		return;
	}
	if (!strncmp(controllers, "name=", 5))
		controllers += 5;
	snprintf(path, sizeof path, "/sys/fs/cgroup/%s", controllers);
	if (access(path, F_OK) < 0)
		return; /* the hierarchy is not mounted: it can not be entered, and limits nothing */
	snprintf(path, sizeof path, "/sys/fs/cgroup/%s%s/tasks", controllers, dir);
	if (h->hierarchies == max_hierarchies)
		give_up("there are too many cgroup hierarchies", 0);
	h->tasks[h->hierarchies] = open(path, O_WRONLY | O_CLOEXEC);
	if (h->tasks[h->hierarchies++] < 0)
		give_up(path, errno);
}

static void open_cgroups(struct host *h, pid_t pid, const char *group)
{
	static char text[16384];
	char path[64], *save = NULL;

	h->cgroup = -1;
	snprintf(path, sizeof path, "/proc/%d/cgroup", pid);
	if (read_file(path, text, sizeof text) < 0)
		give_up("cannot read the container's cgroups", errno);
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		open_cgroup(h, line, group);
}

/* read_label finds the security label to take over, where a security module gives one. */
static void read_label(struct host *h, pid_t pid)
{
	char path[64];

	h->attr = -1;
	if (access("/sys/kernel/security/apparmor", F_OK) < 0 && access("/sys/fs/selinux/enforce", F_OK) < 0)
		return;
	snprintf(path, sizeof path, "/proc/%d/attr/apparmor/current", pid);
	h->apparmor = access(path, F_OK) == 0;
	if (!h->apparmor)
		snprintf(path, sizeof path, "/proc/%d/attr/current", pid);
	if (read_file(path, h->label, sizeof h->label) <= 0)
		give_up("cannot read the container's security label", errno);
	/* "name (enforce)": the mode is no part of the name */
	char *mode = strrchr(h->label, '(');
	if (mode && mode > h->label && mode[-1] == ' ')
		mode[-1] = 0;
	h->label[strcspn(h->label, "\n")] = 0;
	h->attr = open("/proc", O_DIRECTORY | O_PATH | O_CLOEXEC);
	if (!strcmp(h->label, "unconfined"))
		h->attr = -1;
}

static void read_bounding(struct host *h, pid_t pid)
{
	char path[64], text[4096], *p;

	snprintf(path, sizeof path, "/proc/%d/status", pid);
	if (read_file(path, text, sizeof text) < 0 || !(p = strstr(text, "\nCapBnd:")))
		give_up("cannot read the container's capabilities", errno);
	h->bounding = strtoull(p + 8, NULL, 16);
}

static void read_filter(struct host *h, const char *path)
{
	struct stat st;

	if (!*path)
		return;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		give_up(path, errno);
	h->filter.len = st.st_size / sizeof(struct sock_filter);
	h->filter.filter = mmap(NULL, st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (h->filter.filter == MAP_FAILED)
		give_up(path, errno);
}

static void read_userns(struct host *h, pid_t pid)
{
	struct stat ours, theirs;
	char path[64];

	snprintf(path, sizeof path, "/proc/%d/ns/user", pid);
	if (stat("/proc/self/ns/user", &ours) < 0 || stat(path, &theirs) < 0)
		give_up("cannot read the container's user namespace", errno);
	h->userns = ours.st_ino != theirs.st_ino || ours.st_dev != theirs.st_dev;
}

static void enter(const struct host *h)
{
	int spaces = CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWCGROUP;

	if (setns(init_fd, spaces | (h->userns ? CLONE_NEWUSER : 0)) < 0)
		give_up("cannot join the container's namespaces", errno);
	if (setgroups(0, NULL) < 0 || setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0)
		give_up("cannot become the container's root", errno);
	/* changing ids may have reset it, depending on fs.suid_dumpable */
	if (prctl(PR_SET_DUMPABLE, 0) < 0)
		give_up("cannot become undumpable", errno);
}

static void change_dir(const struct request *r)
{
	const char *home = "/root";

	if (*r->dir) {
		if (chdir(r->dir) < 0)
			refuse(r->dir, errno);
		return;
	}
	for (char **e = r->env; *e; e++)
		if (!strncmp(*e, "HOME=", 5))
			home = *e + 5;
	if (chdir(home) < 0 && chdir("/") < 0)
		give_up("/", errno);
}

/*
 * open_terminal makes a terminal in the container's own devpts, so that its name means something inside. The path is in the
 * hands of the container: what is opened must prove to be a pseudo terminal before the daemon gets it.
 */
static void open_terminal(const struct request *r, int *master, int *slave)
{
	struct winsize size = {.ws_col = r->width, .ws_row = r->height};
	struct statfs fs;
	int zero = 0;
	unsigned number;

	*master = open("/dev/pts/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
	if (*master < 0)
		give_up("cannot open /dev/pts/ptmx in the container", errno);
	if (fstatfs(*master, &fs) < 0 || fs.f_type != DEVPTS_SUPER_MAGIC || ioctl(*master, TIOCGPTN, &number) < 0)
		give_up("/dev/pts/ptmx in the container is not a terminal; is a devpts mounted there?", 0);
	if (ioctl(*master, TIOCSPTLCK, &zero) < 0 || (*slave = ioctl(*master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC)) < 0)
		give_up("cannot open the terminal", errno);
	if (fchown(*slave, r->uid, -1) < 0)
		give_up("cannot give the terminal to the user", errno);
	if (r->width > 0 && r->height > 0)
		ioctl(*master, TIOCSWINSZ, &size);
}

/* join enters the cgroups of version 1. A thread that moves itself through "tasks" needs none of the kernel's global locks,
 * which would cost milliseconds. */
static void join(const struct host *h)
{
	for (int i = 0; i < h->hierarchies; i++)
		if (write(h->tasks[i], "0", 1) < 0)
			give_up("cannot join the container's cgroup", errno);
}

static void confine(const struct host *h)
{
	for (int cap = 0; cap < 64; cap++)
		if (!(h->bounding >> cap & 1) && prctl(PR_CAPBSET_DROP, cap) < 0 && errno != EINVAL)
			give_up("cannot drop a capability", errno);
	if (h->attr >= 0) {
		char text[600];
		int n = snprintf(text, sizeof text, h->apparmor ? "exec %s" : "%s", h->label);
		int fd = openat(h->attr, h->apparmor ? "self/attr/apparmor/exec" : "self/attr/exec", O_WRONLY | O_CLOEXEC);
		if (fd < 0 || write(fd, text, n) != n)
			give_up("cannot take over the container's security label", errno);
	}
	/* or the program would see the keys of the daemon's session */
	if (syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL) < 0 && errno != ENOSYS && errno != EDQUOT && errno != EPERM)
		give_up("cannot make a session keyring", errno);
	if (h->filter.len && syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &h->filter) < 0)
		give_up("cannot apply the system call filter", errno);
}

/* limit sets what the container's processes are limited to: on the host, since inside nobody may raise a limit. */
static void limit(const struct request *r)
{
	for (char **l = r->limits; *l; l++) {
		unsigned long long soft, hard;
		int number;
		if (sscanf(*l, "%d %llu %llu", &number, &soft, &hard) != 3)
			give_up("the request has a limit that is none", 0);
		struct rlimit want = {soft, hard};
		if (setrlimit(number, &want) < 0)
			refuse("cannot set a limit of limits.kernel", errno);
	}
}

static void take_terminal(int slave)
{
	if (slave < 0)
		return;
	if (ioctl(slave, TIOCSCTTY, 0) < 0)
		give_up("cannot take the terminal", errno);
	for (int fd = 0; fd < 3; fd++)
		if (dup2(slave, fd) < 0)
			give_up("cannot use the terminal", errno);
}

/* run replaces this process by the program, looking for it as a shell would, in the PATH of the program's environment. */
static _Noreturn void run(const struct request *r)
{
	char path[4352];
	const char *dirs = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
	int err = ENOENT;

	if (strchr(r->args[0], '/')) {
		execve(r->args[0], r->args, r->env);
		err = errno;
		_exit(err == ENOENT || err == ENOTDIR ? 127 : 126);
	}
	for (char **e = r->env; *e; e++)
		if (!strncmp(*e, "PATH=", 5))
			dirs = *e + 5;
	while (*dirs) {
		size_t n = strcspn(dirs, ":");
		snprintf(path, sizeof path, "%.*s/%s", (int)n, n ? dirs : ".", r->args[0]);
		execve(path, r->args, r->env);
		if (errno != ENOENT && errno != ENOTDIR)
			err = errno;
		dirs += n + (dirs[n] == ':');
	}
	_exit(err == ENOENT ? 127 : 126);
}

/* inside is what the second process does. */
static _Noreturn void inside(const struct request *r, const struct host *h)
{
	int master = -1, slave = -1;

	/* what the daemon ignores the program need not */
	for (int s = 1; s < 32; s++)
		signal(s, SIG_DFL);
	join(h);
	if (setsid() < 0)
		give_up("cannot start a session", errno);
	limit(r);
	enter(h);
	change_dir(r);
	if (r->terminal)
		open_terminal(r, &master, &slave);
	take_terminal(slave);
	umask(022);
	confine(h);
	if (setresgid(r->gid, r->gid, r->gid) < 0 || setresuid(r->uid, r->uid, r->uid) < 0)
		refuse("the user or group is not one of the container's", errno);
	prctl(PR_SET_DUMPABLE, 0);
	/* a program whose end nobody can learn of any more is not wanted */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (send_fds(report_fd, "R", 1, &master, r->terminal ? 1 : 0) < 0)
		_exit(1);
	close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
	run(r);
}

/* born makes the second process, in the container's version 2 cgroup when there is one. */
static pid_t born(const struct host *h, int *pidfd)
{
	struct clone_args args = {
		.flags = CLONE_PIDFD | (h->cgroup >= 0 ? CLONE_INTO_CGROUP : 0),
		.pidfd = (uintptr_t)pidfd,
		.exit_signal = SIGCHLD,
		.cgroup = h->cgroup,
	};
	if (h->cgroup < 0)
		args.cgroup = 0;
	return syscall(SYS_clone3, &args, sizeof args);
}

static int wait_for(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return 1;
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

int cmd_exec(int argc, char **argv)
{
	struct request r = {0};
	struct host h = {0};
	int pidfd = -1;
	char text[32];

	if (prctl(PR_SET_DUMPABLE, 0) < 0 || close_range(3, ~0U, CLOSE_RANGE_CLOEXEC) < 0)
		give_up("cannot protect this process", errno);
	read_request(&r);
	pid_t init = init_pid();
	open_cgroups(&h, init, argc > 1 ? argv[1] : "");
	read_label(&h, init);
	read_bounding(&h, init);
	read_userns(&h, init);
	read_filter(&h, r.seccomp);
	if (setns(init_fd, CLONE_NEWPID) < 0)
		give_up("cannot join the container's pid namespace", errno);
	pid_t pid = born(&h, &pidfd);
	if (pid < 0)
		give_up("cannot make a process in the container", errno);
	if (pid == 0)
		inside(&r, &h);
	int n = snprintf(text, sizeof text, "P%d", pid);
	if (send_fds(report_fd, text, n, &pidfd, 1) < 0)
		kill(pid, SIGKILL);
	close_range(0, ~0U, 0);
	return wait_for(pid);
}
