package auth

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

	"github.com/aws-collector/collector/record"
)

const (
	processTimeout   = time.Minute // the SDK's
	maxProcessOutput = 64 << 10    // more is no credentials
)

// runCredentialProcess runs a profile's credential_process. The SDK has a provider for it, whose errors hold all that the program
// printed, which is the key; and it lets the program write to this process's standard error.
// https://docs.aws.amazon.com/sdkref/latest/guide/feature-process-credentials.html
func runCredentialProcess(ctx context.Context, operation, command string) (aws.Credentials, error) {
	operation += ": credential_process"
	refused := func(format string, args ...any) (aws.Credentials, error) {
		return aws.Credentials{}, fault(record.NoCredentials, "run the profile's credential_process by hand, as the "+
			"user of this process: it must print credentials as one JSON object, and nothing else",
			operation+format, args...)
	}
	run, cancel := withTimeout(ctx, processTimeout, operation)
	defer cancel()
	shell := []string{"sh", "-c"}
	if runtime.GOOS == "windows" {
		shell = []string{"cmd.exe", "/C"}
	}
	cmd := exec.CommandContext(run, shell[0], shell[1], command)
	out, problem := &limitedBuffer{remaining: maxProcessOutput}, &limitedBuffer{remaining: maxCommandOutput}
	// it may ask a person for a code
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.WaitDelay = os.Stdin, out, problem, commandWaitDelay
	err := cmd.Run()
	text, tail := out.String(), stderrSuffix(problem.String(), out.String())
	exit := new(exec.ExitError)
	switch {
	case ctx.Err() != nil:
		return aws.Credentials{}, context.Cause(ctx)
	case run.Err() != nil:
		return refused(" did not end within %s%s", processTimeout, tail)
	case errors.As(err, &exit):
		return refused(": %s%s", exit.ProcessState, tail)
	case errors.Is(err, exec.ErrWaitDelay): // it ended well and left a child behind that holds its output
	case err != nil:
		return refused(": the shell cannot be run: %s", fileErrorCause(err))
	}
	if runtime.GOOS == "windows" {
		text = strings.ReplaceAll(text, `\"`, `"`) // as the SDK: cmd.exe adds them
	}
	return parseProcessOutput(text, tail, refused)
}

func parseProcessOutput(text, tail string, refused func(string, ...any) (aws.Credentials, error)) (aws.Credentials, error) {
	var got struct {
		Version                                              json.Number
		AccessKeyID                                          string `json:"AccessKeyId"`
		SecretAccessKey, SessionToken, AccountID, Expiration string
	}
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		// The decoder's own words quote what it read.
		if wrong := new(json.UnmarshalTypeError); errors.As(err, &wrong) && isCredentialField(wrong.Field) {
			return refused(": exit status 0, but %s in what it printed is not a text%s", wrong.Field, tail)
		}
		return refused(": exit status 0, but what it printed (%d bytes) is not JSON%s", len(text), tail)
	}
	switch {
	case got.Version != "1":
		return refused(": exit status 0, but what it printed does not say \"Version\": 1%s", tail)
	case got.AccessKeyID == "":
		return refused(": exit status 0, but what it printed has no AccessKeyId%s", tail)
	case got.SecretAccessKey == "":
		return refused(": exit status 0, but what it printed has no SecretAccessKey%s", tail)
	}
	c := aws.Credentials{AccessKeyID: got.AccessKeyID, SecretAccessKey: got.SecretAccessKey,
		SessionToken: got.SessionToken, AccountID: got.AccountID, Source: processcreds.ProviderName}
	if got.Expiration != "" {
		at, ok := parseExpiration(got.Expiration)
		if !ok {
			return refused(": exit status 0, but its Expiration is not a time like 2006-01-02T15:04:05Z%s", tail)
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

// parseExpiration reads a time in the forms that helpers print and boto3 takes.
func parseExpiration(text string) (time.Time, bool) {
	for _, form := range []string{time.RFC3339, "2006-01-02T15:04:05Z0700", "2006-01-02 15:04:05Z07:00",
		"2006-01-02 15:04:05Z0700", "2006-01-02T15:04:05 MST", "2006-01-02 15:04:05 MST"} {
		at, err := time.Parse(form, text)
		if err != nil {
			continue
		}
		if name, offset := at.Zone(); offset == 0 && name != "UTC" && name != "" && name != "GMT" {
			continue // a zone that this machine does not know, which Parse takes for UTC
		}
		return at.UTC(), true
	}
	return time.Time{}, false
}
