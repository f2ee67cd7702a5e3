package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/internal/userfile"
	"github.com/aws-collector/collector/outputs"
)

// exposureWarnings is a warning for each file with a secret that more people can read than should: the configuration itself, and all
// that it leads to. Files that are not there are passed over: who needs them says so.
func (c *cli) exposureWarnings(ctx context.Context, f *config.File) []string {
	var all []string
	if mode, ok := readableByOthers(c.configPath); ok && f.SecretInline {
		all = append(all, fmt.Sprintf("%s holds a secret and is readable by others (%s); chmod o-rwx %[1]s, or write the secret as ${env:NAME} or ${file:/path}", c.configPath, mode))
	}
	seen := map[string]bool{}
	look := func(path, what string) {
		if mode, ok := readableByOthers(path); ok && !seen[path] && !isMountedSecret(path) {
			seen[path] = true
			all = append(all, fmt.Sprintf("%s, %s, holds a secret and is readable by others (%s); chmod o-rwx %[1]s", path, what, mode))
		}
	}
	for _, path := range f.SecretFiles {
		look(path, "which "+c.configPath+" names")
	}
	for i, o := range f.Outputs {
		look(outputs.KeyFile(o.Options), fmt.Sprintf("the client's key of outputs[%d]", i))
	}
	if path := c.getenv("AWS_WEB_IDENTITY_TOKEN_FILE"); path != "" {
		look(path, "which AWS_WEB_IDENTITY_TOKEN_FILE names")
	}
	c.checkProfileFiles(ctx, configuredProfiles(f), look)
	return append(append(all, exposedSessions(f.DataDir)...), writableByOthers(f.DataDir)...)
}

// configuredProfiles is every profile that the configuration names, once each, in order.
func configuredProfiles(f *config.File) []string {
	var all []string
	for _, b := range f.Accounts {
		all = append(all, b.Account().Profile)
	}
	for _, o := range f.Organizations {
		all = append(all, o.Via.Profile)
	}
	for _, o := range f.Outputs {
		if s3, ok := o.Options.(*outputs.S3); ok {
			all = append(all, s3.Profile)
		}
	}
	slices.Sort(all)
	return slices.DeleteFunc(slices.Compact(all), func(name string) bool { return name == "" })
}

// checkProfileFiles looks at what profiles of the shared AWS files lead to: the files themselves where they hold a key, a web identity's
// token, and the tokens of IAM Identity Center. Each file is read once, however many profiles are named.
func (c *cli) checkProfileFiles(ctx context.Context, profiles []string, look func(path, what string)) {
	if len(profiles) == 0 {
		return
	}
	dir := filepath.Join(c.getenv("HOME"), ".aws")
	tokens := true // of IAM Identity Center are still to be looked at
	for _, path := range []string{
		envOr(c.getenv, "AWS_SHARED_CREDENTIALS_FILE", filepath.Join(dir, "credentials")),
		envOr(c.getenv, "AWS_CONFIG_FILE", filepath.Join(dir, "config")),
	} {
		b, err := userfile.Read(ctx, path, config.MaxFile)
		if err != nil {
			continue
		}
		section, named := "", false
		for line := range strings.Lines(string(b)) {
			line = strings.TrimSpace(line)
			if strings.HasPrefix(line, "[") {
				section = strings.TrimSpace(strings.TrimPrefix(strings.Trim(line, "[] \t"), "profile "))
				_, named = slices.BinarySearch(profiles, section)
			}
			key, value, _ := strings.Cut(line, "=")
			switch key = strings.TrimSpace(key); {
			case key == "aws_secret_access_key":
				look(path, "where profile "+profiles[0]+" is looked for")
			case named && key == "web_identity_token_file":
				look(strings.TrimSpace(value), "the web identity of profile "+section)
			case named && tokens && strings.HasPrefix(key, "sso_"):
				tokens = false
				for _, token := range dirEntries(filepath.Join(dir, "sso", "cache")) {
					if strings.HasSuffix(token, ".json") {
						look(token, "where profile "+section+" finds its token")
					}
				}
			}
		}
	}
}

// dirEntries is the paths of what stands in a directory. A pattern would not do: the directory's name may look like one.
func dirEntries(dir string) []string {
	entries, _ := os.ReadDir(dir) // one that is not there has none
	paths := make([]string, len(entries))
	for i, e := range entries {
		paths[i] = filepath.Join(dir, e.Name())
	}
	return paths
}

// exposedSessions looks at the kept MFA sessions, which are ours alone: nobody else, the group included, has business there. Signing in
// refuses them.
func exposedSessions(dataDir string) []string {
	var all []string
	dir := filepath.Join(dataDir, "sessions")
	for _, path := range append([]string{dir}, dirEntries(dir)...) {
		info, err := os.Lstat(path)
		if err == nil && runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
			all = append(all, fmt.Sprintf("%s holds sessions and is open to others (%s); chmod go-rwx %[1]s, and think about who may have read it", path, info.Mode().Perm()))
		}
	}
	return all
}

// readableByOthers reports whether a file may be read by who is neither its owner nor in its group, and its mode.
func readableByOthers(path string) (fs.FileMode, bool) {
	info, err := os.Stat(path)
	if err != nil || runtime.GOOS == "windows" || info.Mode().Perm()&0o007 == 0 { // Windows' modes say nothing
		return 0, false
	}
	return info.Mode().Perm(), true
}

// isMountedSecret reports whether a container's runtime put the secret there: Kubernetes through its ..data link, Docker and Podman
// in /run/secrets. They make it readable by all of the container, where there are no others.
func isMountedSecret(path string) bool {
	for _, dir := range []string{"/run/secrets/", "/var/run/secrets/"} {
		if strings.HasPrefix(path, dir) {
			return true
		}
	}
	to, err := os.Readlink(path)
	return err == nil && strings.HasPrefix(to, "..data/")
}
