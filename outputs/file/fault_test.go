package file

import (
	"io/fs"
	"strings"
	"syscall"
	"testing"

	"github.com/aws-collector/collector/record"
)

// An error of a file has the path once, and a hint.
func TestFileFault(t *testing.T) {
	f := &output{path: "/srv/x.jsonl"}
	for _, c := range []struct {
		err        error
		want, hint string
	}{
		{&fs.PathError{Op: "write", Path: "/srv/x.jsonl", Err: syscall.ENOSPC},
			"write /srv/x.jsonl: no space left on device", "Free disk space"},
		{&fs.PathError{Op: "mkdir", Path: "/srv", Err: syscall.ENOENT},
			"write /srv/x.jsonl: mkdir /srv: no such file or directory", "another path"},
	} {
		err := f.fault("write", c.err)
		if err.Error() != c.want || !strings.Contains(record.HintOf(err), c.hint) {
			t.Errorf("%v (hint %q), want %s", err, record.HintOf(err), c.want)
		}
	}
}
