package config

import (
	"strings"
	"testing"
)

func TestParseSessionKey(t *testing.T) {
	const want = "\xfb\xff\xbf0123456789012345678901234567\x00"
	for _, text := range []string{
		"+/+/MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2NwA=", "+/+/MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2NwA",
		"-_-_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2NwA=", "-_-_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2NwA\n",
		"fbffbf3031323334353637383930313233343536373839303132333435363700",
		"FBFFBF3031323334353637383930313233343536373839303132333435363700",
	} {
		key, err := ParseSessionKey(text)
		if err != nil || key.Reveal() != want {
			t.Errorf("%q: %x, %v", text, key.Reveal(), err)
		}
	}
	for _, text := range []string{
		"", "correct horse battery staple", "+/+/MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nw==",
		strings.Repeat("0f", 31), strings.Repeat("0f", 33),
	} {
		if _, err := ParseSessionKey(text); err == nil || text != "" && strings.Contains(err.Error(), text) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
