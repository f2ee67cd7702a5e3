package configfile

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// A token_command inherits the environment without the variables that the configuration references.
func TestCommandEnv(t *testing.T) {
	t.Setenv("TOKEN_A", "secret")
	t.Setenv("TOKEN_B", "other")
	s := &Source{Getenv: func(string) string { return "x" }, Environ: os.Environ}
	has := func(env []string, prefix string) bool {
		return slices.ContainsFunc(env, func(v string) bool { return strings.HasPrefix(v, prefix) })
	}
	if env := s.CommandEnv(); !has(env, "TOKEN_A=") {
		t.Errorf("without a configuration, inherits %q", env)
	}
	for _, name := range []string{"TOKEN_A", "TOKEN_A", "PATH"} {
		s.lookupEnv(name)
	}
	if env := s.CommandEnv(); has(env, "TOKEN_A=") || !has(env, "TOKEN_B=") || !has(env, "PATH=") {
		t.Errorf("inherits %q", env)
	}
}
