package config

import (
	"github.com/aws-collector/collector/config/internal/yamldoc"
)

// document is the whole file: a File, or the older form with a single account block.
type document struct {
	File    `yaml:",inline"`
	Blocks  []Account `yaml:"accounts" doc:"The account blocks."`
	Account *Account  `yaml:"account" doc:"A single account block, instead of accounts."`
}

// A source is a parsed file. It is needed until its references are resolved.
type source struct {
	doc          *yamldoc.Document
	registry     Registry
	failed       error    // the error of Resolve, which drops the tree when it fails
	fingerprints []string // in the file's order; made by the first pass
}

// A decoder makes one pass over a file. The [yamldoc.Decoder] fills in the types and knows the position of each value;
// the checks of this package are methods.
type decoder struct {
	*yamldoc.Decoder
	*source

	zones          map[string]zone
	scheduleErrors map[scheduleKey]error
	words          wordCache
}

func newDecoder(s *source, f *yamldoc.Fetcher) *decoder {
	return &decoder{
		Decoder: yamldoc.NewDecoder(s.doc, f, yamldoc.Rules{
			Types: s.registry.Outputs, TypeNoun: "output", ForeignKeys: foreignKeys,
			ShortLists: []string{"schedules", "outputs", "queries"}, KindRemedy: kindRemedy,
		}),
		source:         s,
		zones:          map[string]zone{},
		scheduleErrors: map[scheduleKey]error{},
		words:          wordCache{matched: map[string]bool{}},
	}
}

// Parse reads a configuration strictly and reports everything that is wrong with it, as [Problems]. name is the name of
// the file in messages. A value that is or contains a reference (${env:NAME}, ${file:/path}) is not checked here but by
// [File.Resolve]. Until then text keys hold the reference as written, and others their default.
//
// Unquoted numbers are stored in text keys as written: 012345 is not an octal number. Anchors, aliases and merge keys
// work.
func Parse(b []byte, name string, r Registry) (*File, error) {
	doc, problems := yamldoc.Parse(b, name, exampleRemedy)
	if problems != nil {
		return nil, problems
	}
	return build(&source{doc: doc, registry: r}, nil, !doc.HasReferences())
}

// Resolve replaces every reference by its value and checks the file again. It reports, as [Problems], all mistakes that
// could not be found before and all references that cannot be resolved. If there are any, f is unchanged. The program
// passes os.LookupEnv and os.ReadFile for env and read. A line break at the end of a file is not part of the value. A
// second call does nothing.
func (f *File) Resolve(env func(string) (string, bool), read func(string) ([]byte, error)) error {
	if f.source == nil {
		return nil
	}
	if f.source.failed != nil {
		return f.source.failed
	}
	g, err := build(f.source, yamldoc.NewFetcher(env, read, nil), true)
	if err != nil {
		f.source.failed, f.source.doc = err, nil
		return err
	}
	*f = *g
	return nil
}

// build makes one pass: defaults, decode, validate, inherit. Without a fetcher, references stay unresolved. The last
// pass frees the tree as it proceeds: with ten thousand accounts, the tree is larger than the result.
func build(s *source, fetch *yamldoc.Fetcher, last bool) (*File, error) {
	d := newDecoder(s, fetch)
	if last {
		d.Dispose("accounts")
	}
	w := &document{File: Defaults()}
	if stdout := s.registry.Outputs["stdout"]; stdout != nil {
		w.Outputs = []Output{{Type: "stdout", Options: stdout()}}
	}
	d.Decode(w)
	blocks := w.blocks()
	d.setLines(blocks, w.Organizations)
	if !d.VisitLimitReached() {
		d.validate(w, blocks)
	}
	if all := d.Problems(); all != nil {
		return nil, all
	}
	f := &w.File
	d.setFingerprints(blocks, f.Organizations)
	f.FormerNames = nameAccounts(blocks)
	for _, a := range blocks {
		a.inherit(f)
	}
	if w.Account != nil {
		w.Blocks = []Account{*w.Account}
	}
	f.Accounts = w.Blocks
	w.Blocks, w.Account = nil, nil // f is a part of w and would keep them in memory
	labelOrganizations(f.Organizations, f.FormerNames)
	for i := range f.Organizations {
		f.Organizations[i].inherit(f)
	}
	f.Warnings = d.Warnings()
	f.SecretInline, f.SecretFiles = d.Secrets()
	if !last {
		f.source = s
	}
	return f, nil
}

// blocks returns every account block of the file.
func (w *document) blocks() []*Account {
	var all []*Account
	if w.Account != nil {
		all = append(all, w.Account)
	}
	for i := range w.Blocks {
		all = append(all, &w.Blocks[i])
	}
	return all
}

// setLines sets the first line of each block.
func (d *decoder) setLines(blocks []*Account, orgs []Organization) {
	for _, a := range blocks {
		a.Line = int(d.At(a).Line)
	}
	for i := range orgs {
		orgs[i].Line = int(d.At(&orgs[i]).Line)
	}
}
