package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws-collector/collector/secret"
)

// AWS's documented examples and other secrets. No error may contain them.
const (
	exampleSecret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
	exampleToken  = "FwoGZXIvYXdzEXAMPLETOKEN"
	plantedValue  = "planted-in-the-environment"
	plantedFile   = "planted-in-a-file"
	exampleSeed   = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
)

type common struct {
	Name string `yaml:"name" doc:"In metrics and logs."`
	Ends bool   `yaml:"ends" doc:"A line at the end of each target."`
}

type stdoutOptions struct {
	common `yaml:",inline"`
}

type fileOptions struct {
	common      `yaml:",inline"`
	Path        string `yaml:"path" doc:"Where to write."`
	Compression string `yaml:"compression" enum:"none,zstd" doc:"Of finished files."`
	Rotate      struct {
		MaxBytes size          `yaml:"max_bytes" range:"4KiB.." doc:"Largest file."`
		MaxAge   time.Duration `yaml:"max_age" range:"1m.." doc:"Oldest record."`
		Keep     int           `yaml:"keep" doc:"Files that are kept."`
	} `yaml:"rotate" doc:"When a file is finished."`
}

func (o *fileOptions) Validate() error {
	var errs []error
	if o.Path == "" {
		errs = append(errs, errors.New("path: is needed"))
	}
	if o.Rotate.Keep < 0 {
		errs = append(errs, fmt.Errorf("rotate.keep: %d is negative", o.Rotate.Keep))
	}
	return errors.Join(errs...)
}

// size is an example of a type with UnmarshalText in package outputs.
type size int64

func (s *size) UnmarshalText(b []byte) error {
	unit := ""
	if _, err := fmt.Sscanf(string(b), "%d%s", s, &unit); err != nil || unit != "KiB" && unit != "MiB" {
		return fmt.Errorf("%q is not a size", b)
	}
	*s *= map[string]size{"KiB": 1 << 10, "MiB": 1 << 20}[unit]
	return nil
}

type httpOptions struct {
	URL     string                   `yaml:"url" doc:"Where to."`
	Token   secret.String            `yaml:"token" doc:"The bearer's."`
	Headers map[string]secret.String `yaml:"headers" doc:"More headers."`
	Codes   []int                    `yaml:"codes" doc:"Good answers."`
	Rate    float64                  `yaml:"rate" doc:"Batches a second."`
	Weight  *uint8                   `yaml:"weight" range:"1..9" doc:"Of it."`
	Routes  []struct {
		To string `yaml:"to" doc:"A path."`
	} `yaml:"routes" doc:"By kind."`
	Echo  bool              `yaml:"echo" doc:"Repeats the token in its error, which it should not."`
	Where string            `yaml:"where" doc:"A condition."`
	Names map[string]string `yaml:"names" doc:"By other names."`
	Size  size              `yaml:"size" doc:"Of it."`
}

func (o *httpOptions) Validate() error {
	if o.Echo {
		return fmt.Errorf("url: %s is refused with token %s", o.URL, o.Token.Reveal())
	}
	var errs []error
	if !strings.HasPrefix(o.URL, "http") {
		errs = append(errs, fmt.Errorf("url: %q is not a URL", o.URL))
	}
	if strings.HasSuffix(o.URL, " ") {
		errs = append(errs, Problem{Path: "url", Text: "ends in a space", Remedy: "remove it"})
	}
	if before, after, found := strings.Cut(o.Where, "(("); found { // as a parser quotes what it did not expect
		before = strings.ToUpper(before[max(0, len(before)-6):])
		errs = append(errs, fmt.Errorf("where: unexpected (( after %s and before %.3q", before, after))
	}
	for from, to := range o.Names {
		if strings.Contains(to, "..") {
			errs = append(errs, fmt.Errorf("names: %q: %q is not a path", from, to))
		}
	}
	return errors.Join(errs...)
}

// shownOptions are the options of an output that needs a store.
type shownOptions struct {
	common `yaml:",inline"`
	Kind   string   `yaml:"kind" names:"kinds" doc:"One."`
	Kinds  []string `yaml:"kinds" names:"kinds" doc:"Some."`
}

func (*shownOptions) NeedsStore() (string, string, bool) { return "", "", true }

func testRegistry() Registry {
	return Registry{
		Kinds: []string{"ec2_image", "ec2_instance", "ec2_snapshot", "ec2_volume"},
		Outputs: map[string]func() any{
			"stdout": func() any { return &stdoutOptions{} },
			"file":   func() any { return &fileOptions{Compression: "none"} },
			"http":   func() any { return &httpOptions{Rate: 1} },
			"shown":  func() any { return &shownOptions{Kinds: []string{"ec2_instance"}} },
		},
		CheckQuery: func(flags map[string]string) map[string]error {
			wrong := map[string]error{}
			for flag, value := range flags {
				if strings.HasPrefix(value, "wrong") {
					wrong[flag] = fmt.Errorf("%q is wrong", value)
				}
			}
			return wrong
		},
	}
}

// testEnv and testReadFile are the environment and the files of the test data.
func testEnv(name string) (string, bool) {
	v, ok := map[string]string{
		"EMPTY":         "",
		"PLACEHOLDER":   "<AWS AK ID>",
		"SECRET":        plantedValue,
		"DSN":           plantedDSN,
		"NAME":          "prod",
		"AK_ID":         "AKIAIOSFODNN7EXAMPLE",
		"AK_SECRET":     exampleSecret,
		"TIMEOUT":       "90",
		"PAGES":         "8",
		"GZIP":          "false",
		"OUTPUT":        "file",
		"CODE":          "012345",
		"SEED":          exampleSeed,
		"SEED_URI":      "otpauth://totp/AWS:alice?secret=" + exampleSeed + "&issuer=AWS&algorithm=SHA256&period=60",
		"SEED_HOTP":     "otpauth://hotp/AWS:alice?secret=" + exampleSeed + "&counter=1",
		"SEED_8_DIGITS": "otpauth://totp/AWS:alice?digits=8&secret=" + exampleSeed,
		"SESSION_KEY":   "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
		"CODE_FROM_APP": "234567",
		"ID_11":         "12345678901",
	}[name]
	return v, ok
}

func testReadFile(path string) ([]byte, error) {
	switch path {
	case "/run/secrets/ak":
		return []byte(exampleSecret + "\n"), nil
	case "/run/secrets/code":
		return []byte("012345\r\n"), nil
	case "/run/secrets/other":
		return []byte(plantedFile), nil
	case "/run/secrets/long":
		return make([]byte, MaxReferenced/2), nil
	case "/large":
		return make([]byte, MaxReferenced+1), nil
	case "/forbidden":
		return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrPermission}
	}
	return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
}

// load makes both passes, as the program does.
func load(b []byte, name string) (*File, error) {
	f, err := Parse(b, name, testRegistry())
	if err != nil {
		return nil, err
	}
	return f, f.Resolve(testEnv, testReadFile)
}

// checkNoSecret fails if an error shows one of the planted values.
func checkNoSecret(t testing.TB, in string, err error) {
	t.Helper()
	var ps Problems
	text := fmt.Sprint(err)
	if errors.As(err, &ps) {
		text += fmt.Sprintf("%+v %#v", ps, ps)
	}
	for _, s := range []string{
		exampleSecret, exampleToken, plantedValue, plantedFile, exampleSeed, "JBSW",
		"AKIAIOSFODNN7EXAMPLE", "ASIAIOSFODNN7EXAMPLE",
	} {
		if strings.Contains(text, s) {
			t.Errorf("%s: the error shows %q:\n%s", in, s, text)
		}
	}
}

func readFiles(t testing.TB, pattern string) map[string][]byte {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil || len(paths) == 0 {
		t.Fatalf("no file matches %s (%v)", pattern, err)
	}
	all := map[string][]byte{}
	for _, p := range paths {
		b, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		all[p] = b
	}
	return all
}
