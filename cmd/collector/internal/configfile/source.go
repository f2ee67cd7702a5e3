// Package configfile reads the configuration file: it finds the text, resolves references, warns about what is unsafe,
// and notices changes. Package config has the types of the file and does no I/O. Begin at [Source.Load]. All errors are
// about what the user wrote.
package configfile

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/aws-collector/collector/auth"
	"github.com/aws-collector/collector/collectors"
	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/internal/userfile"
	"github.com/aws-collector/collector/outputs/all"
	"github.com/aws-collector/collector/outputs/deliver"
	"github.com/aws-collector/collector/outputs/s3"
	"github.com/aws-collector/collector/record"
)

// A Source is the configuration file that the command line names, or a pipe, and the environment that it is read in.
type Source struct {
	Path    string
	Getenv  func(string) string
	Environ func() []string // for commands that sign-in runs
	Stdin   io.Reader
	Strict  bool   // warnings are errors
	Listen  string // replaces web.listen and COLLECTOR_LISTEN; "": they apply

	piped      []byte // the text of a configuration that came from a pipe
	referenced referencedVariables
}

// A Loaded is a configuration, resolved and valid, with the warnings about it.
type Loaded struct {
	File     *config.File
	Inputs   Digests
	Warnings []string
}

// Digests has a digest of each file that a configuration was made from: the file itself, and the files that
// ${file:} references name. They show whether a file has changed.
type Digests map[string][sha256.Size]byte

// recordingReader returns a function that reads referenced files and records their digests.
func (in Digests) recordingReader(ctx context.Context) func(path string) ([]byte, error) {
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
func (in Digests) changed(ctx context.Context) bool {
	for path, digest := range in {
		if b, err := userfile.Read(ctx, path, config.MaxFile); err == nil && sha256.Sum256(b) != digest {
			return true
		}
	}
	return false
}

// standardInput is the value of --config that means standard input.
const standardInput = "-"

// text returns the content of the configuration file. rereadable reports whether the path can be read a second
// time. Text from a pipe cannot, so it is retained for reloads.
func (s *Source) text(ctx context.Context) (text []byte, rereadable bool, err error) {
	switch {
	case s.piped != nil:
		return s.piped, false, nil
	case s.Path == standardInput:
		text, err = userfile.ReadStream(ctx, s.Stdin, "standard input", config.MaxFile)
	default:
		text, rereadable, err = userfile.ReadAny(ctx, s.Path, config.MaxFile)
	}
	if err == nil && !rereadable {
		s.piped = text
		if len(text) == 0 {
			err = fmt.Errorf("%s: is empty", s.Name())
		}
	}
	return text, rereadable, err
}

// IsPiped reports whether the configuration came from a pipe, which cannot be read again.
func (s *Source) IsPiped() bool { return s.piped != nil }

// Name is the name of the configuration in messages: the file's name without its directory.
func (s *Source) Name() string {
	switch {
	case s.Path == standardInput:
		return "standard input"
	case strings.HasPrefix(s.Path, "/dev/"), strings.HasPrefix(s.Path, "/proc/"):
		return s.Path
	}
	return filepath.Base(s.Path)
}

// Load reads the configuration file and applies Listen, COLLECTOR_LISTEN and COLLECTOR_DATA_DIR. It makes no AWS calls.
// With an error, the result has only the inputs that were read.
func (s *Source) Load(ctx context.Context) (*Loaded, error) {
	l := &Loaded{Inputs: Digests{}}
	b, rereadable, err := s.text(ctx)
	if err != nil {
		remedy := "name a file with --config or COLLECTOR_CONFIG, or run `collector init` to write one"
		if errors.Is(err, fs.ErrPermission) {
			remedy = "make the file readable for this user, or name another one with --config or COLLECTOR_CONFIG"
		}
		return l, fmt.Errorf("%w; %s", err, remedy)
	}
	if rereadable {
		l.Inputs[s.Path] = sha256.Sum256(b)
	}
	f, err := config.Parse(b, s.Name(), KnownNames())
	if err != nil {
		return l, err
	}
	if err := f.Resolve(s.lookupEnv, l.Inputs.recordingReader(ctx)); err != nil {
		return l, err
	}
	if err := s.addProfiles(f); err != nil {
		return l, err
	}
	if v := cmp.Or(s.Listen, s.Getenv("COLLECTOR_LISTEN")); v != "" {
		f.Web.Listen = v
	}
	if v := s.Getenv("COLLECTOR_DATA_DIR"); v != "" {
		f.DataDir = v
	}
	if err := s.checkActUsers(f.Web); err != nil {
		return l, err
	}
	l.File = f
	for _, w := range f.Warnings {
		l.Warnings = append(l.Warnings, w.Error())
	}
	warnings, err := outputConflicts(s.Name(), f)
	if err != nil {
		return l, err
	}
	l.Warnings = append(l.Warnings, warnings...)
	l.Warnings = append(l.Warnings, s.exposureWarnings(f)...)
	if s.Strict {
		l.Warnings = append(l.Warnings, s.cleartextWarnings(f)...)
	}
	if s.Strict && len(l.Warnings) > 0 {
		refused := []error{fmt.Errorf("--strict: %s has warnings", s.Name())}
		for _, w := range l.Warnings {
			refused = append(refused, errors.New("  "+w))
		}
		return l, errors.Join(refused...)
	}
	return l, nil
}

// Parse reads the configuration file and leaves references as they are, for commands that need no secrets.
func (s *Source) Parse(ctx context.Context) (*config.File, error) {
	b, _, err := s.text(ctx)
	if err != nil {
		return nil, err
	}
	return config.Parse(b, s.Name(), KnownNames())
}

// Resolve gives the references of a parsed file their values.
func (s *Source) Resolve(ctx context.Context, f *config.File) error {
	return errors.Join(f.Resolve(s.lookupEnv, referenceReader(ctx)), s.addProfiles(f))
}

// addProfiles adds the blocks of the profiles that the file names by patterns.
func (s *Source) addProfiles(f *config.File) error {
	if len(f.Profiles) == 0 {
		return nil
	}
	found, err := auth.FindProfiles(auth.LoadOptions{Getenv: s.Getenv})
	if err != nil {
		return fmt.Errorf("profiles: %w", err)
	}
	names := make([]string, len(found))
	for i := range found {
		names[i] = found[i].Name
	}
	return f.AddProfiles(names)
}

// DataDir is the directory of the program's state. No other reference of the configuration need resolve here.
func (s *Source) DataDir(ctx context.Context) (string, error) {
	if dir := s.Getenv("COLLECTOR_DATA_DIR"); dir != "" {
		return dir, nil
	}
	f, err := s.Parse(ctx)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%w; name a file with --config or COLLECTOR_CONFIG, "+
				"or set the data_dir with COLLECTOR_DATA_DIR", err)
		}
		return "", err
	}
	if !strings.Contains(f.DataDir, "${") {
		return f.DataDir, nil
	}
	_, dir, err := f.ResolveStore(s.lookupEnv, referenceReader(ctx))
	return dir, err
}

// Store is where the configuration has the store. No other reference of the configuration need resolve here.
func (s *Source) Store(ctx context.Context) (store config.Store, dataDir string, err error) {
	f, err := s.Parse(ctx)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%w; name a file with --config or COLLECTOR_CONFIG, "+
				"or the directory of the store with COLLECTOR_DATA_DIR", err)
		}
		return config.Store{}, "", err
	}
	dir := s.Getenv("COLLECTOR_DATA_DIR")
	if dir != "" && f.Store.Type == "sqlite" {
		return f.Store, dir, nil
	}
	store, dataDir, err = f.ResolveStore(s.lookupEnv, referenceReader(ctx))
	if err == nil && store.Type == "none" {
		err = &record.Fault{
			Reason: record.Other, Hint: "Set store: {type: sqlite} to store what the next runs list.",
			Err: fmt.Errorf("%s has store: none, so nothing is stored", s.Path),
		}
	}
	return store, cmp.Or(dir, dataDir), err
}

// OutputSpecs are the outputs of a configuration, for [deliver.Set].
func OutputSpecs(f *config.File) []deliver.Spec {
	var specs []deliver.Spec
	for _, o := range f.Outputs {
		specs = append(specs, deliver.Spec{Type: o.Type, Options: o.Options, Line: o.Line, Hidden: o.Hidden})
	}
	return specs
}

// outputConflicts returns the conflicts between outputs: errors, and warnings about conflicts that may happen later.
func outputConflicts(file string, f *config.File) (warnings []string, err error) {
	specs := OutputSpecs(f)
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
func (s *Source) lookupEnv(name string) (string, bool) {
	s.referenced.add(name)
	v := s.Getenv(name)
	return v, v != ""
}

// KnownNames returns the kinds and output types that a configuration may name: read only, and always the same.
func KnownNames() config.Registry { return knownNames() }

var knownNames = sync.OnceValue(func() config.Registry {
	k := config.Registry{Outputs: map[string]func() any{}, CheckQuery: checkQuery}
	for _, kind := range collectors.Kinds {
		k.Kinds = append(k.Kinds, kind.Name)
	}
	for _, t := range all.Types {
		k.Outputs[t.Name] = t.NewOptions
	}
	return k
})

// InspectSignIn checks the AWS profiles, files and variables that accounts sign in with. An error in a part that no
// account uses is a warning.
func (s *Source) InspectSignIn(l *Loaded) error {
	blocks := slices.Clone(l.File.Accounts)
	for _, o := range l.File.Organizations {
		blocks = append(blocks, config.Account{SignIn: o.Via})
	}
	for _, o := range l.File.Outputs {
		if bucket, ok := o.Options.(*s3.Options); ok {
			blocks = append(blocks, config.Account{
				SignIn: config.SignIn{AKID: bucket.AKID, AKSecret: bucket.AKSecret, Profile: bucket.Profile},
			})
		}
	}
	var errs []error
	for _, fault := range auth.Inspect(auth.LoadOptions{Getenv: s.Getenv}, blocks) {
		text := fault.Error()
		if fault.Hint != "" {
			text += ". " + fault.Hint
		}
		if fault.Used || s.Strict {
			errs = append(errs, errors.New(text))
			continue
		}
		l.Warnings = append(l.Warnings, text)
	}
	if len(errs) > 0 {
		first := fmt.Errorf("%s: the sign-in of accounts has errors", s.Name())
		return errors.Join(append([]error{first}, errs...)...)
	}
	return nil
}
