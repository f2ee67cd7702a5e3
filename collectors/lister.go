package collectors

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"iter"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/aws-collector/collector/collectors/internal/awsxml"
	"github.com/aws-collector/collector/collectors/internal/call"
	"github.com/aws-collector/collector/record"
)

// A Session provides the credentials of a listing.
type Session interface {
	aws.CredentialsProvider
	RejectCurrent() // the next Retrieve gets new credentials
}

// A Renewer is a [Session] whose credentials can be revoked before they expire. AWS then denies what it allowed before.
type Renewer interface {
	// Allowed reports an action that AWS allowed.
	Allowed(action string)
	// Denied reports an action that AWS denied to these credentials. It returns true if the session has other
	// credentials now, so that the call should be repeated.
	Denied(ctx context.Context, c aws.Credentials, action string) bool
}

// A Gate admits each attempt of a call, retries included, and is informed of its result.
type Gate interface {
	// Enter waits until op of a service may be called. The caller calls leave once, after it has read or abandoned the
	// response. code is "" for a success, else AWS's error code, else "http_503" for a status without an error code, else
	// a [record.Reason]: network, timeout, bad_answer, interrupted, error, panic.
	Enter(ctx context.Context, service, op string) (leave func(code string), err error)
}

// CallOptions hold the account, the region and the limits of a call.
type CallOptions struct {
	Session       Session
	Region        string
	AccountID     string // of the session; for Check, which asks for resources that do not exist
	RegionEnabled bool   // known to be enabled for the account, so a refused key is a bad key
	Gate          Gate
	Envelope      *record.Envelope // the envelope of the records; unused by Regions and Check
	Sensitive     string           // digest, clear or drop; "" is digest
}

// Options configure a [Lister].
type Options struct {
	AWS         aws.Config       // loaded once for the process
	Pages       *record.PagePool // bounds the memory
	Attempts    int              // of one call, the first included; 5 if 0
	MaxBackoff  time.Duration    // between two attempts; 20 s if 0
	CallTimeout time.Duration    // wait for the first byte of a response, and for each next one; 1 m if 0
	GZIP        bool             // ask for compressed responses
	SDKStack    bool             // call EC2 through the SDK's middleware, as earlier releases did; see internal/call
	DigestKey   []byte           // key of the digests of sensitive members
	Log         *slog.Logger     // logs unknown members of responses, at debug level; nil discards
}

// A Lister holds what all listings share: the clients, the pages, the compiled kinds. Its methods may be called
// concurrently.
type Lister struct {
	options  Options
	caller   *call.Caller
	programs map[string]func() (programs, error)
	seed     maphash.Seed
	decoders sync.Pool // of *awsxml.Decoder
	aside    sync.Pool // of *record.Page: for responses that are decoded at once and are not delivered
}

// programs decode the responses of a kind and, if it has TagsBy, those with tags.
type programs struct{ list, tags *awsxml.Program }

// New does no I/O. A kind is compiled when it is first listed, because few configurations list all.
func New(o Options) (*Lister, error) {
	if o.Pages == nil {
		return nil, errors.New("collectors: Options.Pages is nil")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	l := &Lister{
		options:  o,
		programs: make(map[string]func() (programs, error), len(Kinds)),
		seed:     maphash.MakeSeed(),
		caller: call.New(call.Options{
			AWS: o.AWS, Attempts: o.Attempts, MaxBackoff: o.MaxBackoff, FirstByte: o.CallTimeout, GZIP: o.GZIP,
			SDKStack: o.SDKStack,
		}),
	}
	for i := range Kinds {
		l.programs[Kinds[i].Name] = sync.OnceValues(func() (p programs, err error) {
			if p.list, err = Kinds[i].compile(); err == nil {
				p.tags, err = Kinds[i].compileTags()
			}
			return p, err
		})
	}
	return l, nil
}

// ErrRepeatedToken means that AWS repeated the token of a page, so the listing would not end.
var ErrRepeatedToken = errors.New("AWS repeated the token of a page: the listing would not end")

// Pages lists a kind. parent is the id of the parent's resource for a kind that has a Parent, else "".
//
// A page is lent until the loop asks for the next one; it is returned however the loop ends. It comes only after the
// whole response has been read and the call has returned without an error, so a retry shows nothing twice. Pages
// without resources are left out. The records stay valid if the listing fails later.
//
// An error comes last, without a page. It is a [*record.Fault], except where the context ended the listing: then it
// holds the context's cause.
func (l *Lister) Pages(
	ctx context.Context, o CallOptions, k *Kind, parent string, st *record.ListStats,
) iter.Seq2[*record.Page, error] {
	return func(yield func(*record.Page, error) bool) {
		g, err := l.newListing(o, k, parent, st)
		if err == nil {
			err = g.run(ctx, yield)
		}
		if err != nil && err != errStopped {
			yield(nil, err)
		}
	}
}

func (l *Lister) newListing(o CallOptions, k *Kind, parent string, st *record.ListStats) (*listing, error) {
	compiled, ok := l.programs[k.Name]
	if !ok {
		return nil, fmt.Errorf("kind %q is not in the catalogue", k.Name)
	}
	prog, err := compiled()
	if err != nil {
		return nil, fmt.Errorf("kind %s: %w", k.Name, err)
	}
	if (parent == "") != (k.Parent == "") {
		return nil, fmt.Errorf("kind %s: parent is %q, of kind %q", k.Name, parent, k.Parent)
	}
	if err := k.Service().unavailable(o.Region); err != nil {
		return nil, err
	}
	mode, err := modeOf(o.Sensitive)
	if err != nil {
		return nil, err
	}
	g := &listing{
		lister:      l,
		callOptions: o,
		kind:        k,
		program:     prog.list,
		tagsProgram: prog.tags,
		decodeOptions: awsxml.Options{
			Envelope: o.Envelope, Sensitive: mode, DigestKey: l.options.DigestKey, Under: parent,
		},
		creds:  &trackedSession{Session: o.Session},
		stats:  st,
		tokens: map[uint64]struct{}{},
	}
	g.req = k.request(o, g.creds, parent)
	return g, nil
}

func modeOf(sensitive string) (awsxml.Mode, error) {
	switch sensitive {
	case "", "digest":
		return awsxml.Digest, nil
	case "clear":
		return awsxml.Clear, nil
	case "drop":
		return awsxml.Drop, nil
	}
	return 0, fmt.Errorf("unknown value %q of sensitive: known values: digest, clear, drop", sensitive)
}

// includeManaged is the input that also lists the resources that AWS services manage in the account and hide.
const includeManaged = "IncludeManagedResources"

// params returns the parameters of the request. It sends includeManaged in partition aws only: the other partitions lag
// behind and refuse unknown parameters.
func (k *Kind) params(region, parent string) map[string]string {
	op, _ := k.operation()
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

// request returns the request for the kind's first page.
func (k *Kind) request(o CallOptions, creds aws.CredentialsProvider, parent string) call.Request {
	s := k.Service()
	return call.Request{
		Service: &s.api, Region: o.Region, Credentials: creds, Gate: serviceGate{o.Gate, s.Name},
		Op: k.Op, Max: k.Max, Params: k.params(o.Region, parent),
	}
}

// serviceGate is the gate of one service's operations.
type serviceGate struct {
	gate    Gate
	service string
}

func (g serviceGate) Enter(ctx context.Context, op string) (leave func(code string), err error) {
	return g.gate.Enter(ctx, g.service, op)
}

// A listing is the state of one loop over pages.
type listing struct {
	lister        *Lister
	callOptions   CallOptions
	kind          *Kind
	program       *awsxml.Program
	tagsProgram   *awsxml.Program // of the kind's TagsBy
	decodeOptions awsxml.Options
	creds         *trackedSession
	req           call.Request
	stats         *record.ListStats
	setAside      record.SetAside
	seenIDs       record.SeenIDs      // also after it began anew
	tokens        map[uint64]struct{} // hashes of all tokens that were sent

	// What was repeated already. A page may renew the session and lose a race once, a listing do the others once.
	renewed, raced, denied, restarted bool
}

// errStopped means that the loop over the pages has ended early.
var errStopped = errors.New("the loop has ended")

func (g *listing) run(ctx context.Context, yield func(*record.Page, error) bool) error {
	defer g.logUnknown(ctx)
	for {
		next, err := g.listPage(ctx, yield)
		if err == errStopped {
			return err
		}
		again, err := g.again(ctx, err)
		switch code := record.CodeOf(err); {
		case again:
			continue
		case err != nil && code != "" && code == g.kind.AbsentCode:
			return nil // some APIs report in this way that a singleton does not exist
		case err != nil:
			return g.lister.fault(g.callOptions, g.kind, err)
		}
		g.creds.allowed(g.kind.Action())
		if next == "" {
			return g.end()
		}
		h := maphash.String(g.lister.seed, next)
		if _, sent := g.tokens[h]; sent {
			return g.lister.fault(g.callOptions, g.kind, ErrRepeatedToken)
		}
		g.tokens[h] = struct{}{}
		g.req.Token, g.renewed, g.raced = next, false, false
	}
}

// end ends a listing whose pages all came. Without their ids, it is not known which resources are gone.
func (g *listing) end() error {
	if g.setAside.Unnamed == 0 {
		return nil
	}
	return g.lister.fault(g.callOptions, g.kind, fmt.Errorf("%w: %d: %s",
		record.ErrIDUnread, g.setAside.Unnamed, strings.Join(g.setAside.Causes, "; ")))
}

// again reports whether to repeat a call after its error, and returns the error to report if not.
func (g *listing) again(ctx context.Context, err error) (bool, error) {
	if err == nil {
		return false, nil
	}
	renewed, err := g.creds.keyRefused(ctx, g.callOptions, g.kind, err)
	code := record.CodeOf(err)
	switch {
	case renewed:
		return once(&g.renewed), err
	case g.creds.denied(ctx, g.kind.actionOf(g.kind.opOf(err)), err):
		return once(&g.denied), err
	case expired(err):
		if !once(&g.renewed) {
			return false, err
		}
		err := g.creds.renew(ctx)
		return err == nil, err // with the same token, so no page is lost
	case g.kind.Parent == "" && record.IsNotFoundCode(code) && code != g.kind.AbsentCode:
		return once(&g.raced), err // a resource was deleted while EC2 put the page together
	case g.req.Token != "" && (tokenRefused(code) || record.ReasonOfCode(code) == record.BadRequest):
		// The first page was asked for with the same parameters, so EC2 refuses the token: it has expired, or another
		// server gave it. Ids that were delivered are not delivered again.
		if !once(&g.restarted) {
			return false, err
		}
		g.req.Token = ""
		clear(g.tokens)
		return true, err
	}
	return false, err
}

// once reports whether done was false, and sets it.
func once(done *bool) bool {
	first := !*done
	*done = true
	return first
}

// tokenRefused reports whether an error code is about the token of a page.
func tokenRefused(code string) bool {
	return code == "InvalidNextToken" || code == "InvalidPaginationToken" || code == "ExpiredNextToken"
}

func (g *listing) logUnknown(ctx context.Context) {
	if g.stats.Unknown > 0 {
		g.lister.options.Log.DebugContext(ctx, "response has unknown members",
			"kind", g.kind.Name, "region", g.callOptions.Region, "members", g.stats.Unknown)
	}
}

// listPage gets one response and lends its page to the loop. It has the page from Take to Return, also if the loop
// panics.
func (g *listing) listPage(ctx context.Context, yield func(*record.Page, error) bool) (next string, err error) {
	var p *record.Page
	returnPage := func() {
		if p != nil {
			g.lister.options.Pages.Return(p)
			p = nil
		}
	}
	defer returnPage()
	options := g.decodeOptions
	decode := func(body io.Reader) error {
		if p = g.lister.options.Pages.Take(ctx); p == nil {
			return context.Cause(ctx)
		}
		if next, err = g.lister.decode(g.program, options, body, p); err != nil {
			returnPage() // before the SDK waits for its next attempt
		}
		return err
	}
	if g.kind.TagsBy == nil {
		err = g.lister.caller.Call(ctx, g.req, decode)
	} else {
		var body []byte
		var tags tagsOf
		if body, tags, err = g.listTagged(ctx); err == nil {
			options.Tags = g.lookUp(tags)
			err = decode(bytes.NewReader(body))
		}
	}
	if err != nil {
		return "", err
	}
	g.stats.Pages++
	g.stats.Unknown += p.Unknown()
	g.stats.Duplicates += p.Dedupe(&g.seenIDs)
	g.setAside.Add(p.SetAside())
	n := p.Len()
	if n == 0 && len(p.SetAside().IDs) == 0 {
		return next, nil
	}
	if !yield(p, nil) {
		return "", errStopped
	}
	g.stats.Records += n
	return next, nil
}

func (l *Lister) decode(
	prog *awsxml.Program, o awsxml.Options, body io.Reader, p *record.Page,
) (next string, err error) {
	d, _ := l.decoders.Get().(*awsxml.Decoder)
	if d == nil {
		d = new(awsxml.Decoder)
	}
	defer l.decoders.Put(d)
	return d.Decode(prog, o, body, p)
}

// trackedSession is a session that records its latest credentials, for one listing.
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

// renew invalidates the credentials that AWS called expired, unless another listing has done so. All regions share the
// session: if each region invalidated the credentials that the previous one has just renewed, there would be many
// sign-ins instead of one.
func (u *trackedSession) renew(ctx context.Context) error {
	now, err := u.Session.Retrieve(ctx)
	if err == nil && now.AccessKeyID == u.last.AccessKeyID && now.SessionToken == u.last.SessionToken {
		u.Session.RejectCurrent()
	}
	return err
}

func (u *trackedSession) allowed(action string) {
	if r, ok := u.Session.(Renewer); ok {
		r.Allowed(action)
	}
}

// denied reports whether the call should be repeated, because the denied credentials have been replaced.
func (u *trackedSession) denied(ctx context.Context, action string, err error) bool {
	if record.ReasonOfCode(record.CodeOf(err)) != record.AccessDenied {
		return false
	}
	switch deniedBy(err) {
	case "", explicitDeny: // AWS reports a revocation in these ways
		r, ok := u.Session.(Renewer)
		return ok && r.Denied(ctx, u.last, action)
	}
	return false
}

func expired(err error) bool { return record.ReasonOfCode(record.CodeOf(err)) == record.Expired }
