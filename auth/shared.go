package auth

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	awsconfig "github.com/aws/aws-sdk-go-v2/config"
)

// shared is the AWS config and credentials files, as the SDK's own reader sees them, but with the line of each value
// and without an opinion: what is wrong with one profile is an error for whoever signs in by it, and for nobody else. It
// holds secrets, so it is read, used and let go.
// https://docs.aws.amazon.com/sdkref/latest/guide/file-format.html
type shared struct {
	names    []string // of all files that were looked for, config files first
	found    []string // of those that are there
	flaws    []Flaw   // files that cannot be read, lines that are neither section nor setting
	profiles map[string]*section
	sessions map[string]*section // [sso-session NAME]
	services map[string]*section // [services NAME]
}

// A section is a profile, from both kinds of files. In a credentials file its values go before those of a config file.
type section struct {
	name                string
	at                  place // of its first header
	config, credentials map[string]value
}

// A value is a setting and where it is.
type value struct {
	place
	text  string            // may be a secret
	sub   map[string]string // indented settings below it
	first *place            // where the same file gives the same setting another value before; nil: nowhere
}

type place struct {
	file string
	line int
}

func (p place) String() string { return fmt.Sprintf("%s:%d", p.file, p.line) }

// look finds a setting, the credentials file's before the config file's, also where it is empty. An empty one is none.
func (s *section) look(key string) (value, bool) {
	if v, ok := s.credentials[key]; ok {
		return v, v.text != ""
	}
	v, ok := s.config[key]
	return v, ok && v.text != ""
}

func (s *section) get(key string) string {
	v, _ := s.look(key)
	return v.text
}

func (s *section) has(key string) bool {
	_, ok := s.look(key)
	return ok
}

// names reports whether a setting is there, be it empty.
func (s *section) names(key string) bool { return s.place(key) != s.at }

// place is where a setting is, be it empty.
func (s *section) place(key string) place {
	for _, in := range []map[string]value{s.credentials, s.config} {
		if v, ok := in[key]; ok {
			return v.place
		}
	}
	return s.at
}

// where is the place of a setting, or of the section where it has none of these.
func (s *section) where(keys ...string) place {
	for _, key := range keys {
		if v, ok := s.look(key); ok {
			return v.place
		}
	}
	return s.at
}

// A Flaw is what cannot be used as it stands in the environment or in a shared AWS file. It never quotes what is there.
type Flaw struct {
	Where string // "AWS_MAX_ATTEMPTS", "~/.aws/config:3"; "" where the text says it
	Text  string
	Hint  string
	Used  bool // an account signs in by it, and is refused; the others are not affected

	profile string // "": a file's or the environment's
	harmful bool   // whoever signs in by it is refused
}

func (f Flaw) Error() string {
	if f.Where == "" {
		return f.Text
	}
	return f.Where + ": " + f.Text
}

// shared reads the files. It is never nil, and says by its flaws what it could not read.
func (l *loaded) shared() *shared {
	s := &shared{profiles: map[string]*section{}, sessions: map[string]*section{}, services: map[string]*section{}}
	configs, credentials := l.paths()
	named := [2]bool{l.env.SharedConfigFile != "" || l.opts.ConfigFiles != nil, l.env.SharedCredentialsFile != "" ||
		l.opts.CredentialsFiles != nil}
	for i, files := range [2][]string{configs, credentials} {
		for _, file := range files {
			s.names = append(s.names, file)
			s.read(file, i == 1, named[i])
		}
	}
	return s
}

// maxShared is how much of a file is read.
const maxShared = 16 << 20

func (s *shared) read(file string, credentials, named bool) {
	text, err := readShared(file)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR), errors.Is(err, errDevice):
		return
	case err != nil:
		// At its standard place a file that may not be read is passed over, as the AWS CLI does: a service's HOME is often
		// somebody else's.
		harmful := named || !errors.Is(err, fs.ErrPermission)
		s.flaws = append(s.flaws, Flaw{Where: file, Text: "cannot be read: " + why(err), harmful: harmful})
		s.found = append(s.found, file)
		return
	}
	s.found = append(s.found, file)
	r := reader{shared: s, file: file, credentials: credentials, seen: map[*section]map[string]value{}}
	for i, line := range strings.Split(text, "\n") {
		r.line(i+1, strings.TrimSuffix(line, "\r"))
	}
	r.prefer()
}

func readShared(file string) (string, error) {
	info, err := os.Stat(file) // before it is opened: opening a pipe waits for a writer
	if err != nil {
		return "", err
	}
	switch {
	case info.Mode()&fs.ModeCharDevice != 0:
		return "", errDevice
	case !info.Mode().IsRegular():
		return "", errNotRegular
	}
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }() // only read
	b, err := io.ReadAll(io.LimitReader(f, maxShared+1))
	if err == nil && len(b) > maxShared {
		err = fmt.Errorf("it is larger than %d MiB", maxShared>>20)
	}
	return strings.TrimPrefix(string(b), "\ufeff"), err
}

var (
	errNotRegular = errors.New("it is not a regular file")
	errDevice     = errors.New("it is a device") // /dev/null is how people say that there is no file
)

// why is a file's error without the file's name.
func why(err error) string {
	if path := new(fs.PathError); errors.As(err, &path) {
		return path.Err.Error()
	}
	return err.Error()
}

// A reader goes through one file.
type reader struct {
	*shared
	file        string
	credentials bool

	in     *section // nil: before the first section, or in one that is ignored
	key    string   // of the setting that indented lines belong to
	seen   map[*section]map[string]value
	plain  *section // [default] of this file, where it has [profile default] as well
	prefix *section
}

func (r *reader) line(n int, line string) {
	trimmed := strings.TrimSpace(line)
	if trimmed == "" || trimmed[0] == '#' || trimmed[0] == ';' {
		return
	}
	if name, ok := header(line); ok {
		r.open(n, name)
		return
	}
	at := place{r.file, n}
	if line[0] == '[' { // what follows belongs to a section that has no name, and surely not to the one before
		r.flaws = append(r.flaws, Flaw{Where: at.String(), Text: "is no whole header of a section: its settings are ignored",
			Hint: "write it as [name]"})
		r.in, r.key = nil, ""
		return
	}
	indented := line[0] == ' ' || line[0] == '\t'
	if !indented {
		line = strings.TrimSpace(cutComment(line))
	}
	key, text, ok := keyValue(line)
	switch {
	case r.in == nil:
	case indented && r.key != "" && r.seen[r.in][r.key].text == "" && ok:
		v := r.seen[r.in][r.key]
		if v.sub == nil {
			v.sub = map[string]string{}
		}
		v.sub[key] = unquote(text)
		r.put(r.key, v)
	case indented && !ok && r.key != "":
		v := r.seen[r.in][r.key]
		if v.text != "" {
			v.text += "\n" + trimmed
			r.put(r.key, v)
		}
	case !ok:
		r.flaws = append(r.flaws, Flaw{Where: at.String(), Text: "is neither a section nor a setting: it is ignored",
			profile: r.in.name})
	default:
		if indented {
			text = strings.TrimSpace(cutComment(text))
		}
		if key != "credential_process" { // whose quotes are the command's
			text = unquote(text)
		}
		v := value{place: at, text: text}
		if old, ok := r.seen[r.in][key]; ok && old.text != text {
			v.first = &old.place
		}
		r.key = key
		r.put(key, v)
	}
}

func (r *reader) put(key string, v value) {
	r.seen[r.in][key] = v
	if r.credentials {
		r.in.credentials[key] = v
	} else {
		r.in.config[key] = v
	}
}

// open begins a section.
func (r *reader) open(n int, name string) {
	r.in, r.key = nil, ""
	in := r.profiles
	word, rest, _ := strings.Cut(name, " ")
	rest = unquote(strings.TrimSpace(rest))
	switch {
	case r.credentials && word == "profile" && rest != "":
		return // no profile of a credentials file is written so; profileHint says it
	case r.credentials:
		name = unquote(name)
	case word == "profile" && rest != "":
		name = rest
	case word == "sso-session" && rest != "":
		in, name = r.sessions, rest
	case word == "services" && rest != "":
		in, name = r.services, rest
	case name != "default":
		return
	}
	s := in[name]
	if s == nil {
		s = &section{name: name, at: place{r.file, n}, config: map[string]value{}, credentials: map[string]value{}}
		in[name] = s
	}
	if name == "default" && !r.credentials && in["default"] == s && word != "sso-session" && word != "services" {
		// Both forms are the same profile; where a file has both, the one with the word counts. They are told apart until
		// the file is through.
		half := &r.plain
		if word == "profile" {
			half = &r.prefix
		}
		if *half == nil {
			*half = &section{name: name, at: place{r.file, n}, config: map[string]value{}, credentials: map[string]value{}}
		}
		s = *half
	}
	if r.seen[s] == nil {
		r.seen[s] = map[string]value{}
	}
	r.in = s
}

// prefer takes up what a config file says of the default profile.
func (r *reader) prefer() {
	half := r.plain
	if r.prefix != nil {
		half = r.prefix
	}
	if half == nil {
		return
	}
	for key, v := range half.config {
		r.profiles["default"].config[key] = v
	}
}

// header is the name in a line "[name] # comment", its inner spaces as one. A name may hold the mark of a comment.
func header(line string) (string, bool) {
	line = strings.TrimSpace(line)
	if !strings.HasPrefix(line, "[") {
		return "", false
	}
	end := strings.LastIndex(line, "]")
	if i := strings.Index(line, "]"); i >= 0 && i < end {
		if rest := strings.TrimSpace(line[i+1:]); rest[0] == '#' || rest[0] == ';' {
			end = i // the other bracket is the comment's
		}
	}
	if end < 0 {
		return "", false
	}
	line = strings.TrimSpace(line[1:end])
	if i := strings.IndexAny(line, " \t"); i > 0 {
		line = line[:i] + " " + strings.TrimLeft(line[i:], " \t")
	}
	return line, true
}

// keyValue splits "key = value" or "key: value".
func keyValue(line string) (key, text string, ok bool) {
	i := strings.IndexAny(line, "=:")
	if i < 0 {
		return "", "", false
	}
	return strings.ToLower(strings.TrimSpace(line[:i])), strings.TrimSpace(line[i+1:]), true
}

func cutComment(s string) string {
	for _, mark := range []string{" #", " ;", "\t#", "\t;"} {
		s, _, _ = strings.Cut(s, mark)
	}
	return s
}

// unquote takes quotes off that stand around the whole.
func unquote(s string) string {
	if len(s) >= 2 && (s[0] == '"' || s[0] == '\'') && s[len(s)-1] == s[0] {
		return s[1 : len(s)-1]
	}
	return s
}

// paths are the shared files that are read.
func (l *loaded) paths() (configs, credentials []string) {
	configs, credentials = l.opts.ConfigFiles, l.opts.CredentialsFiles
	if l.opts.Isolated {
		return slices.Clone(configs), slices.Clone(credentials)
	}
	if configs == nil {
		configs = []string{orPath(l.env.SharedConfigFile, awsconfig.DefaultSharedConfigFilename())}
	}
	if credentials == nil {
		credentials = []string{orPath(l.env.SharedCredentialsFile, awsconfig.DefaultSharedCredentialsFilename())}
	}
	return configs, credentials
}

// orPath is a path from the environment, where ~ is the home folder as for the AWS CLI, else the standard one.
func orPath(path, standard string) string {
	if path == "" {
		return standard
	}
	if rest, ok := strings.CutPrefix(path, "~"+string(filepath.Separator)); ok {
		return filepath.Join(filepath.Dir(filepath.Dir(standard)), rest)
	}
	return path
}

// profileHint looks for the profile where people put it by mistake.
func (s *shared) profileHint(l *loaded, name string) string {
	configs, credentials := l.paths()
	for _, file := range credentials {
		if hasSection(file, "profile "+name) {
			return fmt.Sprintf("%s has a section [profile %s]: in a credentials file it is written [%s], without the "+
				"word profile, and is ignored otherwise", file, name, name)
		}
	}
	for _, file := range configs {
		if name != "default" && hasSection(file, name) {
			return fmt.Sprintf("%s has a section [%s]: in a config file it is written [profile %s], and is ignored otherwise", file, name, name)
		}
	}
	if len(s.names) == 0 {
		return "no shared AWS file is read here"
	}
	return fmt.Sprintf("looked in %s; AWS_CONFIG_FILE and AWS_SHARED_CREDENTIALS_FILE name other files",
		strings.Join(s.names, ", "))
}

// hasSection looks for a header of an INI file.
func hasSection(file, section string) bool {
	text, err := readShared(file)
	if err != nil {
		return false // looked for only to give a better hint
	}
	for line := range strings.Lines(text) {
		name, ok := header(line)
		if ok && name == section {
			return true
		}
		word, rest, two := strings.Cut(name, " ")
		if ok && two && word+" "+unquote(rest) == section {
			return true
		}
	}
	return false
}
