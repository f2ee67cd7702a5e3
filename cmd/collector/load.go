package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/aws-collector/collector/auth"
	"github.com/aws-collector/collector/collectors"
	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/internal/userfile"
	"github.com/aws-collector/collector/outputs/all"
	"github.com/aws-collector/collector/outputs/deliver"
	"github.com/aws-collector/collector/outputs/s3"
)

// loadedConfig is a configuration file, resolved and valid, with the warnings about it.
type loadedConfig struct {
	file     *config.File
	inputs   inputDigests
	warnings []string
}

// inputDigests has a digest of each file that a configuration was made from: the file itself, and the files that
// ${file:} references name. They show whether a file has changed.
type inputDigests map[string][sha256.Size]byte

// recordingReader returns a function that reads referenced files and records their digests.
func (in inputDigests) recordingReader(ctx context.Context) func(path string) ([]byte, error) {
	return func(path string) ([]byte, error) {
		b, err := referenceReader(ctx)(path)
		if err == nil {
			in[path] = sha256.Sum256(b)
		}
		return b, err
	}
}

// referenceReader returns a function that reads the file of a ${file:} reference. It follows links, because secrets are
// often mounted as links.
func referenceReader(ctx context.Context) func(path string) ([]byte, error) {
	return func(path string) ([]byte, error) {
		b, err := userfile.Read(ctx, path, config.MaxReferenced)
		if errors.Is(err, userfile.ErrTooLarge) {
			err = errors.New("the file is longer than 64 KiB; check that it is the right file")
		}
		return b, err
	}
}

// changed reports whether a file has other content now. A missing file counts as unchanged: it is about to be replaced.
func (in inputDigests) changed(ctx context.Context) bool {
	for path, digest := range in {
		if b, err := userfile.Read(ctx, path, config.MaxFile); err == nil && sha256.Sum256(b) != digest {
			return true
		}
	}
	return false
}

// standardInput is the value of --config that means standard input.
const standardInput = "-"

// configText returns the content of the configuration file. rereadable reports whether the path can be read a second
// time. Text from a pipe cannot, so it is retained for reloads.
func (c *cli) configText(ctx context.Context) (text []byte, rereadable bool, err error) {
	switch {
	case c.pipedConfig != nil:
		return c.pipedConfig, false, nil
	case c.configPath == standardInput:
		text, err = userfile.ReadStream(ctx, c.stdin, "standard input", config.MaxFile)
	default:
		text, rereadable, err = userfile.ReadAny(ctx, c.configPath, config.MaxFile)
	}
	if err == nil && !rereadable {
		c.pipedConfig = text
		if len(text) == 0 {
			err = fmt.Errorf("%s: is empty", c.configName())
		}
	}
	return text, rereadable, err
}

// configName is the name of the configuration in messages: the file's name without its directory.
func (c *cli) configName() string {
	switch {
	case c.configPath == standardInput:
		return "standard input"
	case strings.HasPrefix(c.configPath, "/dev/"), strings.HasPrefix(c.configPath, "/proc/"):
		return c.configPath
	}
	return filepath.Base(c.configPath)
}

// loadConfig reads the configuration file and applies COLLECTOR_LISTEN and COLLECTOR_DATA_DIR. It makes no AWS calls.
// With an error, the result has only the inputs that were read.
func (c *cli) loadConfig(ctx context.Context) (*loadedConfig, error) {
	l := &loadedConfig{inputs: inputDigests{}}
	b, rereadable, err := c.configText(ctx)
	if err != nil {
		return l, usageError(fmt.Errorf(
			"%w; name a file with --config or COLLECTOR_CONFIG, or start from config.example.yaml", err))
	}
	if rereadable {
		l.inputs[c.configPath] = sha256.Sum256(b)
	}
	f, err := config.Parse(b, c.configName(), knownNames())
	if err != nil {
		return l, usageError(err)
	}
	if err := f.Resolve(c.lookupEnv, l.inputs.recordingReader(ctx)); err != nil {
		return l, usageError(err)
	}
	if v := c.getenv("COLLECTOR_LISTEN"); v != "" {
		f.Web.Listen = v
	}
	if v := c.getenv("COLLECTOR_DATA_DIR"); v != "" {
		f.DataDir = v
	}
	l.file = f
	for _, w := range f.Warnings {
		l.warnings = append(l.warnings, w.Error())
	}
	warnings, err := outputConflicts(c.configName(), f)
	if err != nil {
		return l, usageError(err)
	}
	l.warnings = append(l.warnings, warnings...)
	l.warnings = append(l.warnings, c.exposureWarnings(f)...)
	if c.strict && len(l.warnings) > 0 {
		refused := []error{fmt.Errorf("--strict: %s has warnings", c.configName())}
		for _, w := range l.warnings {
			refused = append(refused, errors.New("  "+w))
		}
		return l, usageError(errors.Join(refused...))
	}
	return l, nil
}

// outputConflicts returns the conflicts between outputs: errors, and warnings about conflicts that may happen later.
func outputConflicts(file string, f *config.File) (warnings []string, err error) {
	var specs []deliver.Spec
	for _, o := range f.Outputs {
		specs = append(specs, deliver.Spec{Type: o.Type, Options: o.Options, Line: o.Line, Hidden: o.Hidden})
	}
	var errs []error
	for _, c := range deliver.Conflicts(all.Types, specs) {
		text := fmt.Sprintf("%s:%d: outputs[%d]", file, specs[c.Index].Line, c.Index)
		if c.Option != "" {
			text += "." + c.Option
		}
		switch {
		case c.Warning:
			warnings = append(warnings, fmt.Sprintf("%s: %v", text, c.Err))
		default:
			errs = append(errs, fmt.Errorf("%s: %w", text, c.Err))
		}
	}
	return warnings, errors.Join(errs...)
}

// lookupEnv resolves ${env:} references. An empty variable counts as unset: a key is never empty.
func (c *cli) lookupEnv(name string) (string, bool) {
	c.referenced.add(name)
	v := c.getenv(name)
	return v, v != ""
}

// knownNames returns the kinds and output types that a configuration may name.
func knownNames() config.Registry {
	k := config.Registry{Outputs: map[string]func() any{}}
	for _, kind := range collectors.Kinds {
		k.Kinds = append(k.Kinds, kind.Name)
	}
	for _, t := range all.Types {
		k.Outputs[t.Name] = t.NewOptions
	}
	return k
}

func (c *cli) validateCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "validate",
		Short: "Check the configuration and print all errors; makes no AWS calls",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := c.loadConfig(cmd.Context())
			if err != nil {
				return err
			}
			if err := c.inspectSignIn(l); err != nil {
				return err
			}
			for _, w := range l.warnings {
				if err := safeFprintf(c.stderr, "warning: %s\n", w); err != nil {
					return err
				}
			}
			what := fmt.Sprintf("%d accounts", len(l.file.Accounts))
			if len(l.file.Accounts) == 1 {
				what = "1 account"
			}
			switch n := len(l.file.Organizations); n {
			case 0:
			case 1:
				what += ", and the members of 1 organization"
			default:
				what += fmt.Sprintf(", and the members of %d organizations", n)
			}
			return safeFprintf(c.stdout, "%s: ok, %s\n", c.configPath, what)
		},
	}
}

// inspectSignIn checks the AWS profiles, files and variables that accounts sign in with. An error in a part that no
// account uses is a warning.
func (c *cli) inspectSignIn(l *loadedConfig) error {
	blocks := slices.Clone(l.file.Accounts)
	for _, o := range l.file.Organizations {
		blocks = append(blocks, config.Account{SignIn: o.Via})
	}
	for _, o := range l.file.Outputs {
		if bucket, ok := o.Options.(*s3.Options); ok {
			blocks = append(blocks, config.Account{
				SignIn: config.SignIn{AKID: bucket.AKID, AKSecret: bucket.AKSecret, Profile: bucket.Profile},
			})
		}
	}
	var errs []error
	for _, f := range auth.Inspect(auth.LoadOptions{Getenv: c.getenv}, blocks) {
		text := f.Error()
		if f.Hint != "" {
			text += ". " + f.Hint
		}
		if f.Used || c.strict {
			errs = append(errs, errors.New(text))
			continue
		}
		l.warnings = append(l.warnings, text)
	}
	if len(errs) > 0 {
		return usageError(fmt.Errorf("sign-in of the accounts in %s:\n%w", c.configPath, errors.Join(errs...)))
	}
	return nil
}
