// Command bench measures the whole collector: it runs the binary, built as for a release, as a child process against a
// fake AWS in this process. Each benchmark has its own file and prints one table:
//
//	go run ./bench NAME [flags]
//
// The figures of the child are its own: CPU from the rusage of the process, peak memory from VmHWM of /proc (Linux).
// The CPU of the simulator, which runs in this process, has its own column. README.md contains the results.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
)

// A bench holds the environment of a benchmark.
type bench struct {
	stdout, stderr io.Writer
	dir            string // temporary directory of this run
	binary         string // path of the collector; built when it is first needed
	store          string // store.type of the configuration
}

type benchmark struct {
	name, summary string
	run           func(*bench, context.Context, []string) error
}

// benchmarks is a function because the benchmarks may refer to the list.
func benchmarks() []benchmark {
	return []benchmark{
		{"scale", "100, 1,000 and 10,000 accounts: memory depends on the calls in flight", scale},
		{"whole", "the whole program on many instances, compared with raw HTTP and with the SDK's types", whole},
		{"wire", "gzip on and off, TLS on and off", wire},
		{"empty", "every kind in every region of an empty account", empty},
		{"size", "the size of the binary; with -cold the time of a first build", size},
		{"validate", "collector validate on 500 accounts", validate},
		{"page", "the page and searches, of a million resources in SQLite", page},
	}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	name := ""
	if len(args) > 0 {
		name, args = args[0], args[1:]
	}
	if name == rawCommand { // this process is a child of bench
		return rawHTTPChild(ctx, args)
	}
	for _, bm := range benchmarks() {
		if bm.name != name {
			continue
		}
		b := &bench{stdout: stdout, stderr: stderr}
		if b.dir, err = os.MkdirTemp("", "collector-bench-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
		return bm.run(b, ctx, args)
	}
	fmt.Fprintf(stderr, "usage: go run ./bench NAME [flags]; go run ./bench NAME -h\n\n")
	for _, bm := range benchmarks() {
		fmt.Fprintf(stderr, "  %-9s %s\n", bm.name, bm.summary)
	}
	if name != "" && name != "-h" && name != "--help" && name != "help" {
		return fmt.Errorf("unknown benchmark %q", name)
	}
	return flag.ErrHelp
}

// flags returns a flag set with the flags that all benchmarks share.
func (b *bench) flags(name string) *flag.FlagSet {
	f := flag.NewFlagSet(name, flag.ContinueOnError)
	f.SetOutput(b.stderr)
	f.StringVar(&b.store, "store", "none", "the configuration's store: none, or sqlite to store each record as well")
	f.StringVar(&b.binary, "collector", "", "measure this `BINARY`; default: build it from the source")
	return f
}

func parseFlags(f *flag.FlagSet, args []string) error {
	if err := f.Parse(args); err != nil {
		return flag.ErrHelp // the flag set has printed the error
	}
	if f.NArg() > 0 {
		return fmt.Errorf("%s: unexpected %q", f.Name(), f.Arg(0))
	}
	return nil
}

// printHeading prints the heading of a table.
func (b *bench) printHeading(what string) {
	fmt.Fprintf(
		b.stdout, "%s\n%d cores, %s, %s/%s\n\n", what, runtime.NumCPU(), runtime.Version(), runtime.GOOS, runtime.GOARCH,
	)
}

// progress reports progress on stderr, apart from the table.
func (b *bench) progress(format string, args ...any) {
	fmt.Fprintf(b.stderr, "# "+format+"\n", args...)
}

func (b *bench) path(name string) string { return filepath.Join(b.dir, name) }
