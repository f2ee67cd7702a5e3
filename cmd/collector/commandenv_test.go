package main

import (
	"slices"
	"testing"
)

// A token_command inherits the environment without the variables that the configuration references.
func TestReferencedVariables(t *testing.T) {
	t.Setenv("TOKEN_A", "secret")
	t.Setenv("TOKEN_B", "other")
	c := &cli{getenv: func(string) string { return "x" }, referenced: new(referencedVariables)}
	for _, name := range []string{"TOKEN_A", "TOKEN_A", "PATH"} {
		c.lookupEnv(name)
	}
	has := func(env []string, prefix string) bool {
		return slices.ContainsFunc(env, func(v string) bool { return len(v) >= len(prefix) && v[:len(prefix)] == prefix })
	}
	env := c.referenced.others()
	if has(env, "TOKEN_A=") || !has(env, "TOKEN_B=") || !has(env, "PATH=") {
		t.Errorf("inherits %q", env)
	}
	if env = (*referencedVariables)(nil).others(); !has(env, "TOKEN_A=") {
		t.Errorf("without a configuration, inherits %q", env)
	}
}
