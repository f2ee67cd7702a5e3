// Command gen writes the tables of awsxml from the source of the SDK's client of a service, so that an upgrade of the
// SDK needs only "go get" and "go generate". It does not need AWS's service model: the source of a client has the name
// of every XML element and of its member, in the package schemas or in deserializers.go. [model] is the seam.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

func main() {
	service := flag.String("service", "ec2", "the service, as the SDK names its package")
	in := flag.String("in", ".", "a folder of the module that requires the service's client")
	out := flag.String("o", "tables_ec2.go", "the file to write")
	flag.Parse()
	if err := run(*service, *in, *out); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func run(service, in, out string) error {
	dir, version, err := locate(service, in)
	if err != nil {
		return err
	}
	src, err := generate(service, dir, version)
	if err != nil {
		return err
	}
	return os.WriteFile(out, src, 0o644)
}

var errNotDownloaded = errors.New("not in the module cache")

// locate asks the go command where the SDK's source is.
func locate(service, in string) (dir, version string, err error) {
	module := "github.com/aws/aws-sdk-go-v2/service/" + service
	var stderr strings.Builder
	cmd := exec.Command("go", "list", "-m", "-f", "{{.Dir}}\n{{.Version}}", module)
	cmd.Dir, cmd.Stderr = in, &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", "", fmt.Errorf("go list -m %s: %w: %s", module, err, stderr.String())
	}
	dir, version, _ = strings.Cut(strings.TrimRight(string(out), "\n"), "\n")
	if dir == "" {
		return "", "", fmt.Errorf("%s: %w: run go -C %s mod download", module, errNotDownloaded, in)
	}
	return dir, version, nil
}
