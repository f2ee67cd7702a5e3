package outputs_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/aws-collector/collector/outputs"
	"github.com/aws-collector/collector/outputs/outputstest"
)

func TestMain(m *testing.M) {
	if args := os.Getenv(feedKillTestEnv); args != "" {
		fmt.Fprintln(os.Stderr, runFeedKillTest(args))
		os.Exit(1)
	}
	if args := os.Getenv(killTestEnv); args != "" {
		fmt.Fprintln(os.Stderr, runKillTest(args))
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

func TestConformance(t *testing.T) {
	subjects := map[string]outputstest.Subject{
		"stdout": {Open: func(t *testing.T) (outputs.Output, func() []byte) {
			w := new(buffer)
			return open(t, "stdout", nil, w), w.Bytes
		}},
		"file": {Open: func(t *testing.T) (outputs.Output, func() []byte) {
			path := filepath.Join(t.TempDir(), "made", "records.jsonl")
			return open(t, "file", func(o any) { o.(*outputs.File).Path = path }, nil), func() []byte {
				b, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				return b
			}
		}},
	}
	for _, typ := range outputs.Types { // so that no type is without a test
		if typ.Serve != nil || !typ.Direct { // a served output; or a remote one, which RunRemote tests
			continue
		}
		s, ok := subjects[typ.Name]
		if !ok {
			t.Errorf("output %s has no subject for the suite", typ.Name)
			continue
		}
		t.Run(typ.Name, func(t *testing.T) { outputstest.Run(t, s) })
	}
}

// open opens an output of a type with its defaults, changed by set.
func open(t *testing.T, name string, set func(any), stdout *buffer) outputs.Output {
	t.Helper()
	for _, typ := range outputs.Types {
		if typ.Name != name {
			continue
		}
		o := typ.Options()
		if set != nil {
			set(o)
		}
		out, err := typ.Open(t.Context(), o, outputs.Deps{Stdout: stdout})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	t.Fatalf("no output %q", name)
	return nil
}

// A buffer can be read while it is written. It accepts its input in small pieces, so that the lines of two concurrent
// writers would mix.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	for i := 0; i < len(p); i += 1000 {
		b.mu.Lock()
		b.b.Write(p[i:min(i+1000, len(p))])
		b.mu.Unlock()
	}
	return len(p), nil
}

func (b *buffer) Bytes() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	return bytes.Clone(b.b.Bytes())
}
