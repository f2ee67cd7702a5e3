package awsfiles

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// TestParseTime: the formats of an Expiration that programs print.
func TestParseTime(t *testing.T) {
	want := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	for text, ok := range map[string]bool{
		"2026-11-30T12:00:00Z": true, "2026-11-30T13:00:00+01:00": true, "2026-11-30T12:00:00+0000": true,
		"2026-11-30T12:00:00.000Z": true, "2026-11-30 12:00:00+00:00": true,
		"2026-11-30T12:00:00 UTC": true, "2026-11-30 12:00:00 UTC": true, "2026-11-30T12:00:00 XYZ": false,
		"tomorrow": false, "1795990000": false,
	} {
		at, got := ParseTime(text)
		if got != ok || ok && !at.Equal(want) {
			t.Errorf("%s: %v, %t", text, at, got)
		}
	}
}

// TestSecretFiles: the tokens of profiles, and each shared file with a key, also of a section that is ignored.
func TestSecretFiles(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("HOME", dir)
	cache := filepath.Join(dir, ".aws", "sso", "cache")
	if err := os.MkdirAll(cache, 0o700); err != nil {
		t.Fatal(err)
	}
	configFile, credentials := filepath.Join(dir, "config"), filepath.Join(dir, "credentials")
	for file, text := range map[string]string{
		configFile: "[profile a]\nweb_identity_token_file = '/token a' # quoted\n" +
			"[profile b]\nsso_start_url = x\n[profile other]\nweb_identity_token_file = /other\n" +
			"[ignored]\naws_secret_access_key = x\n",
		credentials:                        "# aws_secret_access_key = x\n[a]\naws_access_key_id = x\n",
		filepath.Join(cache, "token.json"): "{}",
		filepath.Join(cache, "b.txt"):      "",
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	o := Options{ConfigFiles: []string{configFile}, CredentialsFiles: []string{credentials}}
	want := []SecretFile{
		{"/token a", "the web identity of profile a"},
		{filepath.Join(cache, "token.json"), "the token of profile b"},
		{configFile, "the file with profile a"},
	}
	if got := SecretFiles(o, []string{"a", "b", "missing"}); !slices.Equal(got, want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
	if got := SecretFiles(o, nil); got != nil {
		t.Errorf("without a profile: %v", got)
	}
}
