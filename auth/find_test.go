package auth

import (
	"os"
	"path/filepath"
	"testing"
)

func TestFindProfiles(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(file, []byte(`[default]
aws_access_key_id = AKIAIOSFODNN7EXAMPLE
aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY
[profile prod]
role_arn = arn:aws:iam::222222222222:role/reader
source_profile = default
mfa_serial = arn:aws:iam::111111111111:mfa/alice
[profile broken]
role_arn = arn:aws:iam::222222222222:role/reader
source_profile = nobody
[sso-session corp]
sso_region = eu-west-1
`), 0o600); err != nil {
		t.Fatal(err)
	}
	o := LoadOptions{Isolated: true, ConfigFiles: []string{file}, CredentialsFiles: []string{}}
	got, err := FindProfiles(o)
	if err != nil || len(got) != 3 || got[0].Name != "broken" || got[0].Err == nil ||
		got[1] != (Profile{Name: "default"}) || got[2] != (Profile{Name: "prod", NeedsCode: true}) {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := FindProfiles(LoadOptions{Isolated: true}); len(got) != 0 || err != nil {
		t.Errorf("isolated: %+v, %v", got, err)
	}
	if _, err := FindProfiles(LoadOptions{Isolated: true, ConfigFiles: []string{t.TempDir()}}); err == nil {
		t.Error("a directory is taken for a file without profiles")
	}
}
