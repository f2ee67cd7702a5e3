package process

import (
	"strings"
	"testing"
)

// TestFirstLine: standard error is shown only if it repeats nothing of standard output.
func TestFirstLine(t *testing.T) {
	const secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
	printed := `{"SecretAccessKey":"` + strings.ReplaceAll(secret, "/", `\/`) + `"}`
	utf16 := func(s string) string {
		var b strings.Builder
		for _, r := range s {
			b.WriteString(string(r) + "\x00")
		}
		return b.String()
	}
	for _, c := range []struct{ stderr, stdout string }{
		{"got " + secret + ".", printed},
		{"got <" + secret + ">", printed},
		{"got `" + secret[:12] + "`", printed},
		{secret[:9], printed},
		{secret[:5], printed},
		{utf16(secret), printed},
		{secret, utf16(printed)},
		{"got " + secret, strings.Repeat("x", maxCredentialsOutput)},
	} {
		if got := firstLine(c.stderr, c.stdout); !strings.HasPrefix(got, "(withheld") {
			t.Errorf("%q: %q", c.stderr, got)
		}
	}
	if got := firstLine("vault: permission denied\n", printed); got != "vault: permission denied" {
		t.Errorf("withheld: %q", got)
	}
}
