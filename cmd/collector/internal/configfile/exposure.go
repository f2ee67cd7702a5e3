package configfile

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/aws-collector/collector/auth"
	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/internal/datadir"
	"github.com/aws-collector/collector/outputs"
	"github.com/aws-collector/collector/outputs/s3"
)

// exposureWarnings returns a warning for each secret that too many users can read: in the configuration, in the files
// that it names, and in the files that these name. Missing files are ignored here; using them fails with an error.
func (s *Source) exposureWarnings(f *config.File) []string {
	var all []string
	if mode, ok := readableByOthers(s.Path); ok && f.SecretInline {
		all = append(all, fmt.Sprintf("%s holds a secret and is readable by others (%s); "+
			"run chmod o-rwx %[1]s, or write the secret as ${env:NAME} or ${file:/path}", s.Path, mode))
	}
	seen := map[string]bool{}
	look := func(path, what string) {
		if mode, ok := readableByOthers(path); ok && !seen[path] && !isMountedSecret(path) {
			seen[path] = true
			all = append(all, fmt.Sprintf("%s, %s, holds a secret and is readable by others (%s); run chmod o-rwx %[1]s",
				path, what, mode))
		}
	}
	for _, path := range f.SecretFiles {
		look(path, "named by "+s.Path)
	}
	for i, o := range f.Outputs {
		look(outputs.KeyFile(o.Options), fmt.Sprintf("the client key of outputs[%d]", i))
	}
	if path := s.Getenv("AWS_WEB_IDENTITY_TOKEN_FILE"); path != "" {
		look(path, "named by AWS_WEB_IDENTITY_TOKEN_FILE")
	}
	for _, file := range auth.SecretFiles(auth.LoadOptions{Getenv: s.Getenv}, configuredProfiles(f)) {
		look(file.Path, file.What)
	}
	return append(append(all, exposedSessions(f.DataDir)...), datadir.WritableByOthers(f.DataDir)...)
}

// configuredProfiles returns the profiles that the configuration names, sorted, without duplicates.
func configuredProfiles(f *config.File) []string {
	var all []string
	for _, b := range f.Accounts {
		all = append(all, b.Profile)
	}
	for _, o := range f.Organizations {
		all = append(all, o.Via.Profile)
	}
	for _, o := range f.Outputs {
		if bucket, ok := o.Options.(*s3.Options); ok {
			all = append(all, bucket.Profile)
		}
	}
	slices.Sort(all)
	return slices.DeleteFunc(slices.Compact(all), func(name string) bool { return name == "" })
}

// exposedSessions returns a warning for each stored MFA session that another user or the group can access. Sign-in
// refuses such sessions.
func exposedSessions(dataDir string) []string {
	var all []string
	dir := filepath.Join(dataDir, "sessions")
	paths := []string{dir}
	entries, _ := os.ReadDir(dir) // not by filepath.Glob, which misreads names that look like a pattern
	for _, e := range entries {
		paths = append(paths, filepath.Join(dir, e.Name()))
	}
	for _, path := range paths {
		info, err := os.Lstat(path)
		if err == nil && runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
			all = append(all, fmt.Sprintf("%s holds sessions and is open to others (%s); "+
				"run chmod go-rwx %[1]s, and check who may have read it", path, info.Mode().Perm()))
		}
	}
	return all
}

// readableByOthers reports whether users can read a file who are neither its owner nor in its group. It returns the
// mode.
func readableByOthers(path string) (fs.FileMode, bool) {
	info, err := os.Stat(path)
	if err != nil || runtime.GOOS == "windows" || info.Mode().Perm()&0o007 == 0 { // modes mean nothing on Windows
		return 0, false
	}
	return info.Mode().Perm(), true
}

// isMountedSecret reports whether a container runtime mounted the secret: Kubernetes with its ..data link, Docker and
// Podman in /run/secrets. Such a file is readable by every user of the container, which has only one.
func isMountedSecret(path string) bool {
	for _, dir := range []string{"/run/secrets/", "/var/run/secrets/"} {
		if strings.HasPrefix(path, dir) {
			return true
		}
	}
	to, err := os.Readlink(path)
	return err == nil && strings.HasPrefix(to, "..data/")
}
