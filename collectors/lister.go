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

// Where says on whose behalf and where to list.
type Where struct {
	Session   Session
	Region    string
	Enabled   bool // AWS has said that the region is enabled for the account: then a refused key is a bad key
	Gate      Gate
	Stamp     *record.Stamp // the envelope of the records; not used by Regions and Try
	Sensitive string        // digest, clear or drop; "" is digest
}

// Options is what the program passes in.
type Options struct {
	AWS         aws.Config    // loaded once for the process
	Pages       *record.Pages // the bound on memory
	Attempts    int           // of one call, the first included; 5 if 0
	MaxBackoff  time.Duration // between two attempts; 20 s if 0
	CallTimeout time.Duration // how long an attempt waits for the first byte, and for each next one; 1 m if 0
	GZIP        bool          // ask for compressed answers
	DigestKey   []byte        // of the digests of sensitive members
	Log         *slog.Logger  // unknown members of an answer, at debug; nil discards
}

// A Lister holds what all listings share: the clients, the pages, the compiled kinds. Any number of goroutines may use it.
type Lister struct {
	o     Options
	call  *ec2call.Caller
	progs map[string]func() (*ec2xml.Program, error)
	seed  maphash.Seed
	decs  sync.Pool // of *ec2xml.Decoder
}

// New does no I/O. A kind is compiled when it is first listed: few configurations list all.
func New(o Options) (*Lister, error) {
	if o.Pages == nil {
		return nil, errors.New("collectors: no pages")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	l := &Lister{o: o, progs: make(map[string]func() (*ec2xml.Program, error), len(Kinds)), seed: maphash.MakeSeed(), call: ec2call.New(ec2call.Options{
		AWS: o.AWS, Attempts: o.Attempts, MaxBackoff: o.MaxBackoff, FirstByte: o.CallTimeout, GZIP: o.GZIP})}
	for i := range Kinds {
		l.progs[Kinds[i].Name] = sync.OnceValues(func() (*ec2xml.Program, error) { return ec2xml.Compile(Kinds[i].spec()) })
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
func (l *Lister) List(ctx context.Context, w Where, k *Kind, parent string, emit func(context.Context, *record.Page) error) (Stats, error) {
	var st Stats
	compiled, ok := l.progs[k.Name]
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
	g := listing{l: l, w: w, k: k, creds: &lastUsed{Session: w.Session}, st: &st, emit: emit, tokens: map[uint64]struct{}{},
		prog: prog, opt: ec2xml.Options{Stamp: w.Stamp, Sensitive: mode, DigestKey: l.o.DigestKey},
		req: ec2call.Request{Op: k.Op, Max: k.Max, Params: k.params(w.Region, parent)}}
	err = g.run(ctx)
	if st.Unknown > 0 {
		l.o.Log.DebugContext(ctx, "answer has members that this version does not know", "kind", k.Name, "region", w.Region, "members", st.Unknown)
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

// managed is the input that asks also for what AWS's services manage in the account, where the account hides that.
const managed = "IncludeManagedResources"

// params is what the request needs. managed is sent in partition aws alone: the others are behind, and refuse a parameter
// that they do not know.
func (k *Kind) params(region, parent string) map[string]string {
	op, _ := ec2xml.Describe(k.Op)
	part, ok := record.PartitionOf(region)
	all := ok && part.ID == "aws" && op.Has(managed)
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
		p[managed] = "true"
	}
	return p
}

// A listing is one List, from its first page to its end.
type listing struct {
	l      *Lister
	w      Where
	k      *Kind
	prog   *ec2xml.Program
	opt    ec2xml.Options
	creds  *lastUsed
	req    ec2call.Request
	emit   func(context.Context, *record.Page) error
	st     *Stats
	seen   record.Seen
	tokens map[uint64]struct{} // hashes of all tokens that were sent
}

func (g *listing) run(ctx context.Context) error {
	for renewed, anew := false, false; ; {
		next, err := g.page(ctx)
		switch {
		case err == nil:
			g.creds.allowed(g.k.Action())
		case g.creds.denied(ctx, g.k.Action(), err) && !anew:
			anew = true
			continue
		case expired(err) && !renewed:
			renewed = true
			if err := g.creds.renew(ctx); err != nil {
				return g.l.fault(g.w, g.k, err)
			}
			continue // the same token again: no page is lost
		case g.none(err):
			return nil
		default:
			return g.l.fault(g.w, g.k, err)
		}
		if next == "" {
			return nil
		}
		h := maphash.String(g.l.seed, next)
		if _, again := g.tokens[h]; again {
			return g.l.fault(g.w, g.k, ErrRepeatedToken)
		}
		g.tokens[h] = struct{}{}
		g.req.Token, renewed = next, false
	}
}

// none reports whether a refusal means that there is nothing to list: the API says so for some singletons, and for the
// children of a resource that has gone since it was listed.
func (g *listing) none(err error) bool {
	code := record.CodeOf(err)
	return code != "" && code == g.k.Absent || g.k.Parent != "" && strings.HasSuffix(code, ".NotFound")
}

// page gets one answer and hands it on. The page is this function's from Take to Return.
func (g *listing) page(ctx context.Context) (next string, err error) {
	var p *record.Page
	back := func() {
		if p != nil {
			g.l.o.Pages.Return(p)
			p = nil
		}
	}
	defer back()
	err = g.l.call.Call(ctx, g.creds, g.w.Region, g.w.Gate, g.req, func(body io.Reader) error {
		if p = g.l.o.Pages.Take(ctx.Done()); p == nil {
			return context.Cause(ctx)
		}
		d, _ := g.l.decs.Get().(*ec2xml.Decoder)
		if d == nil {
			d = new(ec2xml.Decoder)
		}
		defer g.l.decs.Put(d)
		if next, err = d.Decode(g.prog, g.opt, body, p); err != nil {
			back() // before the SDK sleeps for its next attempt
		}
		return err
	})
	if err != nil {
		return "", err
	}
	g.st.Pages++
	g.st.Unknown += p.Unknown()
	g.st.Duplicates += p.Dedupe(&g.seen)
	if p.Len() == 0 {
		return next, nil
	}
	if err := g.emit(ctx, p); err != nil {
		return "", &emitted{err}
	}
	g.st.Records += p.Len()
	return next, nil
}

// emitted marks an error as emit's own: no fault of AWS's.
type emitted struct{ err error }

func (e *emitted) Error() string { return e.err.Error() }
func (e *emitted) Unwrap() error { return e.err }

// lastUsed is a session that knows which credentials it gave out last. It is for one listing.
type lastUsed struct {
	Session
	last aws.Credentials
}

func (u *lastUsed) Retrieve(ctx context.Context) (aws.Credentials, error) {
	c, err := u.Session.Retrieve(ctx)
	if err == nil {
		u.last = c
	}
	return c, err
}

// renew throws away the credentials that AWS called expired, unless another listing has done so: the session is shared
// by all regions, and each of them throwing away what the one before it has got would make many sign-ins of one.
func (u *lastUsed) renew(ctx context.Context) error {
	now, err := u.Session.Retrieve(ctx)
	if err == nil && now.AccessKeyID == u.last.AccessKeyID && now.SessionToken == u.last.SessionToken {
		u.Session.Invalidate()
	}
	return err
}

func (u *lastUsed) allowed(action string) {
	if r, ok := u.Session.(Renewer); ok {
		r.Allowed(action)
	}
}

// denied reports whether the call is to be made again, with credentials that came in the place of those to which it was denied.
func (u *lastUsed) denied(ctx context.Context, action string, err error) bool {
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
