package check

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/outputs/all"
)

// A program is what the image and the source say about the program. What deploy says is held against it.
type program struct {
	port     string
	user     string
	dataDir  string
	config   string
	listen   string
	healthy  string
	drain    time.Duration
	examples config.Registry
}

func readProgram(t *testing.T) program {
	t.Helper()
	find := func(path, pattern string) string {
		t.Helper()
		m := regexp.MustCompile(pattern).FindStringSubmatch(readFile(t, path))
		if m == nil {
			t.Fatalf("%s has no %s", path, pattern)
		}
		return m[1]
	}
	const image = "../../Dockerfile"
	p := program{
		port:    find(image, `(?m)^EXPOSE (\d+)$`),
		user:    find(image, `(?m)^USER (\d+):\d+$`),
		dataDir: find(image, `COLLECTOR_DATA_DIR=(\S+)`),
		config:  find(image, `COLLECTOR_CONFIG=(\S+)`),
		listen:  find(image, `COLLECTOR_LISTEN=(\S+)`),
		healthy: find("../../cmd/collector/healthcheck.go", `healthyPath = "(.*)"`),
		drain:   time.Duration(config.Defaults().DrainTimeout),
	}
	if listen := config.Defaults().Web.Listen; !strings.HasSuffix(listen, ":"+p.port) || p.listen != ":"+p.port {
		t.Fatalf("the image listens on %s and exposes %s; the default is %s", p.listen, p.port, listen)
	}
	p.examples = config.Registry{Kinds: []string{"ec2_instance"}, Outputs: map[string]func() any{}}
	for _, typ := range all.Types {
		p.examples.Outputs[typ.Name] = typ.NewOptions
	}
	return p
}

// valid reports the errors of a configuration. Secrets need not exist.
func (p program) valid(t *testing.T, name, text string) {
	t.Helper()
	known := p.examples
	if _, err := config.Parse([]byte(text), name, known); err != nil {
		t.Errorf("%s: %v\n%s", name, err, text)
	}
}
