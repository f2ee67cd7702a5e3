// Command bench measures the collector as a whole: the released binary, run as a child against an AWS that this process
// serves. Each benchmark is a file and prints one table:
//
//	go run ./bench NAME [flags]
//
// What is counted of the child is its own: CPU by the rusage of the process, peak memory by VmHWM of /proc (Linux). The
// simulator runs in this process, and its CPU is a column of its own. README.md holds the figures.
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

// A bench is what every benchmark needs of the world.
type bench struct {
	stdout, stderr io.Writer
	dir            string // of this run; removed at the end
	binary         string // the collector's; built when it is first asked for
	store          string // store.type of the configuration
}

type benchmark struct {
	name, summary string
	run           func(*bench, context.Context, []string) error
}

// benchmarks is a function, as one of them may come to list the others.
func benchmarks() []benchmark {
	return []benchmark{
		{"scale", "100, 1,000 and 10,000 accounts: memory follows the calls in flight", scale},
		{"whole", "the whole program on many instances, beside raw HTTP and beside the SDK's types", whole},
		{"wire", "gzip on and off, TLS on and off", wire},
		{"empty", "every kind in every region of an account that holds nothing", empty},
		{"size", "the binary's size; with -cold the time of a first build", size},
		{"validate", "collector validate on 500 accounts", validate},
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
	if name == rawCommand { // this program as its own child
		return rawHTTPChild(ctx, args)
	}
	for _, one := range benchmarks() {
		if one.name != name {
			continue
		}
		b := &bench{stdout: stdout, stderr: stderr}
		if b.dir, err = os.MkdirTemp("", "collector-bench-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
		return one.run(b, ctx, args)
	}
	fmt.Fprintf(stderr, "usage: go run ./bench NAME [flags]; go run ./bench NAME -h\n\n")
	for _, one := range benchmarks() {
		fmt.Fprintf(stderr, "  %-9s %s\n", one.name, one.summary)
	}
	if name != "" && name != "-h" && name != "--help" && name != "help" {
		return fmt.Errorf("no benchmark %q", name)
	}
	return flag.ErrHelp
}

// flags are the flags of a benchmark, the shared ones among them.
func (b *bench) flags(name string) *flag.FlagSet {
	f := flag.NewFlagSet(name, flag.ContinueOnError)
	f.SetOutput(b.stderr)
	f.StringVar(&b.store, "store", "none", "the configuration's store: none, or sqlite, where each record is remembered as well")
	f.StringVar(&b.binary, "collector", "", "measure this `BINARY`; default: it is built from the source")
	return f
}

func parseFlags(f *flag.FlagSet, args []string) error {
	if err := f.Parse(args); err != nil {
		return flag.ErrHelp // what is wrong was printed
	}
	if f.NArg() > 0 {
		return fmt.Errorf("%s: unexpected %q", f.Name(), f.Arg(0))
	}
	return nil
}

// printHeading is the heading of every table.
func (b *bench) printHeading(what string) {
	fmt.Fprintf(b.stdout, "%s\n%d cores, %s, %s/%s\n\n", what, runtime.NumCPU(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

// progress tells what takes time, where it does not get into the table.
func (b *bench) progress(format string, args ...any) {
	fmt.Fprintf(b.stderr, "# "+format+"\n", args...)
}

func (b *bench) path(name string) string { return filepath.Join(b.dir, name) }
