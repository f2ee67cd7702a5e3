//go:build unix

package auth

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/aws-collector/collector/auth/internal/awsfiles"
	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/record"
)

// TestPipes: a pipe in place of an AWS file is a file that cannot be read; nothing waits for a writer.
func TestPipes(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Skipf("SKIPPED, NOT PASSED: no pipes here: %v", err)
	}
	for _, name := range []string{"AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "BOTO_CONFIG"} {
		t.Run(name, func(t *testing.T) {
			w, _ := ordinaryEnv(t)
			t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
			t.Setenv(name, pipe)
			sessions := w.sessions(Options{Getenv: os.Getenv})
			_, err := sessions.Open(t.Context(), block())
			if record.ReasonOf(err) != record.NoCredentials {
				t.Error(err)
			}
			w.open(sessions, w.ak())
		})
	}
	if _, err := awsfiles.ReadCABundle(pipe); err == nil {
		t.Error("a pipe was read as a bundle")
	}
	const token = "eyJhbGciOiJIUzI1NiJ9.e30.x"
	for path, shown := range map[string]bool{pipe: true, token: false} {
		if _, err := tokenFile(path).GetIdentityToken(); err == nil || strings.Contains(err.Error(), path) != shown {
			t.Error(err)
		}
	}
}

// TestLostLineBreak: a line of a shared file that lost its line break is not quoted in errors.
func TestLostLineBreak(t *testing.T) {
	const secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
	w, _ := ordinaryEnv(t)
	role := "[profile x]\nrole_arn = " + w.role.ARN + "\n"
	for _, text := range []string{
		role + "source_profile = u aws_secret_access_key = " + secret,
		role + "source_profile = u\n  " + secret,
		"[profile x]\nsso_account_id = 444444444444\nsso_role_name = r\nsso_session = s\n  " + secret,
		"[profile x]\nrole_arn = " + w.role.ARN + "\nweb_identity_token_file = /nowhere\n  " + secret,
	} {
		t.Setenv("AWS_CONFIG_FILE", write(t, "config", text))
		_, err := w.sessions(Options{Getenv: os.Getenv}).Open(t.Context(), block(func(a *config.Account) { a.Profile = "x" }))
		if err == nil || strings.Contains(err.Error()+record.HintOf(err), secret) {
			t.Error(err)
		}
	}
}
