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
	Identities IdentityStore       // which account each block was before; nil: only this process remembers
	Log        *slog.Logger        // nil: nothing is logged
}

// Sessions is every account that was entered. It outlives reloads: a session is known by what its block amounts to, not by
// the block's name, so that a renamed account keeps its role session, a changed role gets a new one, and no reload spends an
// MFA code. It is safe for concurrent use. Close it.
type Sessions struct {
	aws            aws.Config
	sts            stsClient
	listAccessKeys listAccessKeys
	loader         *loader
	getenv         func(string) string
	store          MFAStore
	identities     IdentityStore
	log            *slog.Logger
	background     *background
	sso            *ssoTokens
	metadata       *imds.Client
	instance       *layer // the one instance role

	organizations *organizationsAPI
	tagCache      tagCache

	mu        sync.Mutex
	layers    map[pipelineKey]*layer
	keyAges   map[string]*sharedCall[time.Time] // when access keys were made, by id
	lastSweep time.Time                         // when the idle ones were last forgotten
}

// NewSessions has no session yet, and calls nobody.
func NewSessions(o Options) *Sessions {
	s := &Sessions{
		aws: o.AWS, sts: newSTSClient(o.AWS), listAccessKeys: iam.NewFromConfig(clientConfig(o.AWS), func(c *iam.Options) { c.HTTPSignerV4 = uncachedSigner{} }).ListAccessKeys, loader: loaderOf(o.AWS), getenv: o.Getenv, store: o.MFA, identities: o.Identities, log: o.Log,
		layers: make(map[pipelineKey]*layer), keyAges: make(map[string]*sharedCall[time.Time]), organizations: newOrganizations(o.AWS),
	}
	if s.getenv == nil {
		s.getenv = func(string) string { return "" }
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	for _, f := range s.loader.ignored {
		s.log.Warn("AWS setting ignored", "setting", f.Where, "error", f.Text)
	}
	if s.identities == nil {
		s.identities = NewFileIdentityStore(IdentityStoreOptions{Log: s.log})
	}
	s.background = newBackground(s.log)
	s.sso = &ssoTokens{background: s.background, renewals: make(map[string]*ssoRenewal)}
	switch {
	case s.store != nil:
	case o.DataDir != "":
		s.store = newDirStore(filepath.Join(o.DataDir, "sessions"), o.SessionKey)
	default:
		s.store = new(memoryStore)
	}
	s.metadata = s.loader.imds(o.AWS)
	s.instance = s.layerFor(nil, pipelineKey{}, &imdsStep{client: s.metadata, disabled: func() bool {
		return !s.loader.overridesIMDS() && (s.loader.env.EC2IMDSClientEnableState == imds.ClientDisabled ||
			strings.EqualFold(s.getenv("AWS_EC2_METADATA_DISABLED"), "true"))
	}})
	return s
}

// Close ends what is under way and waits for it. Sessions that were opened keep what they have.
func (s *Sessions) Close() { s.background.stop() }

// A Session is an account, entered. Blocks that amount to the same share the credentials behind it. It is an
// [aws.CredentialsProvider] that renews itself, and never gives another account's credentials than its Identity's.
type Session struct {
	Identity record.Identity

	top      *layer
	resolver *ownerResolver // nil: whose the credentials are does not matter

	sessions *Sessions
	block    config.Account
	checked  atomic.Pointer[owner] // the last that was held against the block
}

// Path is how it was entered, for people: "ak AKIA…MPLE", "mfa arn:…", "role arn:…".
func (s *Session) Path() []string { return s.top.path() }

// Retrieve gives the current credentials. It waits for STS only where none are valid, and never longer than ctx.
func (s *Session) Retrieve(ctx context.Context) (aws.Credentials, error) {
	if s.resolver == nil {
		return s.top.Retrieve(ctx)
	}
	c, of, err := s.resolver.retrieve(ctx, s.sessions, "")
	if err != nil {
		return aws.Credentials{}, err
	}
	if err := s.checkOwner(of); err != nil {
		return aws.Credentials{}, err
	}
	return c, nil
}

// Invalidate says that AWS refused the current credentials as expired: the next Retrieve gets new ones, from the inner
// steps on if those are dead too. Of several callers who find out at once, the late ones do no harm.
func (s *Session) Invalidate() { s.top.invalidate() }

// Drop is Invalidate by one who knows which credentials were refused.
func (s *Session) Drop(c aws.Credentials) { s.top.Drop(c) }

// Refresh is [Provider].
func (s *Session) Refresh(ctx context.Context, c aws.Credentials) (aws.Credentials, bool) {
	return s.top.Refresh(ctx, c)
}

// Expires is when the account stops working if nobody does anything: the MFA session's end where there is one, else the end of
// the current credentials, which are renewed before. false: they do not expire.
func (s *Session) Expires() (time.Time, bool) {
	if mfa := s.top.mfaLayer(); mfa != nil {
		return mfa.expires()
	}
	return s.top.expires()
}

// LoginDue is when the account stops working unless a person comes: the end of an MFA session for which nothing gives a new code.
// false: nobody has to come.
func (s *Session) LoginDue() (time.Time, bool) {
	mfa := s.top.mfaLayer()
	if mfa == nil {
		return time.Time{}, false
	}
	if codes := mfa.step.(*mfaStep).codes; codes != nil && codes.unattended() {
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
	e := s.resolverFor(steps)
	_, of, err := e.retrieve(ctx, s, region)
	if err != nil {
		return nil, err
	}
	out := &Session{Identity: of.identity, top: e.top, resolver: e, sessions: s, block: a}
	if err := out.checkOwner(of); err != nil {
		return nil, err
	}
	return out, nil
}

// resolverFor finds what the steps amount to, or begins it.
func (s *Sessions) resolverFor(steps []Step) *ownerResolver {
	s.mu.Lock()
	defer s.mu.Unlock()
	top := s.topLayer(steps)
	if top.resolver == nil {
		top.resolver = &ownerResolver{top: top}
	}
	return top.resolver
}

// topLayer is the last layer of the steps. s.mu is held.
func (s *Sessions) topLayer(steps []Step) *layer {
	var top *layer
	var key pipelineKey
	for _, step := range steps {
		key = key.with(step)
		top = s.layerFor(top, key, step)
	}
	if top.resolver == nil {
		if t := now(); t.Sub(s.lastSweep) > idleTimeout/8 { // not each time: ten thousand new accounts would look at each other
			s.removeIdle()
			s.lastSweep = t
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
	var key pipelineKey
	for i, step := range steps {
		key = key.with(step)
		_, fixed := step.(constant)
		_, role := step.(revocable)
		if fixed || role && i == len(steps)-1 {
			delete(s.layers, key)
		}
	}
}

// A pipeline is what steps, one after the other, amount to.
type pipelineKey [16]byte

func (p pipelineKey) with(s Step) pipelineKey {
	sum := sha256.Sum256(append(p[:], s.Key()...))
	return pipelineKey(sum[:len(p)])
}

// layerFor finds the layer of a key, or makes it. s.mu is held, except where s is being made.
func (s *Sessions) layerFor(prev *layer, key pipelineKey, step Step) *layer {
	if s.instance != nil && step == s.instance.step {
		return s.instance
	}
	l := s.layers[key]
	if l == nil {
		l = &layer{step: step, prev: prev, background: s.background}
		if key != (pipelineKey{}) {
			s.layers[key] = l
		}
	}
	l.lastUsed = instantOf(now())
	return l
}

// idleTimeout is how long a session is remembered that no run opens: its block has gone, or has changed. Any schedule that is
// slower than this signs in again, which costs it nothing.
const idleTimeout = 48 * time.Hour

// removeIdle keeps a process that is reloaded for years from growing. s.mu is held.
func (s *Sessions) removeIdle() {
	old := instantOf(now().Add(-idleTimeout))
	for k, l := range s.layers {
		if l.lastUsed < old {
			delete(s.layers, k)
		}
	}
}
