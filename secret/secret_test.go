package secret

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

const canary = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"

type block struct {
	Name   string
	Secret String
	hidden String
	list   []String
	by     map[string]String
	deep   *block
	any    any
}

func planted() block {
	s := New(canary)
	return block{"a", s, s, []String{s}, map[string]String{"k": s}, &block{Secret: s, hidden: s}, s}
}

// No format shows a secret, whether nested or unexported, a value or a pointer.
func TestNoFormatShowsSecret(t *testing.T) {
	v := planted()
	shown := map[string]string{}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T", "%p", "%w"} {
		for what, x := range map[string]any{
			"struct": v, "pointer": &v, "secret": v.Secret, "pointer to secret": &v.Secret, "list": v.list, "map": v.by,
		} {
			shown[what+" "+verb] = fmt.Sprintf(verb, x)
		}
	}
	shown["error"] = fmt.Errorf("sign in with %v: %w", v.Secret, errors.New("no")).Error()
	if b, err := json.Marshal(v); err != nil {
		t.Error(err)
	} else {
		shown["JSON"] = string(b)
	}
	var log bytes.Buffer
	for _, h := range []slog.Handler{slog.NewTextHandler(&log, nil), slog.NewJSONHandler(&log, nil)} {
		slog.New(h).Info("x", "secret", v.Secret, "struct", v, "pointer", &v)
	}
	shown["slog"] = log.String()
	shown["panic"] = func() (s string) {
		defer func() { s = fmt.Sprint(recover()) }()
		panic(v)
	}()
	for how, text := range shown {
		for _, form := range []string{canary, fmt.Sprintf("%x", canary), fmt.Sprintf("%X", canary)} {
			if strings.Contains(text, form) {
				t.Errorf("%s shows the secret: %s", how, text)
			}
		}
	}
	if got := fmt.Sprint(v.Secret); got != Mask {
		t.Errorf("a secret prints as %q", got)
	}
}

func TestRevealAndZero(t *testing.T) {
	var unset String
	if !unset.IsZero() || unset.Reveal() != "" || fmt.Sprint(unset) != "" {
		t.Error("an unset secret is not empty")
	}
	if e := New(""); !e.IsZero() {
		t.Error(`New("") is set`)
	}
	var s String
	if err := json.Unmarshal([]byte(`"`+canary+`"`), &s); err != nil || s.Reveal() != canary || s.IsZero() {
		t.Errorf("read back %q, %v", s.Reveal(), err)
	}
}
