// Package awsfiles reads what the AWS CLI and the SDKs read on a machine: the shared config and credentials files, boto
// 2's files, and the environment. It finds the credentials that a profile or the default chain leads to, as a [Route],
// and the settings that apply. It makes no calls and runs no programs. Begin at [NewSource].
package awsfiles

import (
	"errors"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"

	"github.com/aws-collector/collector/auth/internal/fault"
	"github.com/aws-collector/collector/record"
)

// Options says which files are read.
type Options struct {
	Isolated         bool                // neither the environment nor the standard files are read
	Getenv           func(string) string // nil: nothing is set
	ConfigFiles      []string            // shared config files; nil: the standard ones, none if Isolated
	BotoFiles        []string            // boto 2's files; likewise
	CredentialsFiles []string            // shared credentials files; likewise
}

// A Source is the environment and the names of the files.
type Source struct {
	Options
	Env      awsconfig.EnvConfig // without its keys
	Problems []Problem           // of the environment
}

// NewSource reads the environment, which decides which files are read.
func NewSource(o Options) *Source {
	l := &Source{Options: o}
	if !o.Isolated {
		l.Env, l.Problems = readEnvironment(o.Getenv)
		l.Env.Credentials, l.Env.ContainerAuthorizationToken = aws.Credentials{}, ""
	}
	return l
}

func (l *Source) getenv(name string) string {
	if l.Getenv == nil {
		return ""
	}
	return l.Getenv(name)
}

// Environment reads the variables that decide which credentials are found.
func (l *Source) Environment(getenv func(string) string) Environment {
	if l.Isolated {
		return Environment{}
	}
	env, _ := awsconfig.NewEnvConfig() // its error is in l.Problems; the fields below are set before it
	e := Environment{
		Key:         env.Credentials,
		webIdentity: WebIdentity{env.WebIdentityTokenFilePath, env.RoleARN, env.RoleSessionName},
		profile:     env.SharedConfigProfile,
	}
	if old := getenv("AWS_SECURITY_TOKEN"); old != "" && e.Key.HasKeys() {
		e.Key.SessionToken = old // the old name, which boto3 reads first
	}
	e.incompleteKey = !e.Key.HasKeys() && getenv("AWS_ACCESS_KEY_ID") != ""
	if other := getenv("AWS_DEFAULT_PROFILE"); other != e.profile {
		e.defaultProfile = other
	}
	return e
}

// SDKOptions selects the shared files for the SDK.
func (l *Source) SDKOptions() []func(*awsconfig.LoadOptions) error {
	configs, credentials := l.paths()
	// The SDK opens any file, and would wait forever for a pipe.
	readable := func(files []string) []string {
		return slices.DeleteFunc(append([]string{}, files...), func(file string) bool {
			_, err := readSharedFile(file)
			return err != nil && !errors.Is(err, fs.ErrNotExist)
		})
	}
	return []func(*awsconfig.LoadOptions) error{
		awsconfig.WithSharedConfigFiles(readable(configs)),
		awsconfig.WithSharedCredentialsFiles(readable(credentials)),
	}
}

// ParseTime reads a time in the formats that programs and logins write and boto3 accepts. It must have a time zone: the
// writer's is not known.
func ParseTime(text string) (time.Time, bool) {
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

// noCredentials is an error that stops a sign-in.
func noCredentials(hint, format string, args ...any) error {
	return fault.New(record.NoCredentials, hint, format, args...)
}
