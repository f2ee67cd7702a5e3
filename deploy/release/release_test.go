package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goreleaser/goreleaser/v2/pkg/config"
	"go.yaml.in/yaml/v3"
)

const root = "../../"

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// loaded is the configuration, of a commit that never changes.
func loaded(t *testing.T) *release {
	t.Helper()
	t.Chdir(root)
	c, err := config.Load(configFile)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	return &release{config: c, time: at, fields: map[string]string{
		"Version": "1.2.3", "FullCommit": "c23cb1a", "ShortCommit": "c23cb1a", "CommitDate": at.Format(time.RFC3339),
		"CommitTimestamp": "1796040000",
	}}
}

// Goreleaser obeys each key of the configuration. The snapshot obeys these; where a value is fixed here, it obeys only
// that.
func TestEveryKeyIsObeyed(t *testing.T) {
	obeyed := strings.Fields(`
		version project_name before.hooks
		builds.id builds.main builds.binary builds.env builds.goos builds.goarch builds.flags builds.tags builds.ldflags
		builds.mod_timestamp
		archives.formats archives.format_overrides.goos archives.format_overrides.formats archives.name_template
		archives.builds_info.mtime archives.files.src archives.files.dst archives.files.info.mtime
		nfpms.package_name nfpms.formats nfpms.vendor nfpms.homepage nfpms.maintainer nfpms.description nfpms.license
		nfpms.section nfpms.priority nfpms.bindir nfpms.mtime nfpms.overrides.deb.dependencies
		nfpms.overrides.rpm.dependencies nfpms.scripts.postinstall nfpms.scripts.preremove
		nfpms.contents.src nfpms.contents.dst nfpms.contents.type nfpms.contents.packager nfpms.contents.file_info.mode
		sboms.artifacts sboms.documents sboms.cmd sboms.args
		checksum.name_template checksum.algorithm snapshot.version_template`)
	fixed := map[string]string{
		"builds.mod_timestamp": "{{ .CommitTimestamp }}", "archives.builds_info.mtime": "{{ .CommitDate }}",
		"archives.files.info.mtime": "{{ .CommitDate }}", "nfpms.mtime": "{{ .CommitDate }}",
		"checksum.algorithm": "sha256", "builds.binary": "collector", "sboms.artifacts": "binary",
	}
	var document any
	if err := yaml.Unmarshal([]byte(read(t, root+configFile)), &document); err != nil {
		t.Fatal(err)
	}
	var walk func(path string, v any)
	walk = func(path string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for key, below := range v {
				walk(strings.TrimPrefix(path+"."+key, "."), below)
			}
		case []any:
			for _, below := range v {
				walk(path, below)
			}
		default:
			if !slices.Contains(obeyed, path) {
				t.Errorf("the snapshot does not obey %s", path)
			}
			if want := fixed[path]; want != "" && v != want {
				t.Errorf("the snapshot obeys %s only if it is %s, not %v", path, want, v)
			}
		}
	}
	walk("", document)
}

// The Makefile and the Dockerfile build as a release does.
func TestOtherBuildsAreTheSame(t *testing.T) {
	b := loaded(t).config.Builds[0]
	set := func(text string) (names []string) {
		for _, m := range regexp.MustCompile(`-X (\S+?)=`).FindAllStringSubmatch(text, -1) {
			names = append(names, m[1])
		}
		return names
	}
	want := set(b.Ldflags[0])
	for _, path := range []string{"Makefile", "Dockerfile"} {
		text := read(t, path)
		if got := set(text); !slices.Equal(got, want) || len(want) == 0 || !strings.Contains(text, "-s -w -X") {
			t.Errorf("%s sets %v, the release sets %v", path, got, want)
		}
		for _, flag := range []string{b.Flags[0], "-tags " + b.Tags[0], b.Env[0], b.Main} {
			if !strings.Contains(text, flag) {
				t.Errorf("%s does not build with %s", path, flag)
			}
		}
	}
}

// Each file that the configuration names exists or is generated, and each template can be executed.
func TestSourcesExist(t *testing.T) {
	r := loaded(t)
	var sources []string
	for _, f := range r.config.Archives[0].Files {
		sources = append(sources, f.Source)
	}
	p := r.config.NFPMs[0]
	for _, c := range p.Contents {
		sources = append(sources, c.Source)
	}
	for _, path := range append(sources, p.Scripts.PostInstall, p.Scripts.PreRemove) {
		if path == "" || strings.HasPrefix(path, generatedDir+"/") {
			continue
		}
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	}
	c := r.config
	for _, text := range []string{
		c.Archives[0].NameTemplate, c.SBOMs[0].Documents[0], c.Snapshot.VersionTemplate, c.Builds[0].Ldflags[0],
		c.Builds[0].ModTimestamp, c.NFPMs[0].MTime,
	} {
		if got, err := r.apply(text, target{"linux", "amd64"}); err != nil || strings.Contains(got, "{{") {
			t.Errorf("%s: %q, %v", text, got, err)
		}
	}
	if got, err := r.apply("{{ .Branch }}", target{}); err == nil {
		t.Errorf("an unknown field is %q", got)
	}
}

// The modules of a program, with their checksums, are in its bill of materials.
func TestSBOM(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	document := filepath.Join(t.TempDir(), "sbom.json")
	if err := writeSBOM(program, document); err != nil {
		t.Fatal(err)
	}
	var got struct {
		BomFormat, SpecVersion string
		Components             []struct {
			Purl       string
			Properties []struct{ Value string }
		}
		Dependencies []struct{ DependsOn []string }
	}
	if err := json.Unmarshal([]byte(read(t, document)), &got); err != nil {
		t.Fatal(err)
	}
	sums := read(t, "go.sum")
	found := map[string]bool{}
	for _, c := range got.Components {
		path, version, _ := strings.Cut(strings.TrimPrefix(c.Purl, "pkg:golang/"), "@")
		found[path] = true
		if path != "std" && !strings.Contains(sums, path+" "+version+" "+c.Properties[0].Value) {
			t.Errorf("go.sum does not have %s %s %s", path, version, c.Properties[0].Value)
		}
	}
	if got.BomFormat != "CycloneDX" || !found["std"] || !found["github.com/goreleaser/nfpm/v2"] ||
		len(got.Dependencies[0].DependsOn) != len(got.Components) {
		t.Errorf("%s %s has %d components", got.BomFormat, got.SpecVersion, len(got.Components))
	}
	if err := writeSBOM("go.mod", document); err == nil {
		t.Error("go.mod has a bill of materials")
	}
}

// Both archives have the program, which can be executed, and the times of the commit: the same source makes the same
// archive.
func TestArchives(t *testing.T) {
	r := loaded(t)
	dir := t.TempDir()
	program := filepath.Join(dir, "collector")
	if err := os.WriteFile(program, []byte("program"), 0o644); err != nil {
		t.Fatal(err)
	}
	members := []member{{program, "collector", 0o755}, {"LICENSE", "LICENSE", 0o644}}
	want := map[string]os.FileMode{"collector": 0o755, "LICENSE": 0o644}

	var first, second bytes.Buffer
	if err := r.writeTar(&first, members); err != nil {
		t.Fatal(err)
	}
	later := time.Now().Add(time.Hour)
	if err := os.Chtimes(program, later, later); err != nil {
		t.Fatal(err)
	}
	if err := r.writeTar(&second, members); err != nil || !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Errorf("the archive of the same files is another, %v", err)
	}
	compressed, err := gzip.NewReader(&first)
	if err != nil {
		t.Fatal(err)
	}
	archive := tar.NewReader(compressed)
	seen := 0
	for h, err := archive.Next(); err != io.EOF; h, err = archive.Next() {
		if err != nil {
			t.Fatal(err)
		}
		seen++
		if h.FileInfo().Mode() != want[h.Name] || !h.ModTime.Equal(r.time) {
			t.Errorf("%s has the mode %v and the time %v", h.Name, h.FileInfo().Mode(), h.ModTime)
		}
	}
	var zipped bytes.Buffer
	if err := r.writeZip(&zipped, members); err != nil {
		t.Fatal(err)
	}
	z, err := zip.NewReader(bytes.NewReader(zipped.Bytes()), int64(zipped.Len()))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range z.File {
		seen++
		if f.Mode() != want[f.Name] {
			t.Errorf("%s has the mode %v", f.Name, f.Mode())
		}
	}
	if seen != 4 {
		t.Errorf("%d files in two archives", seen)
	}
}
