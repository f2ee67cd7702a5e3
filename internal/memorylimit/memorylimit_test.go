package memorylimit

import (
	"math"
	"runtime/debug"
	"testing"
	"testing/fstest"
)

func TestMemoryLimit(t *testing.T) {
	const none = math.MaxInt64
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(none))
	const machine = "MemTotal:        4194304 kB\nMemFree: 1 kB\n" // 4 GiB
	for name, c := range map[string]struct {
		files      map[string]string
		gomemlimit string
		want       int64
	}{
		"another system":  {nil, "", none},
		"the machine":     {map[string]string{"proc/meminfo": machine}, "", 4 << 30 / 100 * 80},
		"a small machine": {map[string]string{"proc/meminfo": "MemTotal: 70000 kB\n"}, "", none},
		"GOMEMLIMIT":      {map[string]string{"proc/meminfo": machine}, "1GiB", none},
		"no limit": {map[string]string{"proc/meminfo": machine, "proc/self/cgroup": "0::/\n",
			"sys/fs/cgroup/memory.max": "max\n"}, "", 4 << 30 / 100 * 80},
		"a container": {map[string]string{"proc/meminfo": machine, "proc/self/cgroup": "0::/\n",
			"sys/fs/cgroup/memory.max": "268435456\n"}, "", 256 << 20 / 100 * 80},
		"a container with the host's path": {map[string]string{"proc/self/cgroup": "0::/../../pod/x\n",
			"sys/fs/cgroup/memory.max": "268435456\n"}, "", 256 << 20 / 100 * 80},
		"a small container": {map[string]string{"proc/meminfo": machine, "proc/self/cgroup": "0::/\n",
			"sys/fs/cgroup/memory.max": "67108864\n"}, "", none},
		"a unit of systemd": {map[string]string{"proc/meminfo": machine, "proc/self/cgroup": "0::/system.slice/c.service\n",
			"sys/fs/cgroup/system.slice/c.service/memory.max":  "1073741824\n",
			"sys/fs/cgroup/system.slice/c.service/memory.high": "536870912\n"}, "", 512 << 20 / 100 * 80},
		"a slice around the unit": {map[string]string{"proc/self/cgroup": "0::/system.slice/c.service\n",
			"sys/fs/cgroup/system.slice/memory.max":           "536870912\n",
			"sys/fs/cgroup/system.slice/c.service/memory.max": "1073741824\n"}, "", 512 << 20 / 100 * 80},
		"version 1": {map[string]string{"proc/meminfo": machine, "proc/self/cgroup": "5:cpu:/x\n4:memory:/a/b\n0::/\n",
			"sys/fs/cgroup/memory/a/memory.limit_in_bytes":   "536870912\n",
			"sys/fs/cgroup/memory/a/b/memory.limit_in_bytes": "9223372036854771712\n"}, "", 512 << 20 / 100 * 80},
		"nonsense": {map[string]string{"proc/meminfo": "MemTotal: many kB\n", "proc/self/cgroup": "0:/\n\n"}, "", none},
	} {
		t.Run(name, func(t *testing.T) {
			root := fstest.MapFS{}
			for file, text := range c.files {
				root[file] = &fstest.MapFile{Data: []byte(text)}
			}
			debug.SetMemoryLimit(none)
			Set(func(string) string { return c.gomemlimit }, root)
			if got := debug.SetMemoryLimit(none); got != c.want {
				t.Errorf("the limit is %d, want %d", got, c.want)
			}
		})
	}
}
