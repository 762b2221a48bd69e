/* What the parts of the helper share. */
#ifndef LXD_LXC_HELPER_H
#define LXD_LXC_HELPER_H

#define _GNU_SOURCE

#include <stddef.h>

/* The commands; each returns the exit code of the program. argv starts behind the command's name. */
int cmd_start(int argc, char **argv);
int cmd_console(int argc, char **argv);
int cmd_seccomp(int argc, char **argv);
int cmd_exec(int argc, char **argv);
int cmd_version(int argc, char **argv);

/* fail prints one line to stderr, with errno's text when err is not 0, and returns 1. */
int fail(int err, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* read_file reads at most size-1 bytes of a file and ends them with NUL; -1 and errno on failure. */
long read_file(const char *path, char *buf, size_t size);

/* send_fds sends one message of len bytes with count descriptors; -1 and errno on failure. */
int send_fds(int sock, const void *msg, size_t len, const int *fds, int count);

#endif
