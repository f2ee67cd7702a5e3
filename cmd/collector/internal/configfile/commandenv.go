package configfile

import (
	"slices"
	"strings"
	"sync"
)

// referencedVariables are the environment variables that ${env:} references of the configuration name. Most hold
// secrets, so a token_command does not inherit them.
type referencedVariables struct {
	mu    sync.Mutex
	names []string
}

// inherited are variables that programs need and that hold no secret: they are inherited, even if they are referenced.
var inherited = []string{"PATH", "HOME", "USER", "LOGNAME", "SHELL", "TMPDIR", "LANG", "TZ"}

func (r *referencedVariables) add(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.Contains(r.names, name) {
		r.names = append(r.names, name)
	}
}

// CommandEnv is the environment of commands that sign-in runs: the environment of the process without the referenced
// variables.
func (s *Source) CommandEnv() []string {
	s.referenced.mu.Lock()
	defer s.referenced.mu.Unlock()
	return slices.DeleteFunc(s.Environ(), func(variable string) bool {
		name, _, _ := strings.Cut(variable, "=")
		return slices.Contains(s.referenced.names, name) && !slices.Contains(inherited, name)
	})
}
