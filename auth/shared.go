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

// sharedFiles is the AWS config and credentials files, as the SDK's own reader sees them, but with the line of each value
// and without an opinion: what is wrong with one profile is an error for whoever signs in by it, and for nobody else. It
// holds secrets, so it is read, used and let go.
// https://docs.aws.amazon.com/sdkref/latest/guide/file-format.html
type sharedFiles struct {
	searched []string // of all files that were looked for, config files first
	found    []string // of those that are there
	flaws    []Flaw   // files that cannot be read, lines that are neither section nor setting
	profiles map[string]*section
	sessions map[string]*section // [sso-session NAME]
	services map[string]*section // [services NAME]
}

// A section is a profile, from both kinds of files. In a credentials file its values go before those of a config file.
type section struct {
	name                string
	at                  position // of its first header
	config, credentials map[string]value
}

// A value is a setting and where it is.
type value struct {
	position
	text    string            // may be a secret
	nested  map[string]string // indented settings below it
	earlier *position         // where the same file gives the same setting another value before; nil: nowhere
}

type position struct {
	file string
	line int
}

func (p position) String() string { return fmt.Sprintf("%s:%d", p.file, p.line) }

// lookup finds a setting, the credentials file's before the config file's, also where it is empty. An empty one is none.
func (s *section) lookup(key string) (value, bool) {
	if v, ok := s.credentials[key]; ok {
		return v, v.text != ""
	}
	v, ok := s.config[key]
	return v, ok && v.text != ""
}

func (s *section) get(key string) string {
	v, _ := s.lookup(key)
	return v.text
}

func (s *section) has(key string) bool {
	_, ok := s.lookup(key)
	return ok
}

// contains reports whether a setting is there, be it empty.
func (s *section) contains(key string) bool { return s.positionOf(key) != s.at }

// positionOf is where a setting is, be it empty.
func (s *section) positionOf(key string) position {
	for _, in := range []map[string]value{s.credentials, s.config} {
		if v, ok := in[key]; ok {
			return v.position
		}
	}
	return s.at
}

// positionOfFirst is the place of a setting, or of the section where it has none of these.
func (s *section) positionOfFirst(keys ...string) position {
	for _, key := range keys {
		if v, ok := s.lookup(key); ok {
			return v.position
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

// readSharedFiles reads the files. It is never nil, and says by its flaws what it could not read.
func (l *loader) readSharedFiles() *sharedFiles {
	s := &sharedFiles{profiles: map[string]*section{}, sessions: map[string]*section{}, services: map[string]*section{}}
	configs, credentials := l.paths()
	named := [2]bool{l.env.SharedConfigFile != "" || l.opts.ConfigFiles != nil, l.env.SharedCredentialsFile != "" ||
		l.opts.CredentialsFiles != nil}
	for i, files := range [2][]string{configs, credentials} {
		for _, file := range files {
			s.searched = append(s.searched, file)
			s.read(file, i == 1, named[i])
		}
	}
	return s
}

// maxSharedFile is how much of a file is read.
const maxSharedFile = 16 << 20

func (s *sharedFiles) read(file string, credentials, named bool) {
	text, err := readSharedFile(file)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR), errors.Is(err, errDevice):
		return
	case err != nil:
		// At its standard place a file that may not be read is passed over, as the AWS CLI does: a service's HOME is often
		// somebody else's.
		harmful := named || !errors.Is(err, fs.ErrPermission)
		s.flaws = append(s.flaws, Flaw{Where: file, Text: "cannot be read: " + fileErrorCause(err), harmful: harmful})
		s.found = append(s.found, file)
		return
	}
	s.found = append(s.found, file)
	r := fileParser{sharedFiles: s, file: file, credentials: credentials, seen: map[*section]map[string]value{}}
	for i, line := range strings.Split(text, "\n") {
		r.parseLine(i+1, strings.TrimSuffix(line, "\r"))
	}
	r.mergeDefault()
}

func readSharedFile(file string) (string, error) {
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
	b, err := io.ReadAll(io.LimitReader(f, maxSharedFile+1))
	if err == nil && len(b) > maxSharedFile {
		err = fmt.Errorf("it is larger than %d MiB", maxSharedFile>>20)
	}
	return strings.TrimPrefix(string(b), "\ufeff"), err
}

var (
	errNotRegular = errors.New("it is not a regular file")
	errDevice     = errors.New("it is a device") // /dev/null is how people say that there is no file
)

// fileErrorCause is a file's error without the file's name.
func fileErrorCause(err error) string {
	if path := new(fs.PathError); errors.As(err, &path) {
		return path.Err.Error()
	}
	return err.Error()
}

// A reader goes through one file.
type fileParser struct {
	*sharedFiles
	file        string
	credentials bool

	current        *section // nil: before the first section, or in one that is ignored
	key            string   // of the setting that indented lines belong to
	seen           map[*section]map[string]value
	plainDefault   *section // [default] of this file, where it has [profile default] as well
	profileDefault *section
}

func (r *fileParser) parseLine(n int, parseLine string) {
	trimmed := strings.TrimSpace(parseLine)
	if trimmed == "" || trimmed[0] == '#' || trimmed[0] == ';' {
		return
	}
	if name, ok := parseHeader(parseLine); ok {
		r.startSection(n, name)
		return
	}
	at := position{r.file, n}
	if parseLine[0] == '[' { // what follows belongs to a section that has no name, and surely not to the one before
		r.flaws = append(r.flaws, Flaw{Where: at.String(), Text: "is no whole header of a section: its settings are ignored",
			Hint: "write it as [name]"})
		r.current, r.key = nil, ""
		return
	}
	indented := parseLine[0] == ' ' || parseLine[0] == '\t'
	if !indented {
		parseLine = strings.TrimSpace(cutComment(parseLine))
	}
	key, text, ok := splitKeyValue(parseLine)
	switch {
	case r.current == nil:
	case indented && r.key != "" && r.seen[r.current][r.key].text == "" && ok:
		v := r.seen[r.current][r.key]
		if v.nested == nil {
			v.nested = map[string]string{}
		}
		v.nested[key] = unquote(text)
		r.put(r.key, v)
	case indented && !ok && r.key != "":
		v := r.seen[r.current][r.key]
		if v.text != "" {
			v.text += "\n" + trimmed
			r.put(r.key, v)
		}
	case !ok:
		r.flaws = append(r.flaws, Flaw{Where: at.String(), Text: "is neither a section nor a setting: it is ignored",
			profile: r.current.name})
	default:
		if indented {
			text = strings.TrimSpace(cutComment(text))
		}
		if key != "credential_process" { // whose quotes are the command's
			text = unquote(text)
		}
		v := value{position: at, text: text}
		if old, ok := r.seen[r.current][key]; ok && old.text != text {
			v.earlier = &old.position
		}
		r.key = key
		r.put(key, v)
	}
}

func (r *fileParser) put(key string, v value) {
	r.seen[r.current][key] = v
	if r.credentials {
		r.current.credentials[key] = v
	} else {
		r.current.config[key] = v
	}
}

// startSection begins a section.
func (r *fileParser) startSection(n int, name string) {
	r.current, r.key = nil, ""
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
		s = &section{name: name, at: position{r.file, n}, config: map[string]value{}, credentials: map[string]value{}}
		in[name] = s
	}
	if name == "default" && !r.credentials && in["default"] == s && word != "sso-session" && word != "services" {
		// Both forms are the same profile; where a file has both, the one with the word counts. They are told apart until
		// the file is through.
		half := &r.plainDefault
		if word == "profile" {
			half = &r.profileDefault
		}
		if *half == nil {
			*half = &section{name: name, at: position{r.file, n}, config: map[string]value{}, credentials: map[string]value{}}
		}
		s = *half
	}
	if r.seen[s] == nil {
		r.seen[s] = map[string]value{}
	}
	r.current = s
}

// mergeDefault takes up what a config file says of the default profile.
func (r *fileParser) mergeDefault() {
	half := r.plainDefault
	if r.profileDefault != nil {
		half = r.profileDefault
	}
	if half == nil {
		return
	}
	for key, v := range half.config {
		r.profiles["default"].config[key] = v
	}
}

// parseHeader is the name in a line "[name] # comment", its inner spaces as one. A name may hold the mark of a comment.
func parseHeader(line string) (string, bool) {
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

// splitKeyValue splits "key = value" or "key: value".
func splitKeyValue(line string) (key, text string, ok bool) {
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
func (l *loader) paths() (configs, credentials []string) {
	configs, credentials = l.opts.ConfigFiles, l.opts.CredentialsFiles
	if l.opts.Isolated {
		return slices.Clone(configs), slices.Clone(credentials)
	}
	if configs == nil {
		configs = []string{expandPath(l.env.SharedConfigFile, awsconfig.DefaultSharedConfigFilename())}
	}
	if credentials == nil {
		credentials = []string{expandPath(l.env.SharedCredentialsFile, awsconfig.DefaultSharedCredentialsFilename())}
	}
	return configs, credentials
}

// expandPath is a path from the environment, where ~ is the home folder as for the AWS CLI, else the standard one.
func expandPath(path, standard string) string {
	if path == "" {
		return standard
	}
	if rest, ok := strings.CutPrefix(path, "~"+string(filepath.Separator)); ok {
		return filepath.Join(filepath.Dir(filepath.Dir(standard)), rest)
	}
	return path
}

// profileHint looks for the profile where people put it by mistake.
func (s *sharedFiles) profileHint(l *loader, name string) string {
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
	if len(s.searched) == 0 {
		return "no shared AWS file is read here"
	}
	return fmt.Sprintf("looked in %s; AWS_CONFIG_FILE and AWS_SHARED_CREDENTIALS_FILE name other files",
		strings.Join(s.searched, ", "))
}

// hasSection looks for a header of an INI file.
func hasSection(file, section string) bool {
	text, err := readSharedFile(file)
	if err != nil {
		return false // looked for only to give a better hint
	}
	for line := range strings.Lines(text) {
		name, ok := parseHeader(line)
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
