package yamldoc

import (
	"errors"
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
)

// A segment is a part of a scalar: text, or a reference.
type segment struct {
	scheme string // env or file; "" for text
	text   string // the text, the variable's name, the path
}

// String returns the segment as it is written in the file.
func (p segment) String() string {
	if p.scheme == "" {
		return p.text
	}
	return "${" + p.scheme + ":" + p.text + "}"
}

// MaxReferenced is the maximum size of a referenced file. It is far above that of any secret.
const MaxReferenced = 64 << 10

var envName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// parseReferences splits a scalar: ${env:NAME} and ${file:/path} are references, $$ is a dollar sign, and any other $
// without a brace after it is literal. Its error does not repeat s, which may be a secret.
func parseReferences(s string) ([]segment, error) {
	if !strings.Contains(s, "$") {
		return []segment{{text: s}}, nil
	}
	var segments []segment
	var text strings.Builder
	for {
		before, after, found := strings.Cut(s, "$")
		text.WriteString(before)
		if !found {
			break
		}
		switch {
		case strings.HasPrefix(after, "$"):
			text.WriteByte('$')
			s = after[1:]
		case strings.HasPrefix(after, "{"):
			inside, rest, closed := strings.Cut(after[1:], "}")
			if !closed {
				return nil, Problem{
					Text:   "contains ${ without a closing }",
					Remedy: "write ${env:NAME} or ${file:/path}; write a literal ${ as $${",
				}
			}
			ref, err := parseReference(inside)
			if err != nil {
				return nil, err
			}
			if text.Len() > 0 {
				segments = append(segments, segment{text: text.String()})
				text.Reset()
			}
			segments = append(segments, ref)
			s = rest
		default:
			text.WriteByte('$')
			s = after
		}
	}
	if text.Len() > 0 || len(segments) == 0 {
		segments = append(segments, segment{text: text.String()})
	}
	return segments, nil
}

func parseReference(inside string) (segment, error) {
	from, what, _ := strings.Cut(inside, ":")
	switch from {
	case "env":
		if !envName.MatchString(what) {
			return segment{}, Problem{Text: "contains a reference without a variable's name", Remedy: "write ${env:NAME}"}
		}
	case "file":
		if !filepath.IsAbs(what) || strings.ContainsAny(what, "\x00\n") {
			return segment{}, Problem{
				Text:   "contains a reference without an absolute path",
				Remedy: "write ${file:/path}: a service has another working directory than a shell",
			}
		}
	default:
		return segment{}, Problem{
			Text:   "contains a ${…} that is not a reference",
			Remedy: "write ${env:NAME} or ${file:/path}; write a literal ${ as $${",
		}
	}
	return segment{from, what}, nil
}

// hasReference reports whether one of the segments is a reference.
func hasReference(segments []segment) bool {
	for _, p := range segments {
		if p.scheme != "" {
			return true
		}
	}
	return false
}

// A Fetcher reads the values of references, each once: a file that is rewritten in the meantime gives one value, not
// two.
type Fetcher struct {
	include func(path string) bool // nil: everywhere; references at other paths stay unresolved
	env     func(string) (string, bool)
	read    func(string) ([]byte, error)
	cache   map[segment]fetched
}

// NewFetcher returns a fetcher. include limits it to some paths: references at others stay unresolved; nil: to none.
func NewFetcher(
	env func(string) (string, bool), read func(string) ([]byte, error), include func(path string) bool,
) *Fetcher {
	return &Fetcher{include: include, env: env, read: read, cache: map[segment]fetched{}}
}

type fetched struct {
	value string
	err   error
}

func (f *Fetcher) fetch(p segment) (string, error) {
	if p.scheme == "" {
		return p.text, nil
	}
	v, ok := f.cache[p]
	if !ok {
		v.value, v.err = f.load(p)
		f.cache[p] = v
	}
	return v.value, v.err
}

func (f *Fetcher) load(p segment) (string, error) {
	if p.scheme == "env" {
		v, ok := f.env(p.text)
		if !ok {
			return "", Problem{Text: p.String() + ": the variable is not set, or is empty"}
		}
		return v, nil
	}
	b, err := f.read(p.text)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", Problem{Text: p.String() + ": there is no such file"}
	case errors.Is(err, fs.ErrPermission):
		return "", Problem{
			Text:   p.String() + ": the file cannot be read",
			Remedy: "let the user that collector runs as read it",
		}
	case err != nil:
		var pe *fs.PathError
		if errors.As(err, &pe) {
			err = pe.Err
		}
		return "", Problem{Text: p.String() + ": " + err.Error()}
	case len(b) > MaxReferenced:
		return "", Problem{Text: p.String() + ": the file is longer than 64 KiB", Remedy: "check that it is the right file"}
	}
	return strings.TrimRight(string(b), "\r\n"), nil
}
