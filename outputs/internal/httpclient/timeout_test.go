package httpclient

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/record"
)

// An exceeded timeout names the option; an exceeded deadline of the caller does not.
func TestHTTPTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := Defaults()
		o.URL, o.Timeout = "http://receiver.example.com/", config.Duration(9*time.Second)
		c, err := New(&o, "")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.Transport.DialContext = func(context.Context, string, string) (net.Conn, error) {
			server, client := net.Pipe()
			go func() { _, _ = io.Copy(io.Discard, server) }() // reads everything, never answers
			return client, nil
		}
		begin := time.Now()
		_, err = c.post(t.Context(), nil, []byte("{}\n"))
		if took := time.Since(begin); took != 9*time.Second {
			t.Errorf("took %s", took)
		}
		if record.ReasonOf(err) != record.TimedOut || !strings.Contains(fmt.Sprint(err), "no answer within 9s") ||
			!strings.Contains(record.HintOf(err), "timeout") {
			t.Errorf("%v (%s)", err, record.HintOf(err))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.post(ctx, nil, []byte("{}\n")); err == nil || ctx.Err() == nil ||
			strings.Contains(err.Error(), "no answer within") {
			t.Errorf("%v", err)
		}
	})
}
