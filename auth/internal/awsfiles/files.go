package awsfiles

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	awsconfig "github.com/aws/aws-sdk-go-v2/config"

	"github.com/aws-collector/collector/auth/internal/fault"
)

// Files is the content of the AWS config and credentials files. It is parsed as the SDK does, but with the line
// of each value, and leniently: an error in a profile affects only the accounts that sign in with it. It holds secrets,
// so it is not cached.
// https://docs.aws.amazon.com/sdkref/latest/guide/file-format.html
type Files struct {
	source   *Source
	searched []string  // all files that were searched, config files first
	found    []string  // those that exist
	problems []Problem // unreadable files, and lines that are neither section nor setting
	profiles map[string]*Section
	sessions map[string]*Section // [sso-session NAME]
	services map[string]*Section // [services NAME]
}

// A Section is a profile, of both kinds of files. Values of a credentials file take precedence over those of a config
// file.
type Section struct {
	name                string
	at                  position // of its first header
	config, credentials map[string]value
}

// A value is a setting and its position.
type value struct {
	position
	text    string            // may be a secret
	nested  map[string]string // indented settings below it
	earlier *position         // of another value for the setting in the same file; nil: there is none
}

type position struct {
	file string
	line int
}

func (p position) String() string { return fmt.Sprintf("%s:%d", p.file, p.line) }

// lookup finds a setting; a credentials file takes precedence, even with an empty value. An empty value counts as not
// set.
func (s *Section) lookup(key string) (value, bool) {
	if v, ok := s.credentials[key]; ok {
		return v, v.text != ""
	}
	v, ok := s.config[key]
	return v, ok && v.text != ""
}

func (s *Section) Get(key string) string {
	v, _ := s.lookup(key)
	return v.text
}

func (s *Section) Has(key string) bool {
	_, ok := s.lookup(key)
	return ok
}

// contains reports whether the setting is written, even with an empty value.
func (s *Section) contains(key string) bool { return s.positionOf(key) != s.at }

// positionOf is the position of a setting, even of an empty one.
func (s *Section) positionOf(key string) position {
	for _, in := range []map[string]value{s.credentials, s.config} {
		if v, ok := in[key]; ok {
			return v.position
		}
	}
	return s.at
}

// positionOfFirst is the position of the first of the settings that is set, else of the section.
func (s *Section) positionOfFirst(keys ...string) position {
	for _, key := range keys {
		if v, ok := s.lookup(key); ok {
			return v.position
		}
	}
	return s.at
}

// A Problem is an unusable setting or line in the environment or in a shared AWS file. It never quotes the
// value.
type Problem struct {
	Where string // "AWS_MAX_ATTEMPTS", "~/.aws/config:3"; "" if the text names it
	Text  string
	Hint  string
	Used  bool // an account signs in with it, and fails; others are not affected

	profile     string // "": of a file or the environment
	failsSignIn bool   // a sign-in with it fails
}

func (f Problem) Error() string {
	if f.Where == "" {
		return f.Text
	}
	return f.Where + ": " + f.Text
}

// Read reads the files. It never returns nil; its problems say what could not be read.
func (l *Source) Read() *Files {
	s := &Files{
		source: l, profiles: map[string]*Section{}, sessions: map[string]*Section{}, services: map[string]*Section{},
	}
	configs, credentials := l.paths()
	named := [2]bool{
		l.Env.SharedConfigFile != "" || l.ConfigFiles != nil,
		l.Env.SharedCredentialsFile != "" || l.CredentialsFiles != nil,
	}
	for i, files := range [2][]string{configs, credentials} {
		for _, file := range files {
			s.searched = append(s.searched, file)
			s.read(file, i == 1, named[i])
		}
	}
	return s
}

// maxSharedFile is the largest size that is read.
const maxSharedFile = 16 << 20

func (s *Files) read(file string, credentials, named bool) {
	text, err := readSharedFile(file)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR), errors.Is(err, errDevice):
		return
	case err != nil:
		// A file at the standard path without read permission is skipped, as the AWS CLI does: the HOME of a service often
		// belongs to another user.
		problem := Problem{
			Where:       file,
			Text:        unreadable + fault.FileCause(err),
			failsSignIn: named || !errors.Is(err, fs.ErrPermission),
		}
		if errors.Is(err, errUTF16) {
			problem.Hint = "Save the file as UTF-8: in PowerShell, > and Out-File write UTF-16 unless -Encoding utf8 is given."
		}
		s.problems = append(s.problems, problem)
		s.found = append(s.found, file)
		return
	}
	s.found = append(s.found, file)
	r := fileParser{Files: s, file: file, credentials: credentials, seen: map[*Section]map[string]value{}}
	for i, line := range strings.Split(text, "\n") {
		r.parseLine(i+1, strings.TrimSuffix(line, "\r"))
	}
	r.mergeDefault()
}

func readSharedFile(file string) (string, error) {
	info, err := os.Stat(file) // before Open, which would wait for the writer of a pipe
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
	switch {
	case err != nil:
	case len(b) > maxSharedFile:
		err = fmt.Errorf("larger than %d MiB", maxSharedFile>>20)
	case len(b) > 1 && (b[0] == 0xff && b[1] == 0xfe || b[0] == 0xfe && b[1] == 0xff || b[0] == 0 || b[1] == 0):
		err = errUTF16
	}
	return strings.TrimPrefix(string(b), "\ufeff"), err
}

var (
	errNotRegular = errors.New("not a regular file")
	errUTF16      = errors.New("it is encoded as UTF-16")
	errDevice     = errors.New("a device") // people use /dev/null for "no file"
)

// A fileParser parses one file.
type fileParser struct {
	*Files
	file        string
	credentials bool

	current        *Section // nil: before the first section, or in an ignored one
	key            string   // the setting that indented lines belong to
	seen           map[*Section]map[string]value
	plainDefault   *Section // [default] of a config file
	profileDefault *Section // [profile default] of it
}

func (r *fileParser) parseLine(n int, line string) {
	trimmed := strings.TrimSpace(line)
	if trimmed == "" || trimmed[0] == '#' || trimmed[0] == ';' {
		return
	}
	if name, ok := parseHeader(line); ok {
		r.startSection(n, name)
		return
	}
	at := position{r.file, n}
	if line[0] == '[' { // the next lines belong to an unnamed section, not to the previous one
		r.problems = append(r.problems, Problem{
			Where: at.String(),
			Text:  "is not a complete section header: its settings are ignored",
			Hint:  "Write it as [name].",
		})
		r.current, r.key = nil, ""
		return
	}
	indented := line[0] == ' ' || line[0] == '\t'
	key, text, ok := splitKeyValue(line)
	isCommand := ok && key == "credential_process" // its quotes, # and ; belong to the command, as in boto3
	if !indented && !isCommand {
		key, text, ok = splitKeyValue(strings.TrimSpace(cutComment(line)))
	}
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
		r.problems = append(r.problems, Problem{
			Where:   at.String(),
			Text:    "is neither a section nor a setting: it is ignored",
			profile: r.current.name,
		})
	default:
		if !isCommand {
			text = unquote(strings.TrimSpace(cutComment(text)))
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

// startSection begins a section at line n.
func (r *fileParser) startSection(n int, name string) {
	r.current, r.key = nil, ""
	in := r.profiles
	word, rest := splitHeader(name)
	switch {
	case r.credentials && word == "profile" && rest != "":
		return // not valid in a credentials file; profileHint explains it
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
		s = &Section{name: name, at: position{r.file, n}, config: map[string]value{}, credentials: map[string]value{}}
		in[name] = s
	}
	if name == "default" && !r.credentials && in["default"] == s && word != "sso-session" && word != "services" {
		// Both forms name the same profile; if a file has both, the one with the word takes precedence. They are kept apart
		// until the end of the file.
		form := &r.plainDefault
		if word == "profile" {
			form = &r.profileDefault
		}
		if *form == nil {
			*form = &Section{name: name, at: position{r.file, n}, config: map[string]value{}, credentials: map[string]value{}}
		}
		s = *form
	}
	if r.seen[s] == nil {
		r.seen[s] = map[string]value{}
	}
	r.current = s
}

// mergeDefault adds a config file's default profile to the profiles.
func (r *fileParser) mergeDefault() {
	form := r.plainDefault
	if r.profileDefault != nil {
		form = r.profileDefault
	}
	if form == nil {
		return
	}
	for key, v := range form.config {
		r.profiles["default"].config[key] = v
	}
}

// parseHeader returns the name in a line "[name] # comment", with single spaces. A name may contain # and ;.
func parseHeader(line string) (string, bool) {
	line = strings.TrimSpace(line)
	if !strings.HasPrefix(line, "[") {
		return "", false
	}
	end := strings.LastIndex(line, "]")
	if i := strings.Index(line, "]"); i >= 0 && i < end {
		if rest := strings.TrimSpace(line[i+1:]); rest[0] == '#' || rest[0] == ';' {
			end = i // the last bracket is part of the comment
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

// splitHeader splits a section's name into the word that says what it is, and the rest: `profile "my name"`.
func splitHeader(name string) (word, rest string) {
	word, rest, _ = strings.Cut(name, " ")
	rest = strings.TrimSpace(rest)
	if words, ok := shellWords(rest); ok && len(words) == 1 {
		return word, words[0]
	}
	return word, rest // boto3 ignores the section; the SDK for Go takes the rest as it stands
}

// shellWords splits a text as a shell does, which is how boto3 reads quotes in a section's name. ok is false if a quote
// has no end.
func shellWords(text string) (words []string, ok bool) {
	var word strings.Builder
	var quote rune
	inside, escaped := false, false
	for _, r := range text {
		switch {
		case escaped:
			if quote == '"' && r != '"' && r != '\\' {
				word.WriteByte('\\')
			}
			word.WriteRune(r)
			escaped = false
		case r == '\\' && quote != '\'':
			inside, escaped = true, true
		case r == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(r)
		case r == '"' || r == '\'':
			inside, quote = true, r
		case r == ' ' || r == '\t':
			if inside {
				words = append(words, word.String())
				word.Reset()
			}
			inside = false
		default:
			inside = true
			word.WriteRune(r)
		}
	}
	if inside {
		words = append(words, word.String())
	}
	return words, quote == 0 && !escaped
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
	for _, start := range []string{" #", " ;", "\t#", "\t;"} {
		s, _, _ = strings.Cut(s, start)
	}
	return s
}

// unquote removes quotes around the whole text.
func unquote(s string) string {
	if len(s) >= 2 && (s[0] == '"' || s[0] == '\'') && s[len(s)-1] == s[0] {
		return s[1 : len(s)-1]
	}
	return s
}

// paths returns the shared files to read.
func (l *Source) paths() (configs, credentials []string) {
	configs, credentials = l.ConfigFiles, l.CredentialsFiles
	if l.Isolated {
		return slices.Clone(configs), slices.Clone(credentials)
	}
	if configs == nil {
		configs = []string{l.expandPath(cmp.Or(l.Env.SharedConfigFile, awsconfig.DefaultSharedConfigFilename()))}
	}
	if credentials == nil {
		credentials = []string{
			l.expandPath(cmp.Or(l.Env.SharedCredentialsFile, awsconfig.DefaultSharedCredentialsFilename())),
		}
	}
	return configs, credentials
}

// expandPath expands variables and ~ in a path from the environment, as the AWS CLI does.
func (l *Source) expandPath(path string) string {
	path = os.Expand(path, func(name string) string {
		if v := l.getenv(name); v != "" {
			return v
		}
		return "$" + name
	})
	home := filepath.Dir(filepath.Dir(awsconfig.DefaultSharedConfigFilename())) // of ~/.aws/config
	if rest, ok := strings.CutPrefix(path, "~"+string(filepath.Separator)); ok {
		return filepath.Join(home, rest)
	}
	return path
}

// profileHint looks for the profile in the places where people write it by mistake.
func (s *Files) profileHint(name string) string {
	configs, credentials := s.source.paths()
	for _, file := range credentials {
		if hasSection(file, "profile "+name) {
			return fmt.Sprintf("In %s, write the section as [%s], without the word profile: "+
				"[profile %s] is ignored in a credentials file.", file, name, name)
		}
	}
	for _, file := range configs {
		if name != "default" && hasSection(file, name) {
			return fmt.Sprintf("In %s, write the section as [profile %s]: [%s] is ignored in a config file.",
				file, name, name)
		}
	}
	if len(s.searched) == 0 {
		return "Use credentials of another kind: no shared AWS file is read in this mode."
	}
	return fmt.Sprintf("Check the name, or set AWS_CONFIG_FILE or AWS_SHARED_CREDENTIALS_FILE: "+
		"the profile was searched in %s.", strings.Join(s.searched, ", "))
}

// hasSection reports whether an INI file has a section.
func hasSection(file, section string) bool {
	text, err := readSharedFile(file)
	if err != nil {
		return false // the result only improves a hint
	}
	for line := range strings.Lines(text) {
		name, ok := parseHeader(line)
		if ok && name == section {
			return true
		}
		if word, rest := splitHeader(name); ok && rest != "" && word+" "+rest == section {
			return true
		}
	}
	return false
}

// unreadable begins the text of a problem with a whole file.
const unreadable = "cannot be read: "

// Unreadable returns an error if a file that exists could not be read: then profiles may be missing.
func (s *Files) Unreadable() error {
	for _, p := range s.problems {
		if strings.HasPrefix(p.Text, unreadable) {
			return p
		}
	}
	return nil
}

// ProfileNames returns the names of all profiles, sorted.
func (s *Files) ProfileNames() []string { return slices.Sorted(maps.Keys(s.profiles)) }
