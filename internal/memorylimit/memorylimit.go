// Package memorylimit sets the soft memory limit of the Go runtime.
package memorylimit

import (
	"io/fs"
	"math"
	"path"
	"runtime/debug"
	"strconv"
	"strings"
)

// The heap may double between two garbage collections, which is Go's default: with GOGC=25, collections took up to 40 %
// of a run's CPU and saved 25 MiB. Where memory is limited, a soft limit makes the runtime collect more often when the
// heap comes near it, so that the process is not killed.
const (
	// memoryShare is how much of the memory the runtime may use, in percent. The rest is for what the runtime does not
	// count: the binary, the page cache of the store and of the spools, buffers of sockets.
	memoryShare = 80
	// minMemoryLimit is the smallest limit that is set. A limit below the size of the live heap frees nothing: the runtime
	// collects all the time and uses twice the CPU. The live heap of ten thousand accounts is some 40 MiB.
	minMemoryLimit = 64 << 20
)

// Set sets the runtime's soft memory limit to a share of the memory that the process may use, unless the
// environment sets GOMEMLIMIT. GOGC remains the runtime's business.
func Set(getenv func(string) string, root fs.FS) {
	if getenv("GOMEMLIMIT") != "" {
		return
	}
	if limit := availableMemory(root) / 100 * memoryShare; limit >= minMemoryLimit {
		debug.SetMemoryLimit(limit)
	}
}

// availableMemory returns the smaller of the machine's memory and the limits of the process's control groups, in bytes;
// 0 if none is known, as on other systems than Linux. root is the root of the file system.
func availableMemory(root fs.FS) int64 {
	smallest := int64(math.MaxInt64)
	for _, file := range memoryFiles(root) {
		text, err := fs.ReadFile(root, file)
		if err != nil {
			continue
		}
		if n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil && n > 0 { // else "max"
			smallest = min(smallest, n)
		}
	}
	if n := machineMemory(root); n > 0 {
		smallest = min(smallest, n)
	}
	if smallest == math.MaxInt64 {
		return 0
	}
	return smallest
}

// memoryFiles returns the files that may hold a limit of the process's control groups: of its own and of those around
// it. A container often sees only its own, as the root, under a path that has the names outside.
// https://docs.kernel.org/admin-guide/cgroup-v2.html#memory-interface-files
func memoryFiles(root fs.FS) []string {
	text, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return nil
	}
	var files []string
	for line := range strings.Lines(string(text)) { // hierarchy:controllers:path
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) < 3 {
			continue
		}
		mount, names := "sys/fs/cgroup", []string{"memory.max", "memory.high"}
		if parts[1] != "" { // version 1
			if !strings.Contains(","+parts[1]+",", ",memory,") {
				continue
			}
			mount, names = "sys/fs/cgroup/memory", []string{"memory.limit_in_bytes"}
		}
		for dir := path.Clean("/" + parts[2]); ; dir = path.Dir(dir) {
			for _, name := range names {
				files = append(files, path.Join(mount, dir, name))
			}
			if dir == "/" {
				break
			}
		}
	}
	return files
}

// machineMemory returns the machine's memory in bytes, 0 if unknown.
func machineMemory(root fs.FS) int64 {
	text, err := fs.ReadFile(root, "proc/meminfo")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "MemTotal:" && fields[2] == "kB" {
			if n, err := strconv.ParseInt(fields[1], 10, 64); err == nil {
				return n << 10
			}
		}
	}
	return 0
}
