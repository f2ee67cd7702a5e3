// Package awsfiles reads what the AWS CLI and the SDKs read on a machine: the shared config and credentials files, boto
// 2's files, and the environment. It finds the credentials that a profile or the default chain leads to, as a [Route],
// and the settings that apply. It makes no calls and runs no programs. Begin at [NewSource].
package awsfiles

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"

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

// fault is an error that stops a sign-in.
func fault(hint, format string, args ...any) error {
	return &record.Fault{Reason: record.NoCredentials, Hint: hint, Err: fmt.Errorf(format, args...)}
}
