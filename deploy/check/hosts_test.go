package check

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ecs"

	"github.com/aws-collector/collector/config"
)

// The SDK knows every member of the task definition, misses none, and sends it; the container is as the image.
func TestTaskDefinition(t *testing.T) {
	var in ecs.RegisterTaskDefinitionInput
	dec := json.NewDecoder(strings.NewReader(readFile(t, "../ecs/task-definition.json")))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&in); err != nil {
		t.Fatal(err)
	}
	var sent []byte
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sent, _ = io.ReadAll(r.Body)
		fmt.Fprint(w, "{}")
	}))
	defer server.Close()
	client := ecs.New(ecs.Options{
		Region: "eu-central-1", BaseEndpoint: aws.String(server.URL),
		Credentials: credentials.NewStaticCredentialsProvider("AKIAIOSFODNN7EXAMPLE", "EXAMPLE", ""),
	})
	if _, err := client.RegisterTaskDefinition(t.Context(), &in); err != nil {
		t.Fatal(err)
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, []byte(readFile(t, "../ecs/task-definition.json"))); err != nil {
		t.Fatal(err)
	}
	if got, want := members(t, sent), members(t, compact.Bytes()); !slices.Equal(got, want) {
		t.Errorf("the SDK sends the members\n%v\nthe file has\n%v", got, want)
	}

	p, c := readProgram(t), in.ContainerDefinitions[0]
	env := map[string]string{}
	for _, e := range c.Environment {
		env[*e.Name] = *e.Value
	}
	for name, want := range map[string]string{
		"COLLECTOR_CONFIG": p.config, "COLLECTOR_DATA_DIR": p.dataDir, "COLLECTOR_LISTEN": p.listen,
	} {
		if env[name] != want {
			t.Errorf("%s is %s; the image has %s", name, env[name], want)
		}
	}
	if got := number(int64(*c.PortMappings[0].ContainerPort)); got != p.port {
		t.Errorf("port %s; the image exposes %s", got, p.port)
	}
	if !strings.HasPrefix(*c.User, p.user+":") || !*c.ReadonlyRootFilesystem {
		t.Errorf("user %s, read-only %t", *c.User, *c.ReadonlyRootFilesystem)
	}
	if *c.MountPoints[0].ContainerPath != p.dataDir || *c.MountPoints[0].SourceVolume != *in.Volumes[0].Name {
		t.Errorf("the volume is mounted at %s", *c.MountPoints[0].ContainerPath)
	}
	if stop := time.Duration(*c.StopTimeout) * time.Second; stop < p.drain+10*time.Second || stop > 2*time.Minute {
		t.Errorf("%s to stop; running targets have %s, Fargate allows 2m", stop, p.drain)
	}
	if want := []string{"CMD", "/collector", "healthcheck"}; !slices.Equal(c.HealthCheck.Command, want) {
		t.Errorf("health check %v, want %v", c.HealthCheck.Command, want)
	}
	text := readFile(t, "../ecs/config.yaml")
	for _, s := range c.Secrets {
		if !strings.Contains(text, "${env:"+*s.Name+"}") {
			t.Errorf("the configuration does not use the secret %s", *s.Name)
		}
	}
}

// Images that others publish are fixed by their digests. The one that builds the program has the Go of go.mod.
func TestImagesHaveDigests(t *testing.T) {
	image := regexp.MustCompile(`(?m)^(?:ARG GO_IMAGE=| +image: )(\S+)$`)
	fixed := regexp.MustCompile(`^[a-z/]+:v?\d+\.\d+\.\d+(-[a-z]+)?@sha256:[0-9a-f]{64}$`)
	seen := 0
	for _, file := range []string{"../../Dockerfile", "../compose.yaml"} {
		for _, m := range image.FindAllStringSubmatch(readFile(t, file), -1) {
			if strings.HasPrefix(m[1], "collector:") { // built from this source
				continue
			}
			seen++
			if !fixed.MatchString(m[1]) {
				t.Errorf("%s: the image %s is not fixed by its digest", file, m[1])
			}
		}
	}
	if seen != 3 {
		t.Errorf("%d images", seen)
	}
	wanted := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(readFile(t, "../../go.mod"))[1]
	if !strings.Contains(readFile(t, "../../Dockerfile"), "ARG GO_IMAGE=golang:"+wanted+".") {
		t.Errorf("the Dockerfile does not build with Go %s", wanted)
	}
}

// members returns the paths of all members of a JSON text, sorted.
func members(t *testing.T, text []byte) (all []string) {
	t.Helper()
	var v any
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	var walk func(at string, v any)
	walk = func(at string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for k, below := range v {
				walk(at+"."+k, below)
			}
		case []any:
			for _, below := range v {
				walk(at+"[]", below)
			}
		default:
			all = append(all, fmt.Sprintf("%s=%v", at, v))
		}
	}
	walk("", v)
	slices.Sort(all)
	return all
}

// The configurations that users copy are valid.
func TestConfigurations(t *testing.T) {
	p := readProgram(t)
	for _, name := range []string{
		"config.yaml", "ecs/config.yaml", "systemd/config.yaml", "kustomize/config/config.yaml",
	} {
		p.valid(t, name, readFile(t, "../"+name))
	}
}

// The unit, the user and the folders name the same paths.
func TestUnitHasTheProgramsPaths(t *testing.T) {
	unit := readFile(t, "../systemd/collector.service")
	setting := func(key string) string {
		t.Helper()
		m := regexp.MustCompile(`(?m)^` + key + `=(.*)$`).FindStringSubmatch(unit)
		if m == nil {
			t.Fatalf("the unit has no %s", key)
		}
		return m[1]
	}
	p := readProgram(t)
	state := "/var/lib/" + setting("StateDirectory")
	env := setting("Environment")
	if !strings.Contains(env, "COLLECTOR_CONFIG="+p.config) || !strings.Contains(env, "COLLECTOR_DATA_DIR="+state) {
		t.Errorf("the environment is %s", env)
	}
	if _, port, _ := strings.Cut(config.Defaults().Web.Listen, ":"); setting("SocketBindAllow") != "tcp:"+port {
		t.Errorf("the unit may listen on %s, the program does on %s", setting("SocketBindAllow"), port)
	}
	if stop, err := time.ParseDuration(setting("TimeoutStopSec")); err != nil || stop < p.drain+10*time.Second {
		t.Errorf("%s to stop (%v); running targets have %s", stop, err, p.drain)
	}
	id, secrets, _ := strings.Cut(setting("LoadCredential"), ":")
	if !strings.Contains(readFile(t, "../systemd/config.yaml"), "/run/credentials/collector.service/"+id+"_") {
		t.Errorf("the configuration does not show how it names a secret of %s", secrets)
	}
	folders := readFile(t, "../systemd/tmpfiles.conf")
	for _, dir := range []string{
		path.Dir(p.config) + " 0750 root ", secrets + " 0700 root root", state + " 0700 collector",
	} {
		if !strings.Contains(folders, "\nd "+dir) {
			t.Errorf("tmpfiles.conf does not make %s", dir)
		}
	}
	if !strings.Contains(readFile(t, "../systemd/sysusers.conf"), "\nu "+setting("User")+" ") {
		t.Errorf("sysusers.conf does not make the user %s", setting("User"))
	}
}
