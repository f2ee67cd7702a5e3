package process

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials/processcreds"

	"github.com/aws-collector/collector/auth/internal/awsfiles"
	"github.com/aws-collector/collector/auth/internal/fault"
	"github.com/aws-collector/collector/record"
)

const (
	credentialsTimeout   = time.Minute // as in the SDK
	maxCredentialsOutput = 64 << 10    // credentials are shorter
)

// Credentials runs a profile's credential_process. The SDK's own provider puts all that the program printed,
// so the key, into its errors, and lets the program write to this process's standard error.
// https://docs.aws.amazon.com/sdkref/latest/guide/feature-process-credentials.html
func Credentials(ctx context.Context, operation, command string) (aws.Credentials, error) {
	operation += ": credential_process"
	refused := func(format string, args ...any) (aws.Credentials, error) {
		return aws.Credentials{}, fault.New(record.NoCredentials,
			"Run the profile's credential_process yourself, as the user of this process. "+
				"It must print credentials as one JSON object, and nothing else.",
			operation+format, args...)
	}
	run, cancel := fault.WithTimeout(ctx, credentialsTimeout, operation)
	defer cancel()
	shell := []string{"sh", "-c"}
	if runtime.GOOS == "windows" {
		shell = []string{"cmd.exe", "/C"}
	}
	command = strings.ReplaceAll(command, "\n", " ") // of a setting that continues on the next line
	cmd := exec.CommandContext(run, shell[0], shell[1], command)
	out, stderr := &limitedBuffer{remaining: maxCredentialsOutput}, &limitedBuffer{remaining: maxCodeOutput}
	// Standard input is passed on: the program may ask a person for a code.
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.WaitDelay = os.Stdin, out, stderr, waitDelay
	err := cmd.Run()
	text, suffix := out.String(), stderrSuffix(stderr.String(), out.String())
	exit := new(exec.ExitError)
	switch {
	case ctx.Err() != nil:
		return aws.Credentials{}, context.Cause(ctx)
	case run.Err() != nil:
		return refused(" did not end within %s%s", credentialsTimeout, suffix)
	case errors.As(err, &exit):
		return refused(": %s%s", exit.ProcessState, suffix)
	case errors.Is(err, exec.ErrWaitDelay): // it succeeded, but left a child that keeps its output open
	case err != nil:
		return refused(": run the shell: %s", fault.FileCause(err))
	}
	if runtime.GOOS == "windows" {
		text = strings.ReplaceAll(text, `\"`, `"`) // cmd.exe adds them; the SDK does the same
	}
	return parseCredentials(text, suffix, refused)
}

func parseCredentials(
	text, suffix string,
	refused func(string, ...any) (aws.Credentials, error),
) (aws.Credentials, error) {
	var got struct {
		Version                                              json.Number
		AccessKeyID                                          string `json:"AccessKeyId"`
		SecretAccessKey, SessionToken, AccountID, Expiration string
	}
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		// The decoder's own error quotes what it read.
		if wrong := new(json.UnmarshalTypeError); errors.As(err, &wrong) && isCredentialField(wrong.Field) {
			return refused(": exit status 0, but %s in its output is not a string%s", wrong.Field, suffix)
		}
		return refused(": exit status 0, but its output (%d bytes) is not JSON%s", len(text), suffix)
	}
	switch {
	case got.Version != "1":
		return refused(": exit status 0, but its output has no \"Version\": 1%s", suffix)
	case got.AccessKeyID == "":
		return refused(": exit status 0, but its output has no AccessKeyId%s", suffix)
	case got.SecretAccessKey == "":
		return refused(": exit status 0, but its output has no SecretAccessKey%s", suffix)
	}
	c := aws.Credentials{
		AccessKeyID:     got.AccessKeyID,
		SecretAccessKey: got.SecretAccessKey,
		SessionToken:    got.SessionToken,
		AccountID:       got.AccountID,
		Source:          processcreds.ProviderName,
	}
	if got.Expiration != "" {
		at, ok := awsfiles.ParseTime(got.Expiration)
		if !ok {
			return refused(": exit status 0, but its Expiration is not a time with a zone, like 2006-01-02T15:04:05Z%s", suffix)
		}
		c.CanExpire, c.Expires = true, at
	}
	return c, nil
}

func isCredentialField(field string) bool {
	switch field {
	case "Version", "AccessKeyId", "SecretAccessKey", "SessionToken", "AccountId", "AccountID", "Expiration":
		return true
	}
	return false
}
