// Package auth turns an account block into credentials: base → MFA session → role hops → identity check, a file a step.
// Only this package talks to STS, IAM and the metadata services. It does not know kinds, records or runs. Begin at
// [LoadAWS] for the process, at [Sessions.Open] for an account, and at [Step] for a further way to sign in.
package auth

import (
	"context"
	"crypto/sha256"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/secret"
)

// Options is what the program passes in. Only cmd reads the environment, so it comes as a function.
type Options struct {
	AWS        aws.Config          // loaded once for the process by [LoadAWS]
	Getenv     func(string) string // nil: nothing is set
	DataDir    string              // MFA sessions are kept in DataDir/sessions; "": in memory, until the process ends
	SessionKey secret.String       // encrypts them there, see [config.ParseSessionKey]; none: they are in clear
	MFA        MFAStore            // in the place of DataDir
	Claims     Claims              // which account each block was before; nil: only this process remembers
	Log        *slog.Logger        // nil: nothing is logged
}

// Sessions is every account that was entered. It outlives reloads: a session is known by what its block amounts to, not by
// the block's name, so that a renamed account keeps its role session, a changed role gets a new one, and no reload spends an
// MFA code. It is safe for concurrent use. Close it.
type Sessions struct {
	aws      aws.Config
	tokens   tokens
	keys     listAccessKeys
	loaded   *loaded
	getenv   func(string) string
	store    MFAStore
	claims   Claims
	log      *slog.Logger
	life     *life
	sso      *ssoTokens
	metadata *imds.Client
	instance *layer // the one instance role

	organizations *organizationsAPI
	memberTags    memberTags

	mu     sync.Mutex
	layers map[pipeline]*layer
	ages   map[string]*flight[time.Time] // when access keys were made, by id
	swept  time.Time                     // when the idle ones were last forgotten
}

// NewSessions has no session yet, and calls nobody.
func NewSessions(o Options) *Sessions {
	s := &Sessions{
		aws: o.AWS, tokens: newTokens(o.AWS), keys: iam.NewFromConfig(impatient(o.AWS), func(c *iam.Options) { c.HTTPSignerV4 = forgetful{} }).ListAccessKeys, loaded: loadedOf(o.AWS), getenv: o.Getenv, store: o.MFA, claims: o.Claims, log: o.Log,
		layers: make(map[pipeline]*layer), ages: make(map[string]*flight[time.Time]), organizations: newOrganizations(o.AWS),
	}
	if s.getenv == nil {
		s.getenv = func(string) string { return "" }
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	for _, f := range s.loaded.ignored {
		s.log.Warn("AWS setting ignored", "setting", f.Where, "error", f.Text)
	}
	if s.claims == nil {
		s.claims = NewClaims(ClaimsOptions{Log: s.log})
	}
	s.life = newLife(s.log)
	s.sso = &ssoTokens{life: s.life, last: make(map[string]*ssoFlight)}
	switch {
	case s.store != nil:
	case o.DataDir != "":
		s.store = newDirStore(filepath.Join(o.DataDir, "sessions"), o.SessionKey)
	default:
		s.store = new(memoryStore)
	}
	s.metadata = s.loaded.imds(o.AWS)
	s.instance = s.layer(nil, pipeline{}, &imdsStep{client: s.metadata, disabled: func() bool {
		return !s.loaded.ownIMDS() && (s.loaded.env.EC2IMDSClientEnableState == imds.ClientDisabled ||
			strings.EqualFold(s.getenv("AWS_EC2_METADATA_DISABLED"), "true"))
	}})
	return s
}

// Close ends what is under way and waits for it. Sessions that were opened keep what they have.
func (s *Sessions) Close() { s.life.end() }

// A Session is an account, entered. Blocks that amount to the same share the credentials behind it. It is an
// [aws.CredentialsProvider] that renews itself, and never gives another account's credentials than its Identity's.
type Session struct {
	Identity record.Identity

	top   *layer
	entry *entry // nil: whose the credentials are does not matter

	sessions *Sessions
	block    config.Account
	judged   atomic.Pointer[owner] // the last that was held against the block
}

// Path is how it was entered, for people: "ak AKIA…MPLE", "mfa arn:…", "role arn:…".
func (s *Session) Path() []string { return s.top.path() }

// Retrieve gives the current credentials. It waits for STS only where none are valid, and never longer than ctx.
func (s *Session) Retrieve(ctx context.Context) (aws.Credentials, error) {
	if s.entry == nil {
		return s.top.Retrieve(ctx)
	}
	c, of, err := s.entry.retrieve(ctx, s.sessions, "")
	if err != nil {
		return aws.Credentials{}, err
	}
	if err := s.judge(of); err != nil {
		return aws.Credentials{}, err
	}
	return c, nil
}

// Invalidate says that AWS refused the current credentials as expired: the next Retrieve gets new ones, from the inner
// steps on if those are dead too. Of several callers who find out at once, the late ones do no harm.
func (s *Session) Invalidate() { s.top.invalidate() }

// Drop is Invalidate by one who knows which credentials were refused.
func (s *Session) Drop(c aws.Credentials) { s.top.Drop(c) }

// Anew is [Provider].
func (s *Session) Anew(ctx context.Context, c aws.Credentials) (aws.Credentials, bool) {
	return s.top.Anew(ctx, c)
}

// Expires is when the account stops working if nobody does anything: the MFA session's end where there is one, else the end of
// the current credentials, which are renewed before. false: they do not expire.
func (s *Session) Expires() (time.Time, bool) {
	if mfa := s.top.mfa(); mfa != nil {
		return mfa.expires()
	}
	return s.top.expires()
}

// Lapses is when the account stops working unless a person comes: the end of an MFA session for which nothing gives a new code.
// false: nobody has to come.
func (s *Session) Lapses() (time.Time, bool) {
	mfa := s.top.mfa()
	if mfa == nil {
		return time.Time{}, false
	}
	if codes := mfa.step.(*mfaStep).codes; codes != nil && codes.lasts() {
		return time.Time{}, false
	}
	return mfa.expires()
}

// Open signs in, checks who answered against what the block says and what it was before, and sees to it that the credentials
// are valid now. Its error holds a [record.Fault]; the account's name is the caller's to add.
//
// An error is not kept: the next Open tries again. Only a clear refusal (a wrong key, a denied role) is repeated for
// ten seconds without asking AWS, so that many blocks behind one broken base cost one call.
func (s *Sessions) Open(ctx context.Context, a config.Account) (*Session, error) {
	steps, region, err := s.plan(ctx, a)
	if err != nil {
		return nil, err
	}
	e := s.entry(steps)
	_, of, err := e.retrieve(ctx, s, region)
	if err != nil {
		return nil, err
	}
	out := &Session{Identity: of.who, top: e.top, entry: e, sessions: s, block: a}
	if err := out.judge(of); err != nil {
		return nil, err
	}
	return out, nil
}

// entry finds what the steps amount to, or begins it.
func (s *Sessions) entry(steps []Step) *entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	top := s.top(steps)
	if top.entry == nil {
		top.entry = &entry{top: top}
	}
	return top.entry
}

// top is the last layer of the steps. s.mu is held.
func (s *Sessions) top(steps []Step) *layer {
	var top *layer
	var key pipeline
	for _, step := range steps {
		key = key.and(step)
		top = s.layer(top, key, step)
	}
	if top.entry == nil {
		if t := now(); t.Sub(s.swept) > idle/8 { // not each time: ten thousand new accounts would look at each other
			s.forgetIdle()
			s.swept = t
		}
	}
	return top
}

// Forget lets go of what is kept of a block's session, for who will not open it again soon: its last role's credentials, and the
// key from the configuration. What others may have behind them, and what costs a code or a person, stays. A Session that
// somebody still holds goes on as it is.
func (s *Sessions) Forget(ctx context.Context, a config.Account) {
	steps, _, err := s.plan(ctx, a)
	if err != nil {
		return // so it was never opened
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var key pipeline
	for i, step := range steps {
		key = key.and(step)
		_, fixed := step.(constant)
		_, role := step.(revocable)
		if fixed || role && i == len(steps)-1 {
			delete(s.layers, key)
		}
	}
}

// A pipeline is what steps, one after the other, amount to.
type pipeline [16]byte

func (p pipeline) and(s Step) pipeline {
	sum := sha256.Sum256(append(p[:], s.Key()...))
	return pipeline(sum[:len(p)])
}

// layer finds the layer of a key, or makes it. s.mu is held, except where s is being made.
func (s *Sessions) layer(prev *layer, key pipeline, step Step) *layer {
	if s.instance != nil && step == s.instance.step {
		return s.instance
	}
	l := s.layers[key]
	if l == nil {
		l = &layer{step: step, prev: prev, life: s.life}
		if key != (pipeline{}) {
			s.layers[key] = l
		}
	}
	l.used = instantOf(now())
	return l
}

// idle is how long a session is remembered that no run opens: its block has gone, or has changed. Any schedule that is
// slower than this signs in again, which costs it nothing.
const idle = 48 * time.Hour

// forgetIdle keeps a process that is reloaded for years from growing. s.mu is held.
func (s *Sessions) forgetIdle() {
	old := instantOf(now().Add(-idle))
	for k, l := range s.layers {
		if l.used < old {
			delete(s.layers, k)
		}
	}
}
