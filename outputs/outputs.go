// Package outputs is where records go: an [Output] takes finished JSON lines. It knows receivers, and nothing of AWS or of runs;
// what changed it reads from the store, through inventory's words.
//
// Begin here: [Types] is every output, a row each; [Set] holds those that are open, over all configurations; a [Fan] delivers
// to those of one. Then follow a line through the files:
//
//   - beside.go, fan.go: what a configuration's outputs are called, opened together or not at all; held.go: what can be open once
//   - shape.go: where and rename. feed.go: changes, read from the store by a cursor
//   - lane.go: one output's trouble is its own. What fails or hangs there costs no other a record
//   - spool*.go: what a remote can block stands behind a spool on disk: spool.go takes, spoolfeed.go hands on, by halves
//     where the receiver refuses; spooltrial.go: whose fault it is where it fails; spooldead.go, spoolmissing.go: what is never handed on. internal/journal is the disk
//   - stdout.go, file.go (and finished.go): the outputs that need no spool
//   - http*.go: what outputs over HTTP share, and http itself; lineprotocol.go, flat.go: what datakit.go and influx.go do
//   - datakit, influx, kafka*, otlp*, s3*: a file an output, and more of its name where one was too long
//   - served.go, labels.go: what outputs share that are asked, and sent nothing; prometheus.go, httpsd.go
//
// A new output is a file with its options, their defaults, Validate and an Open, a row in [Types], and a subject in a test of
// package outputstest, whose suite every output passes. line.go decodes a line for outputs that speak another format.
package outputs

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/record"
)

// A Batch is lines with a name that does not change when it is sent again. Lines is borrowed until Send returns.
type Batch struct {
	ID     string
	Target record.Target // zero where a spool put lines of several targets together
	Run    string        // "" where they are of several runs
	N      int           // records in Lines; 0 for a line that is none, such as the end of a target
	Lines  []byte        // whole lines, each with its \n
}

// An Output sends batches. It may be called by many goroutines. Send delivers a batch whole or returns an error, and
// may return before the receiver has it only if Flush then waits for it. What was flushed survives a kill of the
// process. After Close, Send and Flush return [ErrClosed].
type Output interface {
	Send(context.Context, Batch) error
	Flush(context.Context) error
	Close(context.Context) error // safe twice
}

var (
	// ErrClosed is what an output answers after its Close.
	ErrClosed = errors.New("output is closed")
	// ErrPermanent is in an error that no later try can mend: the pipe's reader is gone. It is not tried again.
	ErrPermanent = errors.New("output is gone for good")
	// ErrRefused is in an error of Send when the receiver has looked at the batch and will never take it as it is: it is the
	// content that is wrong, not the way there. A spool halves such a batch until what is at fault stands alone.
	ErrRefused = errors.New("refused by the receiver")
	// ErrReceiverFailed is in an error of Send when the receiver has answered that it failed at the batch, as by 500 over HTTP:
	// the content may be at fault, or the receiver be ill. A spool finds out which, and sets nothing aside while it is ill.
	ErrReceiverFailed = errors.New("the receiver failed")
)

// A Later is an error of Send that says how long the receiver wants to be left alone.
type RetryAfterError struct {
	After time.Duration
	Err   error
}

func (l *RetryAfterError) Error() string { return l.Err.Error() }
func (l *RetryAfterError) Unwrap() error { return l.Err }

// Batching is how much a spool hands to its output in one Send. An output that wants a say embeds it in its options, with
// its own defaults.
type Batching struct {
	MaxRecords int             `yaml:"max_records" doc:"At most so many records a request."`
	MaxBytes   Bytes           `yaml:"max_bytes" doc:"At most so many bytes of records a request, before compression. A single larger record is sent alone."`
	MaxWait    config.Duration `yaml:"max_wait" doc:"How long a request waits to fill up, as 1s. At the end of a run nothing waits."`
}

func (b *Batching) batching() *Batching { return b }

// A Type is an output that can be named in the file: a row, in plain sight.
type Type struct {
	Name    string
	Options func() any // *struct with defaults, which embeds [Common], or with Serve [Serving]; decoded and validated by config
	// Key names what can be there only once, such as a file, or a path that is asked. Two outputs of one configuration with one
	// key are an error; at a reload the output with the same key stays open and takes the new options. Nil, or "": none.
	Key    func(options any) string
	Open   func(ctx context.Context, options any, d Deps) (Output, error)
	Direct bool // needs no spool: stdout, file
	// Translates says that the output reads its lines and sends something else, so that what it reads cannot be renamed.
	Translates bool
	// Serve makes an output that is sent nothing: it is asked over HTTP, and answers from [Deps].Store. Its type has no Open.
	Serve func(name string, options any, d Deps) (Served, error)
}

// NewOptions is the options with their defaults, for config to fill in.
func (t Type) NewOptions() any {
	o := t.Options()
	if c, ok := o.(interface{ common() *Common }); ok {
		c.common().translates = t.Translates
	}
	return o
}

// Types is every output, sorted.
var Types = []Type{
	{Name: "datakit", Options: dataKitDefaults, Open: openDataKit, Translates: true},
	{Name: "file", Options: fileDefaults, Key: fileKey, Open: openFile, Direct: true},
	{Name: "http", Options: httpOutputDefaults, Open: openHTTP},
	{Name: "http_sd", Options: httpSDDefaults, Serve: serveHTTPSD},
	{Name: "influx", Options: influxDefaults, Open: openInflux, Translates: true},
	{Name: "kafka", Options: kafkaDefaults, Open: openKafka, Translates: true},
	{Name: "otlp", Options: otlpDefaults, Open: openOTLP, Translates: true},
	{Name: "prometheus", Options: prometheusDefaults, Key: prometheusKey, Serve: servePrometheus},
	{Name: "s3", Options: s3Defaults, Open: openS3, Translates: true},
	{Name: "stdout", Options: stdoutDefaults, Key: stdoutKey, Open: openStdout, Direct: true},
}

// Common is the options that every output has.
type Common struct {
	Name string `yaml:"name" doc:"What the output is called in metrics and logs. Default: its type, then type-2, type-3 and so on."`
	Ends bool   `yaml:"ends" doc:"Also write a line {\"kind\":\"_target\",...} at the end of each target."`
	Send string `yaml:"send" enum:"records,changes,both" doc:"records: everything, at every run. changes: what was added, changed and gone, from when the output is new on, as collector changes -o jsonl prints it; that needs a store. Default: records."`

	Shaping `yaml:",inline"`
	// Spool is nil where nothing is said of it: then stdout and file have none, and all others one with its defaults.
	Spool *Spool `yaml:"spool" doc:"What waits on disk for the receiver, below data_dir. stdout and file have a spool only if this is given."`

	translates bool // of the type
}

func (c *Common) common() *Common { return c }

// hasSpool reports whether an output of the type stands behind a spool.
func (c *Common) hasSpool(t Type) bool { return c.Spool != nil || !t.Direct }

// ValidateCommon reports everything that is wrong with these options.
func (c *Common) ValidateCommon() error {
	err := c.Shaping.validate(c.translates)
	if c.Ends && c.Send == sendChanges {
		err = errors.Join(err, errors.New("ends: with send: changes no target's records are sent, and so none end"))
	}
	return err
}

// wantsChanges reports whether the output is sent changes.
func (c *Common) wantsChanges() bool { return c.Send == sendChanges || c.Send == sendBoth }

// NeedsStore says to config that changes are nothing without a store, and which option asks for them.
func (c *Common) NeedsStore() (option, value string, needs bool) {
	return "send", c.Send, c.wantsChanges()
}

// A reconfigurer takes new options while it is open: what a reload changed of an output that keeps its key.
type reconfigurer interface{ reconfigure(options any) }

// Deps is what the wire gives.
type Deps struct {
	Stdout   io.Writer
	Log      *slog.Logger
	Observer Observer         // may be nil
	SpoolDir string           // the folder of the spools
	Store    inventory.Reader // nil: nothing is remembered
	// CursorDir is the folder where it is kept how far each output has been sent the changes.
	CursorDir string
	// AWS is the SDK's configuration, its credentials found the way that an account's are; nil: an output brings its own key.
	AWS func(context.Context, config.Account) (aws.Config, error)
}

// An Observer hears how outputs fare, synchronously; it must not block. web.Metrics is one.
type Observer interface {
	OutputSent(output string, records int)
	OutputFailed(output string, lost int) // a Send or Flush failed; lost is the records that it cost
	OutputUp(output string, up bool)      // at Open, and whenever it changes
	OutputClosed(output string)

	// Of outputs with a spool: what waits in it, records that it dropped and why (full, damaged), one that the receiver
	// refused and that was set aside, a request that is to be made again.
	OutputSpool(output string, records int, bytes int64, oldest time.Time)
	OutputDropped(output string, records int, reason string)
	OutputDeadLetter(output string)
	OutputRetried(output string)
}
