package collectors

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/aws-collector/collector/collectors/internal/ec2call"
	"github.com/aws-collector/collector/collectors/internal/ec2xml"
	"github.com/aws-collector/collector/record"
)

// A Session is what a listing needs of a sign-in.
type Session interface {
	aws.CredentialsProvider
	Invalidate() // the next Retrieve asks anew
}

// A Renewer is a [Session] whose credentials can be taken back before their end, without AWS calling them expired: it denies
// what it allowed before.
type Renewer interface {
	Allowed(action string) // AWS allowed it
	// Denied hears what AWS denied to these credentials. true: there are others now, so try again.
	Denied(ctx context.Context, c aws.Credentials, action string) bool
}

// A Gate is asked before each attempt of a call, retries included, and told how it ended.
type Gate interface {
	// Enter waits for leave to call op. leave is called once, when the attempt's answer has been read or given up; code
	// is "" for a success, else AWS's error code, else "http_503" where a status came without one, else a [record.Reason]:
	// network, timeout, bad_answer, interrupted, error, panic.
	Enter(ctx context.Context, op string) (leave func(code string), err error)
}

// CallOptions says on whose behalf and where to list.
type CallOptions struct {
	Session       Session
	Region        string
	RegionEnabled bool // AWS has said that the region is enabled for the account: then a refused key is a bad key
	Gate          Gate
	Envelope      *record.Envelope // the envelope of the records; not used by Regions and Try
	Sensitive     string           // digest, clear or drop; "" is digest
}

// Options is what the program passes in.
type Options struct {
	AWS         aws.Config       // loaded once for the process
	Pages       *record.PagePool // the bound on memory
	Attempts    int              // of one call, the first included; 5 if 0
	MaxBackoff  time.Duration    // between two attempts; 20 s if 0
	CallTimeout time.Duration    // how long an attempt waits for the first byte, and for each next one; 1 m if 0
	GZIP        bool             // ask for compressed answers
	DigestKey   []byte           // of the digests of sensitive members
	Log         *slog.Logger     // unknown members of an answer, at debug; nil discards
}

// A Lister holds what all listings share: the clients, the pages, the compiled kinds. Any number of goroutines may use it.
type Lister struct {
	options  Options
	caller   *ec2call.Caller
	programs map[string]func() (*ec2xml.Program, error)
	seed     maphash.Seed
	decoders sync.Pool // of *ec2xml.Decoder
}

// New does no I/O. A kind is compiled when it is first listed: few configurations list all.
func New(o Options) (*Lister, error) {
	if o.Pages == nil {
		return nil, errors.New("collectors: no pages")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	l := &Lister{options: o, programs: make(map[string]func() (*ec2xml.Program, error), len(Kinds)), seed: maphash.MakeSeed(), caller: ec2call.New(ec2call.Options{
		AWS: o.AWS, Attempts: o.Attempts, MaxBackoff: o.MaxBackoff, FirstByte: o.CallTimeout, GZIP: o.GZIP})}
	for i := range Kinds {
		l.programs[Kinds[i].Name] = sync.OnceValues(func() (*ec2xml.Program, error) { return ec2xml.Compile(Kinds[i].spec()) })
	}
	return l, nil
}

// Stats is what a listing tells besides its pages.
type Stats struct {
	Pages      int // answers that were whole, the empty ones included
	Records    int // that were emitted
	Duplicates int // records that came again; they are emitted once
	Unknown    int // members that the tables do not know; they are carried
}

// ErrRepeatedToken is EC2 leading a listing in a circle.
var ErrRepeatedToken = errors.New("a NextToken came twice, so the listing has no end")

// List lists a kind, page by page. parent is the id of the parent's resource for a kind that has a Parent, else "".
//
// emit borrows a page for the call. It sees a page only when the answer has been read to its end and the call has
// returned without an error, so a retry shows nothing twice; a page without records is not shown. What was emitted
// stands when List fails.
//
// The error is a [*record.Fault], except where the context or emit ended the listing: then it holds their error.
func (l *Lister) List(ctx context.Context, w CallOptions, k *Kind, parent string, emit func(context.Context, *record.Page) error) (Stats, error) {
	var st Stats
	compiled, ok := l.programs[k.Name]
	if !ok {
		return st, fmt.Errorf("kind %q is not in the catalogue", k.Name)
	}
	prog, err := compiled()
	if err != nil {
		return st, fmt.Errorf("kind %s: %w", k.Name, err)
	}
	if (parent == "") != (k.Parent == "") {
		return st, fmt.Errorf("kind %s: parent is %q, of kind %q", k.Name, parent, k.Parent)
	}
	mode, err := modeOf(w.Sensitive)
	if err != nil {
		return st, err
	}
	g := listing{lister: l, callOptions: w, kind: k, creds: &trackedSession{Session: w.Session}, stats: &st, emit: emit, tokens: map[uint64]struct{}{},
		program: prog, decodeOptions: ec2xml.Options{Envelope: w.Envelope, Sensitive: mode, DigestKey: l.options.DigestKey},
		req: ec2call.Request{Op: k.Op, Max: k.Max, Params: k.params(w.Region, parent)}}
	err = g.run(ctx)
	if st.Unknown > 0 {
		l.options.Log.DebugContext(ctx, "answer has members that this version does not know", "kind", k.Name, "region", w.Region, "members", st.Unknown)
	}
	return st, err
}

func modeOf(sensitive string) (ec2xml.Mode, error) {
	switch sensitive {
	case "", "digest":
		return ec2xml.Digest, nil
	case "clear":
		return ec2xml.Clear, nil
	case "drop":
		return ec2xml.Drop, nil
	}
	return 0, fmt.Errorf("sensitive %q: neither digest, clear nor drop", sensitive)
}

// includeManaged is the input that asks also for what AWS's services manage in the account, where the account hides that.
const includeManaged = "IncludeManagedResources"

// params is what the request needs. managed is sent in partition aws alone: the others are behind, and refuse a parameter
// that they do not know.
func (k *Kind) params(region, parent string) map[string]string {
	op, _ := ec2xml.Describe(k.Op)
	part, ok := record.PartitionOf(region)
	all := ok && part.ID == "aws" && op.Has(includeManaged)
	if k.Parent == "" && !all {
		return k.Params
	}
	p := maps.Clone(k.Params)
	if p == nil {
		p = map[string]string{}
	}
	if k.Parent != "" {
		p[k.ParentParam] = parent
	}
	if all {
		p[includeManaged] = "true"
	}
	return p
}

// A listing is one List, from its first page to its end.
type listing struct {
	lister        *Lister
	callOptions   CallOptions
	kind          *Kind
	program       *ec2xml.Program
	decodeOptions ec2xml.Options
	creds         *trackedSession
	req           ec2call.Request
	emit          func(context.Context, *record.Page) error
	stats         *Stats
	seenIDs       record.SeenIDs
	tokens        map[uint64]struct{} // hashes of all tokens that were sent
}

func (g *listing) run(ctx context.Context) error {
	for renewed, anew := false, false; ; {
		next, err := g.listPage(ctx)
		switch {
		case err == nil:
			g.creds.allowed(g.kind.Action())
		case g.creds.denied(ctx, g.kind.Action(), err) && !anew:
			anew = true
			continue
		case expired(err) && !renewed:
			renewed = true
			if err := g.creds.renew(ctx); err != nil {
				return g.lister.fault(g.callOptions, g.kind, err)
			}
			continue // the same token again: no page is lost
		case g.absent(err):
			return nil
		default:
			return g.lister.fault(g.callOptions, g.kind, err)
		}
		if next == "" {
			return nil
		}
		h := maphash.String(g.lister.seed, next)
		if _, again := g.tokens[h]; again {
			return g.lister.fault(g.callOptions, g.kind, ErrRepeatedToken)
		}
		g.tokens[h] = struct{}{}
		g.req.Token, renewed = next, false
	}
}

// absent reports whether a refusal means that there is nothing to list: the API says so for some singletons, and for the
// children of a resource that has gone since it was listed.
func (g *listing) absent(err error) bool {
	code := record.CodeOf(err)
	return code != "" && code == g.kind.AbsentCode || g.kind.Parent != "" && strings.HasSuffix(code, ".NotFound")
}

// listPage gets one answer and hands it on. The page is this function's from Take to Return.
func (g *listing) listPage(ctx context.Context) (next string, err error) {
	var p *record.Page
	back := func() {
		if p != nil {
			g.lister.options.Pages.Return(p)
			p = nil
		}
	}
	defer back()
	err = g.lister.caller.Call(ctx, g.creds, g.callOptions.Region, g.callOptions.Gate, g.req, func(body io.Reader) error {
		if p = g.lister.options.Pages.Take(ctx.Done()); p == nil {
			return context.Cause(ctx)
		}
		d, _ := g.lister.decoders.Get().(*ec2xml.Decoder)
		if d == nil {
			d = new(ec2xml.Decoder)
		}
		defer g.lister.decoders.Put(d)
		if next, err = d.Decode(g.program, g.decodeOptions, body, p); err != nil {
			back() // before the SDK sleeps for its next attempt
		}
		return err
	})
	if err != nil {
		return "", err
	}
	g.stats.Pages++
	g.stats.Unknown += p.Unknown()
	g.stats.Duplicates += p.Dedupe(&g.seenIDs)
	if p.Len() == 0 {
		return next, nil
	}
	if err := g.emit(ctx, p); err != nil {
		return "", &emitError{err}
	}
	g.stats.Records += p.Len()
	return next, nil
}

// emitError marks an error as emit's own: no fault of AWS's.
type emitError struct{ err error }

func (e *emitError) Error() string { return e.err.Error() }
func (e *emitError) Unwrap() error { return e.err }

// trackedSession is a session that knows which credentials it gave out last. It is for one listing.
type trackedSession struct {
	Session
	last aws.Credentials
}

func (u *trackedSession) Retrieve(ctx context.Context) (aws.Credentials, error) {
	c, err := u.Session.Retrieve(ctx)
	if err == nil {
		u.last = c
	}
	return c, err
}

// renew throws away the credentials that AWS called expired, unless another listing has done so: the session is shared
// by all regions, and each of them throwing away what the one before it has got would make many sign-ins of one.
func (u *trackedSession) renew(ctx context.Context) error {
	now, err := u.Session.Retrieve(ctx)
	if err == nil && now.AccessKeyID == u.last.AccessKeyID && now.SessionToken == u.last.SessionToken {
		u.Session.Invalidate()
	}
	return err
}

func (u *trackedSession) allowed(action string) {
	if r, ok := u.Session.(Renewer); ok {
		r.Allowed(action)
	}
}

// denied reports whether the call is to be made again, with credentials that came in the place of those to which it was denied.
func (u *trackedSession) denied(ctx context.Context, action string, err error) bool {
	if record.ReasonOfCode(record.CodeOf(err)) != record.AccessDenied {
		return false
	}
	switch deniedBy(err) {
	case "", explicitDeny: // that is how a revocation is told
		r, ok := u.Session.(Renewer)
		return ok && r.Denied(ctx, u.last, action)
	}
	return false
}

func expired(err error) bool { return record.ReasonOfCode(record.CodeOf(err)) == record.Expired }
