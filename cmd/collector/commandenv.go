package main

import (
	"os"
	"slices"
	"strings"
	"sync"
)

// referencedVariables are the environment variables that ${env:} references of the configuration name. Most hold
// secrets, so a token_command does not inherit them. Its methods work on nil, which has none.
type referencedVariables struct {
	mu    sync.Mutex
	names []string
}

// inherited are variables that programs need and that hold no secret: they are inherited, even if they are referenced.
var inherited = []string{"PATH", "HOME", "USER", "LOGNAME", "SHELL", "TMPDIR", "LANG", "TZ"}

func (r *referencedVariables) add(name string) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.Contains(r.names, name) {
		r.names = append(r.names, name)
	}
}

// others is the environment of the process without the referenced variables.
func (r *referencedVariables) others() []string {
	env := os.Environ()
	if r == nil {
		return env
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.DeleteFunc(env, func(variable string) bool {
		name, _, _ := strings.Cut(variable, "=")
		return slices.Contains(r.names, name) && !slices.Contains(inherited, name)
	})
}
