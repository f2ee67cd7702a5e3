package deliver_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws-collector/collector/outputs"
	"github.com/aws-collector/collector/outputs/deliver"
	"github.com/aws-collector/collector/outputs/outputstest"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/secret"
)

// The set redacts the secrets of a specification in the errors, hints and logs of every output, and changes nothing
// else.
func TestSecretsAreRedacted(t *testing.T) {
	const hidden = `T0KEN "of a path"`
	var log outputstest.Buffer
	receiver := errors.New("open /x/T0KEN \"of a path\"/records: no")
	types := []outputs.Type{{Name: "odd", Options: func() any { return &struct{ outputs.Common }{} }, Direct: true,
		Open: func(_ context.Context, _ any, d outputs.Deps) (outputs.Output, error) {
			d.Log.Warn(
				"opened", "path", "/x/"+hidden, "error", fmt.Errorf("it is %q", hidden),
				slog.Group("in", "url", url.PathEscape(hidden)),
			)
			return failing{
				&outputs.RetryAfterError{
					After: time.Second,
					Err: &record.Fault{Reason: record.Throttling, Hint: "look at " + hidden,
						Err: fmt.Errorf("%w: %w", outputs.ErrRefused, receiver)},
				},
			}, nil
		}}}
	set := deliver.NewSet(types, outputs.Deps{Log: slog.New(slog.NewTextHandler(&log, nil))})
	fan, err := set.Open(
		t.Context(),
		[]deliver.Spec{{Type: "odd", Options: types[0].Options(), Hidden: []secret.String{secret.New(hidden)}}},
	)
	if err != nil {
		t.Fatal(err)
	}
	err = fan.Send(t.Context(), outputstest.SmallBatch("a", 1))
	var later *outputs.RetryAfterError
	if !errors.Is(err, outputs.ErrRefused) || !errors.As(err, &later) || later.After != time.Second ||
		record.ReasonOf(err) != record.Throttling {
		t.Errorf("%v is another error now", err)
	}
	states := fmt.Sprintf("%+v", set.States())
	_ = fan.Close(t.Context())
	for where, text := range map[string]string{"error": err.Error(), "hint": record.HintOf(err), "states": states,
		"log": string(log.Bytes())} {
		if strings.Contains(text, "T0KEN") || !strings.Contains(text, secret.Mask) {
			t.Errorf("%s: %s", where, text)
		}
	}
}

// failing is an output whose Send always returns the same error.
type failing struct{ err error }

func (f failing) Send(context.Context, outputs.Batch) error { return f.err }
func (f failing) Flush(context.Context) error               { return nil }
func (f failing) Close(context.Context) error               { return nil }
