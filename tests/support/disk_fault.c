/*
 * A disk that fails on command, for a program that is started with this in LD_PRELOAD.
 *
 * DISK_FAULT_PATH is a part of the names of the files it is about. While the file "full" is in the
 * folder DISK_FAULT_DIR, a write to them writes half of what it should and then finds no room;
 * while "sync" is there, what was written does not reach the device.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static int wanted(const char *fault) {
    const char *folder = getenv("DISK_FAULT_DIR");
    char path[PATH_MAX];
    if (folder == NULL) return 0;
    snprintf(path, sizeof path, "%s/%s", folder, fault);
    return access(path, F_OK) == 0;
}

static int is_meant(int fd) {
    const char *part = getenv("DISK_FAULT_PATH");
    char link[64], path[PATH_MAX];
    ssize_t length;
    if (part == NULL) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = '\0';
    return strstr(path, part) != NULL;
}

static ssize_t write_or_fail(const char *name, int fd, const void *bytes, size_t count, off_t at) {
    static __thread int torn;
    ssize_t (*real)(int, const void *, size_t, off_t) = dlsym(RTLD_NEXT, name);
    int saved = errno;
    if (!wanted("full") || !is_meant(fd)) {
        errno = saved;
        return real(fd, bytes, count, at);
    }
    torn = !torn;
    if (torn && count > 1) return real(fd, bytes, count / 2, at);
    errno = ENOSPC;
    return -1;
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at) {
    return write_or_fail("pwrite", fd, bytes, count, at);
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) {
    return write_or_fail("pwrite64", fd, bytes, count, at);
}

static int sync_or_fail(const char *name, int fd) {
    int (*real)(int) = dlsym(RTLD_NEXT, name);
    if (wanted("sync") && is_meant(fd)) {
        errno = EIO;
        return -1;
    }
    return real(fd);
}

int fdatasync(int fd) { return sync_or_fail("fdatasync", fd); }

int fsync(int fd) { return sync_or_fail("fsync", fd); }
