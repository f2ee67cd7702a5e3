package sqlite

import (
	"bufio"
	"strings"
	"testing"
)

func TestParseLockHolder(t *testing.T) {
	const locks = `1: POSIX  ADVISORY  READ  11 08:01:131 124 124
2: FLOCK  ADVISORY  WRITE 12 08:01:131 0 EOF
3: POSIX  ADVISORY  WRITE 13 08:01:999 120 120
3: -> POSIX  ADVISORY  WRITE 14 08:01:131 120 120
4: POSIX  ADVISORY  WRITE 15 08:01:131 121 121
5: POSIX  ADVISORY  WRITE 16 08:01:131 120 EOF
`
	if pid := parseLockHolder(bufio.NewScanner(strings.NewReader(locks)), 131); pid != 16 {
		t.Errorf("process %d", pid)
	}
	if pid := parseLockHolder(bufio.NewScanner(strings.NewReader("")), 131); pid != 0 {
		t.Errorf("process %d", pid)
	}
}
