package sqlite

import (
	"bufio"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// writeLock is the byte of the shared-memory file that a writer locks (https://www.sqlite.org/walformat.html, "WAL
// Locks").
const writeLock = 120

// lockHolder returns the process that holds the database's write lock according to the kernel, or 0 if the kernel does
// not show it, for example a process in another container.
func lockHolder(path string) int {
	info, err := os.Stat(path + "-shm")
	if err != nil {
		return 0
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0
	}
	locks, err := os.Open("/proc/locks")
	if err != nil {
		return 0
	}
	defer func() { _ = locks.Close() }()
	return parseLockHolder(bufio.NewScanner(locks), stat.Ino)
}

// parseLockHolder parses lines like "2: POSIX ADVISORY WRITE 4242 08:01:131 120 120".
func parseLockHolder(lines *bufio.Scanner, inode uint64) int {
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) != 8 || f[1] != "POSIX" || f[3] != "WRITE" || !strings.HasSuffix(f[5], ":"+strconv.FormatUint(inode, 10)) {
			continue
		}
		from, err := strconv.ParseInt(f[6], 10, 64)
		if err != nil || from > writeLock {
			continue
		}
		if to, err := strconv.ParseInt(f[7], 10, 64); f[7] != "EOF" && (err != nil || to < writeLock) {
			continue
		}
		if pid, err := strconv.Atoi(f[4]); err == nil && pid > 0 && pid != os.Getpid() {
			return pid
		}
	}
	return 0
}
