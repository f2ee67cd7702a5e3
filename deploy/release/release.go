package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"text/template"
	"time"

	"github.com/goreleaser/goreleaser/v2/pkg/config"
)

const configFile = ".goreleaser.yaml"

// generatedDir has what the program prints about itself. .goreleaser.yaml names its files.
const generatedDir = "out/release"

// A target is a system that a release is built for.
type target struct{ os, arch string }

func hostTarget() target { return target{runtime.GOOS, runtime.GOARCH} }

// A release is the configuration with what templates may use of the commit.
type release struct {
	config config.Project
	fields map[string]string
	time   time.Time // of the commit
}

// load reads the configuration and asks git about the commit.
func load(ctx context.Context) (*release, error) {
	c, err := config.Load(configFile) // strict: an unknown key is an error
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", configFile, err)
	}
	if len(c.Builds) != 1 || len(c.Archives) != 1 || len(c.NFPMs) != 1 || len(c.SBOMs) != 1 {
		return nil, fmt.Errorf("%s: want one build, archive, nfpm and sbom", configFile)
	}
	r := &release{config: c}
	commit, err := output(ctx, "git", "rev-parse", "HEAD")
	if err != nil {
		return nil, err
	}
	committed, err := output(ctx, "git", "log", "-1", "--format=%cI")
	if err != nil {
		return nil, err
	}
	if r.time, err = time.Parse(time.RFC3339, committed); err != nil {
		return nil, fmt.Errorf("time of the commit: %w", err)
	}
	r.time = r.time.UTC()
	tag, err := output(ctx, "git", "describe", "--tags", "--abbrev=0")
	if err != nil {
		tag = "v0.0.0" // no tag yet
	}
	r.fields = map[string]string{
		"Version": strings.TrimPrefix(tag, "v"), "FullCommit": commit, "ShortCommit": commit[:7],
		"CommitDate": r.time.Format(time.RFC3339), "CommitTimestamp": fmt.Sprint(r.time.Unix()),
	}
	r.fields["Version"], err = r.apply(c.Snapshot.VersionTemplate, target{})
	return r, err
}

// apply executes a template of the configuration.
func (r *release) apply(text string, t target) (string, error) {
	fields := maps.Clone(r.fields)
	fields["Os"], fields["Arch"] = t.os, t.arch
	parsed, err := template.New("").Option("missingkey=error").Parse(text)
	if err != nil {
		return "", err
	}
	var out bytes.Buffer
	if err := parsed.Execute(&out, fields); err != nil {
		return "", fmt.Errorf("%s: %w", configFile, err)
	}
	return out.String(), nil
}

// output runs a command and returns what it prints, without the last line end.
func output(ctx context.Context, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, errs.Bytes())
	}
	return strings.TrimRight(string(out), "\n"), nil
}

// build builds the program for a target.
func (r *release) build(ctx context.Context, t target, path string) error {
	b := r.config.Builds[0]
	if !slices.Contains(b.Goos, t.os) || !slices.Contains(b.Goarch, t.arch) {
		return fmt.Errorf("%s has no build for %s/%s", configFile, t.os, t.arch)
	}
	linker, err := r.apply(strings.Join(b.Ldflags, " "), t)
	if err != nil {
		return err
	}
	args := slices.Concat([]string{"build", "-o", path}, b.Flags,
		[]string{"-tags", strings.Join(b.Tags, ","), "-ldflags", linker, b.Main})
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Env = append(cmd.Environ(), append(b.Env, "GOOS="+t.os, "GOARCH="+t.arch)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return os.Chtimes(path, r.time, r.time)
}

// generate writes the manual page and the completions of a program.
func generate(ctx context.Context, program string) error {
	program, err := filepath.Abs(program)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(generatedDir, 0o755); err != nil {
		return err
	}
	for name, args := range map[string][]string{
		"collector.1":    {"manual"},
		"collector.bash": {"completion", "bash"},
		"_collector":     {"completion", "zsh"},
		"collector.fish": {"completion", "fish"},
		"collector.ps1":  {"completion", "powershell"},
	} {
		cmd := exec.CommandContext(ctx, program, args...)
		cmd.Env = []string{} // help prints defaults, which the environment may change
		text, err := cmd.Output()
		if err != nil {
			return fmt.Errorf("collector %s: %w", strings.Join(args, " "), err)
		}
		if err := os.WriteFile(filepath.Join(generatedDir, name), text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// snapshot makes all files of a release for some targets. The programs are in folders of their own.
func snapshot(ctx context.Context, out string, targets []string) error {
	r, err := load(ctx)
	if err != nil {
		return err
	}
	programs := map[target]string{}
	for _, name := range targets {
		system, arch, _ := strings.Cut(name, "/")
		t := target{system, arch}
		programs[t] = filepath.Join(out, "collector_"+system+"_"+arch, "collector"+extension(t))
		start := time.Now()
		if err := r.build(ctx, t, programs[t]); err != nil {
			return err
		}
		info, err := os.Stat(programs[t])
		if err != nil {
			return err
		}
		fmt.Printf("%s: built in %.0f s, %d bytes\n", name, time.Since(start).Seconds(), info.Size())
	}
	host, ok := programs[hostTarget()]
	if !ok {
		return fmt.Errorf("the targets %s do not have this machine's, %s/%s, which prints the manual page",
			strings.Join(targets, ","), runtime.GOOS, runtime.GOARCH)
	}
	if err := generate(ctx, host); err != nil {
		return err
	}
	for t, program := range programs {
		if err := r.pack(t, program, out); err != nil {
			return fmt.Errorf("%s/%s: %w", t.os, t.arch, err)
		}
	}
	return r.checksums(out)
}

func extension(t target) string {
	if t.os == "windows" {
		return ".exe"
	}
	return ""
}

// pack makes the files of one target from its program.
func (r *release) pack(t target, program, out string) error {
	document, err := r.apply(r.config.SBOMs[0].Documents[0], t)
	if err != nil {
		return err
	}
	if err := writeSBOM(program, filepath.Join(out, document)); err != nil {
		return err
	}
	if err := r.archive(t, program, out); err != nil {
		return err
	}
	if t.os != "linux" {
		return nil
	}
	for _, format := range r.config.NFPMs[0].Formats {
		if err := r.linuxPackage(format, t, program, out); err != nil {
			return fmt.Errorf("%s: %w", format, err)
		}
	}
	return nil
}

// checksums writes the file that sha256sum --check reads.
func (r *release) checksums(out string) error {
	entries, err := os.ReadDir(out)
	if err != nil {
		return err
	}
	name := r.config.Checksum.NameTemplate
	var all strings.Builder
	for _, e := range entries {
		if e.IsDir() || e.Name() == name {
			continue
		}
		data, err := os.ReadFile(filepath.Join(out, e.Name()))
		if err != nil {
			return err
		}
		fmt.Fprintf(&all, "%x  %s\n", sha256.Sum256(data), e.Name())
	}
	return os.WriteFile(filepath.Join(out, cmp.Or(name, "checksums.txt")), []byte(all.String()), 0o644)
}
