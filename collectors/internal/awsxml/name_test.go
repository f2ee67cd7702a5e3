package awsxml

import (
	"strings"
	"testing"
)

func TestTagNameBegins(t *testing.T) {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	for n := 1; n <= len(letters); n++ {
		name := newTagName(letters[:n])
		text := []byte(letters[:n] + ">" + strings.Repeat("~", 64))
		if !name.matches(text) {
			t.Fatalf("%s is not itself", name.name)
		}
		for i := range n + 1 {
			for bit := range 8 {
				text[i] ^= 1 << bit
				if name.matches(text) {
					t.Errorf("%s: %s is taken for it", name.name, text[:n+1])
				}
				text[i] ^= 1 << bit
			}
		}
		for i := n + 1; i < len(text); i++ {
			text[i] = 0
			if !name.matches(text) {
				t.Fatalf("%s: byte %d is looked at, which is behind it", name.name, i)
			}
		}
	}
}

func TestIsIndent(t *testing.T) {
	for n := range 80 {
		b := []byte("\n" + strings.Repeat(" ", n))
		if got := isIndent(b); got != (n >= 8) {
			t.Errorf("a line feed and %d spaces: %t", n, got)
		}
		for i := range b {
			for _, c := range []byte("x\t\x00<") {
				was := b[i]
				b[i] = c
				if isIndent(b) {
					t.Errorf("%q is taken for one", b)
				}
				b[i] = was
			}
		}
	}
}
