package stdout

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/aws-collector/collector/outputs"
	"github.com/aws-collector/collector/record"
)

// A closed pipe is a permanent error.
func TestClosedPipe(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	out, err := open(t.Context(), &Options{}, outputs.Deps{Stdout: w})
	if err != nil {
		t.Fatal(err)
	}
	sendLine(t, out)
	r.Close()
	for range 2 {
		err := out.Send(t.Context(), outputs.Batch{Lines: []byte(aLine)})
		if !errors.Is(err, outputs.ErrPermanent) || !errors.Is(err, syscall.EPIPE) || record.HintOf(err) == "" {
			t.Errorf("Send without a reader: %v", err)
		}
	}
}

// A sender whose context ends does not wait for another sender's write.
func TestSendWaitsWithContext(t *testing.T) {
	r, w := io.Pipe()
	out, err := open(t.Context(), &Options{}, outputs.Deps{Stdout: w})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- out.Send(context.Background(), outputs.Batch{Lines: []byte(aLine)}) }()
	if _, err := io.ReadFull(r, make([]byte, 1)); err != nil { // the write has started
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := out.Send(ctx, outputs.Batch{Lines: []byte(aLine)}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the second sender: %v", err)
	}
	r.Close()
	if err := <-done; !errors.Is(err, outputs.ErrPermanent) {
		t.Errorf("the first: %v", err)
	}
}

// A write that failed in the middle does not join the next aLine.
func TestIncompleteLineOnStdout(t *testing.T) {
	w := &full{space: 10}
	out, err := open(t.Context(), &Options{}, outputs.Deps{Stdout: w})
	if err != nil {
		t.Fatal(err)
	}
	if err := out.Send(t.Context(), outputs.Batch{Lines: []byte(aLine)}); !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	w.space = 1 << 20
	sendLine(t, out)
	if got, want := w.String(), aLine[:10]+"\n"+aLine; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// full is a file on a disk with limited space.
type full struct {
	bytes.Buffer
	space int
}

func (f *full) Write(p []byte) (int, error) {
	n := min(len(p), f.space)
	f.space -= n
	f.Buffer.Write(p[:n])
	if n < len(p) {
		return n, syscall.ENOSPC
	}
	return n, nil
}

const aLine = `{"kind":"ec2_instance","id":"i-1","collected_at":"2026-11-21T22:15:03Z"}` + "\n"

func sendLine(t *testing.T, out outputs.Output) {
	t.Helper()
	if err := out.Send(t.Context(), outputs.Batch{Lines: []byte(aLine)}); err != nil {
		t.Fatal(err)
	}
}
