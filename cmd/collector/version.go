package main

import (
	"cmp"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/aws-collector/collector/inventory"
)

// The linker sets these: -X main.version=v1.2.3 -X main.revision=COMMIT -X main.date=TIME. The date is that of the
// commit, so that a second build of the commit is the same. Other builds use the values of the Go module system.
var version, revision, date string

func (c *cli) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version, the revision, its date and the Go version",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintln(c.stdout, versionText())
			return err
		},
	}
}

func versionText() string {
	b := buildInfo()
	return fmt.Sprintf("collector %s (revision %s, date %s, %s, %s/%s)",
		b.version, b.revision, b.date, b.goVersion, runtime.GOOS, runtime.GOARCH)
}

type build struct{ version, revision, date, goVersion string }

func buildInfo() build {
	b := build{version: version, revision: revision, date: date, goVersion: runtime.Version()}
	info, ok := debug.ReadBuildInfo()
	if ok {
		if b.version == "" {
			b.version = info.Main.Version
		}
		for _, s := range info.Settings {
			switch {
			case s.Key == "vcs.revision" && b.revision == "":
				b.revision = s.Value
			case s.Key == "vcs.time" && b.date == "":
				b.date = s.Value
			}
		}
	}
	b.version, b.revision = cmp.Or(b.version, "(devel)"), cmp.Or(b.revision, "unknown")
	b.date = cmp.Or(b.date, "unknown")
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
