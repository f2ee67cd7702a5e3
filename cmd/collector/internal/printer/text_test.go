package printer

import (
	"context"
	"errors"
	"fmt"
	"testing"
)

func TestErrorText(t *testing.T) {
	inner := fmt.Errorf("denied\nhint: evil")
	joined := fmt.Errorf("reading: %w, twice", errors.Join(inner, context.Canceled))
	for err, want := range map[error]string{
		inner:                                 `denied\nhint: evil`,
		joined:                                "reading: denied\\nhint: evil\ncontext canceled, twice",
		fmt.Errorf("%w and %w", inner, inner): `denied\nhint: evil and denied\nhint: evil`,
	} {
		if got := ErrorText(err); got != want {
			t.Errorf("%q is %q, want %q", err, got, want)
		}
	}
}
