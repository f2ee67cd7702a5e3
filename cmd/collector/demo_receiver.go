package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/aws-collector/collector/cmd/collector/internal/live"
)

// receiver simulates a DataKit in the demo. It is unavailable for a part of each minute: records for it wait in the
// spool and arrive later.
type receiver struct {
	addr string
	http *http.Server
	done chan struct{}

	mu      sync.Mutex
	started time.Time
	points  int
	refused int    // requests while unavailable
	last    []byte // the last line about an instance
}

// The cycle of the receiver.
const (
	receiverCycle = time.Minute
	receiverAway  = 20 * time.Second // at the end of each cycle
)

func startReceiver(ctx context.Context) (*receiver, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &receiver{addr: l.Addr().String(), done: make(chan struct{}), started: time.Now()}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/write/custom_object", r.write)
	mux.HandleFunc("GET /{$}", r.show)
	r.http = &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go func() {
		defer close(r.done)
		_ = r.http.Serve(l) // until close
	}()
	return r, nil
}

func (r *receiver) close() error {
	err := r.http.Close()
	<-r.done
	return err
}

// away is how much longer the receiver is unavailable; 0: it is available.
func (r *receiver) away(now time.Time) time.Duration {
	if at := now.Sub(r.started) % receiverCycle; at > receiverCycle-receiverAway {
		return receiverCycle - at
	}
	return 0
}

// describe says in a line what the receiver does.
func (r *receiver) describe(now time.Time) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	text := fmt.Sprintf("http://%s/ simulates a DataKit: %d points accepted", r.addr, r.points)
	if away := r.away(now); away > 0 {
		text += fmt.Sprintf("; unavailable on purpose for %s, records wait in the spool", live.Countdown(away))
	}
	return text
}

func (r *receiver) write(w http.ResponseWriter, q *http.Request) {
	if r.away(time.Now()) > 0 {
		r.mu.Lock()
		r.refused++
		r.mu.Unlock()
		http.Error(w, "unavailable on purpose", http.StatusServiceUnavailable)
		return
	}
	body, err := decompressed(q)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for line := range bytes.Lines(body) {
		r.points++
		if bytes.HasPrefix(line, []byte("aws_ec2,")) {
			r.last = bytes.Clone(line)
		}
	}
}

func decompressed(q *http.Request) ([]byte, error) {
	in := io.Reader(q.Body)
	if q.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(q.Body)
		if err != nil {
			return nil, err
		}
		in = z
	}
	const maxBytes = 64 << 20
	b, err := io.ReadAll(io.LimitReader(in, maxBytes+1))
	if err == nil && len(b) > maxBytes {
		err = errors.New("more than 64 MiB")
	}
	return b, err
}

func (r *receiver) show(w http.ResponseWriter, _ *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fmt.Fprintf(w, "points accepted: %d\nrequests refused while unavailable, then sent again: %d\nlast instance:\n\n%s",
		r.points, r.refused, r.last)
}
