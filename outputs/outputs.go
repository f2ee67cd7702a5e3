// Package outputs defines what an output is: it takes finished JSON lines and sends them to a receiver. Outputs know
// receivers; they do not know AWS or runs.
//
// Begin with [Output] and [Type]. Each output has a folder with its options, their defaults and Validate, and its Type.
// Package all lists the types. Package deliver opens outputs and wraps them: spool, isolation, changes, filters.
// line.go decodes a line for outputs that send another format; shape.go has where and rename.
//
// To add an output, write a folder, add its Type to the list in package all, and a test that runs the suite of package
// outputstest, which every output passes.
package outputs

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/record"
)

// A Batch is a group of lines. Its ID stays the same when the batch is sent again. Lines is borrowed until Send
// returns.
type Batch struct {
	ID     string
	Target record.Target // zero if a spool combined lines of several targets
	Run    string        // "" if the lines belong to several runs
	N      int           // records in Lines; 0 for a line that is not a record, such as the end of a target
	Lines  []byte        // whole lines, each with its \n
}

// An Output sends batches. Many goroutines may call it. Send delivers a whole batch or returns an error. It may return
// before the receiver has the batch only if Flush then waits for it. Flushed batches survive a kill of the process.
// After Close, Send and Flush return [ErrClosed].
type Output interface {
	Send(context.Context, Batch) error
	Flush(context.Context) error
	Close(context.Context) error // may be called twice
}

var (
	// ErrClosed is returned by an output after its Close.
	ErrClosed = errors.New("output is closed")
	// ErrPermanent marks an error that no retry can fix, such as a pipe whose reader has exited.
	ErrPermanent = errors.New("output failed permanently")
	// ErrRefused marks an error of Send when the receiver will never accept this batch because of its content. A spool
	// halves such a batch until the bad record stands alone.
	ErrRefused = errors.New("refused by the receiver")
	// ErrReceiverFailed marks an error of Send when the receiver answered that it failed, as with HTTP status 500. Either
	// the content or the receiver is at fault. A spool finds out which before it sets a record aside.
	ErrReceiverFailed = errors.New("the receiver failed")
)

// A RetryAfterError is an error of Send that says how long to wait before the next attempt.
type RetryAfterError struct {
	After time.Duration
	Err   error
}

func (l *RetryAfterError) Error() string { return l.Err.Error() }
func (l *RetryAfterError) Unwrap() error { return l.Err }

// Batching limits how much a spool passes to its output in one Send. Options of an output embed it with their own
// defaults.
type Batching struct {
	MaxRecords int             `yaml:"max_records" doc:"Records per request, at most."`
	MaxBytes   Bytes           `yaml:"max_bytes" doc:"Bytes per request before compression. A larger record goes alone."`
	MaxWait    config.Duration `yaml:"max_wait" doc:"How long a request waits to fill up, such as 1s. Requests do not wait when the program stops."`
}

func (b *Batching) batching() *Batching { return b }

// DefaultBatching is for outputs without limits of their own.
var DefaultBatching = Batching{MaxRecords: 5000, MaxBytes: 4 << 20}

// BatchingOf returns the limits in an output's options, or the defaults.
func BatchingOf(options any) Batching {
	if o, ok := options.(interface{ batching() *Batching }); ok {
		return *o.batching()
	}
	return DefaultBatching
}

// A Type is an output that a configuration can name.
type Type struct {
	Name string
	// Options returns a pointer to a struct with the defaults. The struct embeds [Common], or the options of package
	// served if Serve is set. Package config decodes and validates it.
	Options func() any
	// Key names what can be open only once, such as a file or an HTTP path. Two outputs of one configuration with the same
	// key are an error. At a reload the output with the same key stays open and takes the new options. A nil Key or ""
	// means that there is no limit.
	Key    func(options any) string
	Open   func(ctx context.Context, options any, d Deps) (Output, error)
	Direct bool // needs no spool: stdout, file
	// Translates is set if the output reads the lines and sends another format. Its fields cannot be renamed.
	Translates bool
	// Serve makes an output that answers HTTP requests from [Deps].Store instead of sending. Its type has no Open.
	Serve func(name string, options any, d Deps) (Served, error)
}

// NewOptions returns options with their defaults, for package config to decode into.
func (t Type) NewOptions() any {
	o := t.Options()
	if c := CommonOf(o); c != nil {
		c.translates = t.Translates
	}
	return o
}

// The values of the option send. Another value is an error of package config; "" is records.
const (
	SendChanges = "changes"
	SendBoth    = "both"
)

// Common holds the options of every output that sends.
type Common struct {
	Name string `yaml:"name" doc:"Name in metrics and logs. Default: the type, then type-2, type-3 and so on."`
	Ends bool   `yaml:"ends" doc:"Also write a line {\"kind\":\"_target\",...} at the end of each target."`
	Send string `yaml:"send" enum:"records,changes,both" doc:"records (the default): everything, at every run. changes: resources that were added, changed or gone after the output was first configured, as collector changes -o jsonl prints them; needs a store."`

	Shaping `yaml:",inline"`
	// Spool is nil if the configuration does not set it: then stdout and file have no spool, and all others have one with
	// the defaults.
	Spool *Spool `yaml:"spool" doc:"Spool on disk, below data_dir. stdout and file have one only if this is set."`

	translates bool // of the type
}

func (c *Common) common() *Common { return c }

// CommonOf returns the common part of an output's options; nil if the output answers requests.
func CommonOf(options any) *Common {
	if o, ok := options.(interface{ common() *Common }); ok {
		return o.common()
	}
	return nil
}

// HasSpool reports whether an output of the type has a spool.
func (c *Common) HasSpool(t Type) bool { return c.Spool != nil || !t.Direct }

// ValidateCommon returns all errors in these options.
func (c *Common) ValidateCommon() error {
	err := c.Shaping.validate(c.translates)
	if c.Ends && c.Send == SendChanges {
		err = errors.Join(err, errors.New("ends: cannot be set with send: changes, which sends no records of targets"))
	}
	return err
}

// WantsChanges reports whether the output gets changes.
func (c *Common) WantsChanges() bool { return c.Send == SendChanges || c.Send == SendBoth }

// NeedsStore tells package config whether an option needs a store, and which one.
func (c *Common) NeedsStore() (option, value string, needs bool) {
	return "send", c.Send, c.WantsChanges()
}

// WantsRecords reports whether the output gets records.
func (c *Common) WantsRecords() bool { return c.Send != SendChanges }

// A Reconfigurer is an output that takes new options while it is open. A reload uses it for an output that keeps its
// key.
type Reconfigurer interface{ Reconfigure(options any) }

// KeyFile returns the file of an output's client key, or "".
func KeyFile(options any) string {
	if o, ok := options.(interface{ ClientKeyFile() string }); ok {
		return o.ClientKeyFile()
	}
	return ""
}

// Cleartext returns the options of an output with which others on the network can read what it sends, or answer in the
// receiver's place. Each [config.Problem] names the option, and shows no value.
func Cleartext(options any) []config.Problem {
	if o, ok := options.(interface{ Cleartext() []config.Problem }); ok {
		return o.Cleartext()
	}
	return nil
}

// Deps holds what outputs need from the program.
type Deps struct {
	Stdout   io.Writer
	Log      *slog.Logger
	Observer Observer         // may be nil
	SpoolDir string           // holds one directory per spool
	Store    inventory.Reader // nil: there is no store
	// CursorDir holds one file per output: the last change that was sent.
	CursorDir string
	// AWS returns the SDK's configuration with the account's credentials. If it is nil, outputs need keys of their own.
	AWS func(context.Context, config.Account) (aws.Config, error)
	// Kind returns what the catalogue says of a kind. Without it, resources have neither state nor type.
	Kind func(name string) record.KindInfo
}

// KindInfo returns what is known of a kind.
func (d Deps) KindInfo(name string) record.KindInfo {
	if d.Kind == nil {
		return record.KindInfo{ShortName: name}
	}
	return d.Kind(name)
}

// An Observer is called synchronously when the state of an output changes. It must not block. web.Metrics implements
// it.
type Observer interface {
	OutputSent(output string, records int)
	OutputFailed(output string, lost int) // a Send or Flush failed and lost that many records
	OutputUp(output string, up bool)      // at Open, and at every change
	OutputClosed(output string)

	// These are for outputs with a spool: its content; records that it dropped, with the reason full or damaged; a record
	// that was set aside; a request that will be repeated.
	OutputSpool(output string, records int, bytes int64, oldest time.Time)
	OutputDropped(output string, records int, reason string)
	OutputDeadLetter(output string)
	OutputRetried(output string)
}

// Served is an output's handler of GET requests, with its path on the web server.
type Served struct {
	Path    string
	Handler http.Handler
}

// An AnswerObserver is told about the answers of served outputs. An [Observer] may implement it.
type AnswerObserver interface {
	// OutputAnswered reports how many resources an answer shows, and how many it leaves out, by reason.
	OutputAnswered(output string, shown int, leftOut map[string]int)
}
