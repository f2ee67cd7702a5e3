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

	"github.com/aws-collector/collector/auth/internal/awsfiles"
	"github.com/aws-collector/collector/record"
)

const (
	processTimeout   = time.Minute // as in the SDK
	maxProcessOutput = 64 << 10    // credentials are shorter
)

// runCredentialProcess runs a profile's credential_process. The SDK's own provider puts all that the program printed,
// so the key, into its errors, and lets the program write to this process's standard error.
// https://docs.aws.amazon.com/sdkref/latest/guide/feature-process-credentials.html
func runCredentialProcess(ctx context.Context, operation, command string) (aws.Credentials, error) {
	operation += ": credential_process"
	refused := func(format string, args ...any) (aws.Credentials, error) {
		return aws.Credentials{}, fault(record.NoCredentials,
			"Run the profile's credential_process yourself, as the user of this process. "+
				"It must print credentials as one JSON object, and nothing else.",
			operation+format, args...)
	}
	run, cancel := withTimeout(ctx, processTimeout, operation)
	defer cancel()
	shell := []string{"sh", "-c"}
	if runtime.GOOS == "windows" {
		shell = []string{"cmd.exe", "/C"}
	}
	command = strings.ReplaceAll(command, "\n", " ") // of a setting that continues on the next line
	cmd := exec.CommandContext(run, shell[0], shell[1], command)
	out, stderr := &limitedBuffer{remaining: maxProcessOutput}, &limitedBuffer{remaining: maxCommandOutput}
	// Standard input is passed on: the program may ask a person for a code.
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.WaitDelay = os.Stdin, out, stderr, commandWaitDelay
	err := cmd.Run()
	text, suffix := out.String(), stderrSuffix(stderr.String(), out.String())
	exit := new(exec.ExitError)
	switch {
	case ctx.Err() != nil:
		return aws.Credentials{}, context.Cause(ctx)
	case run.Err() != nil:
		return refused(" did not end within %s%s", processTimeout, suffix)
	case errors.As(err, &exit):
		return refused(": %s%s", exit.ProcessState, suffix)
	case errors.Is(err, exec.ErrWaitDelay): // it succeeded, but left a child that keeps its output open
	case err != nil:
		return refused(": run the shell: %s", awsfiles.ErrorCause(err))
	}
	if runtime.GOOS == "windows" {
		text = strings.ReplaceAll(text, `\"`, `"`) // cmd.exe adds them; the SDK does the same
	}
	return parseProcessOutput(text, suffix, refused)
}

func parseProcessOutput(
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
		at, ok := parseExpiration(got.Expiration)
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

// parseExpiration reads a time in the formats that programs print and boto3 accepts. It must have a time zone: the
// programs' time zone is not known.
func parseExpiration(text string) (time.Time, bool) {
	text = strings.Join(strings.Fields(text), " ")
	for _, zone := range []string{"Z07:00", "Z0700", "Z07", " Z07:00", " Z0700", " Z07", "MST", " MST"} {
		for _, form := range []string{
			"2006-01-02T15:04:05@", "2006-01-02 15:04:05@", "2006-01-02T15:04@", "2006-01-02 15:04@",
			"2006/01/02 15:04:05@", "20060102T150405@", "20060102 150405@",
			"Mon, 2 Jan 2006 15:04:05@", "2 Jan 2006 15:04:05@", "2 Jan 2006 15:04@", "Monday, 02-Jan-06 15:04:05@",
			"Mon Jan 2 15:04:05 @ 2006", // of date
		} {
			form = strings.Replace(form, "@", zone, 1)
			at, err := time.Parse(form, text)
			if err != nil {
				at, err = time.Parse(form, strings.ToUpper(text)) // a lower-case t or z
			}
			if err != nil {
				continue
			}
			if name, offset := at.Zone(); offset == 0 && name != "UTC" && name != "" && name != "GMT" {
				continue // Parse takes a zone that this machine does not know for UTC
			}
			return at.UTC(), true
		}
	}
	return time.Time{}, false
}
