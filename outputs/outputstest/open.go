package outputstest

import (
	"context"
	"log/slog"
	"testing"

	"github.com/aws-collector/collector/outputs"
)

// Open opens an output with its default options, changed by set. The buffer gets its log.
func Open(t testing.TB, typ outputs.Type, set func(any)) (outputs.Output, *Buffer) {
	t.Helper()
	log := new(Buffer)
	o := typ.Options()
	set(o)
	if v, ok := o.(interface{ Validate() error }); ok {
		if err := v.Validate(); err != nil {
			t.Fatal(err)
		}
	}
	out, err := typ.Open(context.Background(), o, outputs.Deps{Log: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := out.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return out, log
}

const (
	Canary  = "canary/K7MDENG/EXAMPLEKEY"
	Escaped = "canary%2FK7MDENG%2FEXAMPLEKEY"
)

// OpenDirect opens an output of a type with its defaults, changed by set.
func OpenDirect(t *testing.T, typ outputs.Type, set func(any), stdout *Buffer) outputs.Output {
	t.Helper()
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
