package config

import (
	"errors"
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
)

// A part of a scalar: text, or a reference to be replaced.
type segment struct {
	scheme string // "" for text; env or file
	text   string // the text, the variable's name, the path
}

// String is the part as it is written.
func (p segment) String() string {
	if p.scheme == "" {
		return p.text
	}
	return "${" + p.scheme + ":" + p.text + "}"
}

// MaxReferenced is far above any secret; a file over it is not the one that was meant.
const MaxReferenced = 64 << 10

var envName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// parseReferences takes a scalar apart: ${env:NAME} and ${file:/path} are references, $$ is a dollar sign, and any other $ that no brace
// follows is itself. Its error does not repeat s, which may be a secret.
func parseReferences(s string) ([]segment, error) {
	if !strings.Contains(s, "$") {
		return []segment{{text: s}}, nil
	}
	var parts []segment
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
				return nil, Problem{Text: "holds a ${ that no } closes", Remedy: "write ${env:NAME} or ${file:/path}; a ${ that is meant literally is $${"}
			}
			ref, err := parseReference(inside)
			if err != nil {
				return nil, err
			}
			if text.Len() > 0 {
				parts = append(parts, segment{text: text.String()})
				text.Reset()
			}
			parts = append(parts, ref)
			s = rest
		default:
			text.WriteByte('$')
			s = after
		}
	}
	if text.Len() > 0 || len(parts) == 0 {
		parts = append(parts, segment{text: text.String()})
	}
	return parts, nil
}

func parseReference(inside string) (segment, error) {
	from, what, _ := strings.Cut(inside, ":")
	switch from {
	case "env":
		if !envName.MatchString(what) {
			return segment{}, Problem{Text: "holds a reference without the name of a variable", Remedy: "write ${env:NAME}"}
		}
	case "file":
		if !filepath.IsAbs(what) || strings.ContainsAny(what, "\x00\n") {
			return segment{}, Problem{Text: "holds a reference without an absolute path", Remedy: "write ${file:/path}: a service's working directory is not a shell's"}
		}
	default:
		return segment{}, Problem{Text: "holds a ${…} that is no reference", Remedy: "write ${env:NAME} or ${file:/path}; a ${ that is meant literally is $${"}
	}
	return segment{from, what}, nil
}

// hasReference reports whether the parts hold a reference.
func hasReference(parts []segment) bool {
	for _, p := range parts {
		if p.scheme != "" {
			return true
		}
	}
	return false
}

// A fetcher gets what references lead to, each once: a file that is rewritten meanwhile gives one value, not two.
type fetcher struct {
	include func(path string) bool // nil: everywhere; else references elsewhere stay open
	env     func(string) (string, bool)
	read    func(string) ([]byte, error)
	cache   map[segment]fetched
}

type fetched struct {
	value string
	err   error
}

func (f *fetcher) fetch(p segment) (string, error) {
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

func (f *fetcher) load(p segment) (string, error) {
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
		return "", Problem{Text: p.String() + ": the file may not be read", Remedy: "give it to the user that collector runs as"}
	case err != nil:
		var pe *fs.PathError
		if errors.As(err, &pe) {
			err = pe.Err
		}
		return "", Problem{Text: p.String() + ": " + err.Error()}
	case len(b) > MaxReferenced:
		return "", Problem{Text: p.String() + ": the file is longer than 64 KiB", Remedy: "is it the right one?"}
	}
	return strings.TrimRight(string(b), "\r\n"), nil
}
