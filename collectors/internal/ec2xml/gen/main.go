// Command gen writes the tables of ec2xml from the source of the SDK's service/ec2, so that an upgrade of the SDK needs
// only "go get" and "go generate". It does not need AWS's service model: the SDK's deserializers.go contains the name
// of every XML element and of its member.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

const module = "github.com/aws/aws-sdk-go-v2/service/ec2"

func main() {
	out := flag.String("o", "tables.go", "the file to write")
	flag.Parse()
	if err := run(*out); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func run(out string) error {
	dir, version, err := locate()
	if err != nil {
		return err
	}
	src, err := generate(dir, version)
	if err != nil {
		return err
	}
	return os.WriteFile(out, src, 0o644)
}

// locate asks the go command where the SDK's source is.
func locate() (dir, version string, err error) {
	var stderr strings.Builder
	cmd := exec.Command("go", "list", "-m", "-f", "{{.Dir}}\n{{.Version}}", module)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", "", fmt.Errorf("go list -m %s: %w: %s", module, err, stderr.String())
	}
	dir, version, _ = strings.Cut(strings.TrimSpace(string(out)), "\n")
	if dir == "" {
		return "", "", fmt.Errorf("%s is not in the module cache: run go mod download", module)
	}
	return dir, version, nil
}
