package main

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/aws-collector/collector/inventory"
)

// version and revision are set by the linker: -X main.version=v1.2.3 -X main.revision=COMMIT. Other builds use the
// values of the Go module system.
var version, revision string

func (c *cli) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version, the revision and the Go version",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintln(c.stdout, versionText())
			return err
		},
	}
}

func versionText() string {
	b := buildInfo()
	return fmt.Sprintf("collector %s (revision %s, %s, %s/%s)",
		b.version, b.revision, b.goVersion, runtime.GOOS, runtime.GOARCH)
}

type build struct{ version, revision, goVersion string }

func buildInfo() build {
	b := build{version: version, revision: revision, goVersion: runtime.Version()}
	info, ok := debug.ReadBuildInfo()
	if ok {
		if b.version == "" {
			b.version = info.Main.Version
		}
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" && b.revision == "" {
				b.revision = s.Value
			}
		}
	}
	if b.version == "" {
		b.version = "(devel)"
	}
	if b.revision == "" {
		b.revision = "unknown"
	}
	return b
}

// thisProcess names the process in the runs that it stores.
func thisProcess() inventory.Process {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return inventory.Process{Replica: host, Version: buildInfo().version}
}
