// Package auth turns an account block into credentials: base → MFA session → role hops → identity check, one file a
// step. Only this package calls STS, IAM and the metadata services. It knows nothing of kinds, records or runs. Begin
// at [LoadAWS] for the process, at [Sessions.Open] for an account, and at [Step] to add a way to sign in.
package auth

import (
	"cmp"
	"context"
	"crypto/sha256"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/aws-collector/collector/auth/identity"
	"github.com/aws-collector/collector/auth/internal/mfastore"
	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/secret"
)

// Options is what the program passes in. Only cmd reads the environment, so it is passed as a function.
type Options struct {
	AWS        aws.Config          // loaded once for the process by [LoadAWS]
	Getenv     func(string) string // nil: nothing is set
	CommandEnv func() []string     // environment of a token_command; nil: that of the process
	DataDir    string              // MFA sessions are stored in DataDir/sessions; "": in memory, until the process ends
	SessionKey secret.String       // encrypts them there, see [config.ParseSessionKey]; none: they are not encrypted
	Identities *identity.Store     // the account that each block was before; nil: in memory only
	Log        *slog.Logger        // nil: nothing is logged
}

// Sessions holds the sessions of all accounts. It survives reloads: a session is found by how its block signs in, not
// by the block's name. So a renamed account keeps its role session, a changed role gets a new one, and no reload costs
// an MFA code. It is safe for concurrent use. Call Close at the end.
type Sessions struct {
	aws            aws.Config
	sts            stsClient
	listAccessKeys listAccessKeys
	loader         *loader
	getenv         func(string) string
	commandEnv     func() []string
	store          mfastore.Store
	identities     *identity.Store
	log            *slog.Logger
	background     *background
	sso            *ssoTokens
	metadata       *imds.Client
	instance       *cachedStep // the one instance role

	organizations *organizationsAPI
	tagCache      tagCache

	mu          sync.Mutex
	cachedSteps map[pipelineKey]*cachedStep
	keyAges     map[string]*sharedCall[time.Time] // when access keys were created, by id
	lastSweep   time.Time                         // when idle steps were last removed
}

// NewSessions returns Sessions without a session. It makes no calls.
func NewSessions(o Options) *Sessions {
	iamClient := iam.NewFromConfig(clientConfig(o.AWS), func(c *iam.Options) { c.HTTPSignerV4 = uncachedSigner{} })
	s := &Sessions{
		aws:            o.AWS,
		sts:            newSTSClient(o.AWS),
		listAccessKeys: iamClient.ListAccessKeys,
		loader:         loaderOf(o.AWS),
		getenv:         o.Getenv,
		commandEnv:     o.CommandEnv,
		store:          mfastore.New(o.DataDir, o.SessionKey),
		identities:     o.Identities,
		log:            o.Log,
		cachedSteps:    make(map[pipelineKey]*cachedStep),
		keyAges:        make(map[string]*sharedCall[time.Time]),
		organizations:  newOrganizations(o.AWS),
	}
	if s.getenv == nil {
		s.getenv = func(string) string { return "" }
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	for _, f := range s.loader.ignored {
		s.log.Warn("AWS setting ignored", "setting", f.Where, "error", f.Text,
			"hint", cmp.Or(f.Hint, "Correct the setting, or remove it."))
	}
	if s.identities == nil {
		s.identities = identity.New(identity.Options{Log: s.log})
	}
	s.background = newBackground(s.log)
	s.sso = &ssoTokens{background: s.background, renewals: make(map[string]*ssoRenewal)}
	s.metadata = s.loader.imds(o.AWS)
	s.instance = s.cachedStepFor(nil, pipelineKey{}, &imdsStep{client: s.metadata, disabled: func() bool {
		return !s.loader.overridesIMDS() && (s.loader.files.Env.EC2IMDSClientEnableState == imds.ClientDisabled ||
			strings.EqualFold(s.getenv("AWS_EC2_METADATA_DISABLED"), "true"))
	}})
	return s
}

// Close stops calls in progress and waits for them. Open sessions keep the credentials that they have.
func (s *Sessions) Close() { s.background.stop() }

// A Session is a signed-in account. Blocks that sign in the same way share its credentials. It is an
// [aws.CredentialsProvider] that renews its credentials, and never returns those of another account than its
// Identity's.
type Session struct {
	Identity record.Identity

	last     *cachedStep
	resolver *ownerResolver // nil: the owner of the credentials does not matter

	sessions *Sessions
	region   string // of STS
	block    config.Account
	checked  atomic.Pointer[owner] // the owner that was last checked against the block
}

// Path lists the steps of the sign-in, for messages: "ak AKIA…MPLE", "mfa arn:…", "role arn:…".
func (s *Session) Path() []string { return s.last.path() }

// Retrieve returns the current credentials. It waits for STS only if none are valid, and never longer than ctx.
func (s *Session) Retrieve(ctx context.Context) (aws.Credentials, error) {
	if s.resolver == nil {
		return s.last.Retrieve(ctx)
	}
	c, owner, err := s.resolver.retrieve(ctx, s.sessions, "")
	if err != nil {
		return aws.Credentials{}, err
	}
	if err := s.checkOwner(owner); err != nil {
		return aws.Credentials{}, err
	}
	return c, nil
}

// RejectCurrent reports that AWS refused the current credentials as expired: the next Retrieve gets new ones, and
// renews the steps before as well if needed. When several callers report it at once, only the first has an effect.
func (s *Session) RejectCurrent() { s.last.rejectCurrent() }

// Reject is RejectCurrent for a caller that knows which credentials were refused.
func (s *Session) Reject(c aws.Credentials) { s.last.Reject(c) }

// Renew implements [Provider].
func (s *Session) Renew(ctx context.Context, c aws.Credentials) (aws.Credentials, bool) {
	return s.last.Renew(ctx, c)
}

// Expires is when the account stops working without renewal: the end of the MFA session, if there is one, else the end
// of the current credentials, which are renewed in time. false: they do not expire.
func (s *Session) Expires() (time.Time, bool) {
	if mfa := s.last.findMFA(); mfa != nil {
		return mfa.expires()
	}
	return s.last.expires()
}

// LoginDue is when a person must log in again: the end of an MFA session for which there is no source of new codes.
// false: no login is needed.
func (s *Session) LoginDue() (time.Time, bool) {
	mfa := s.last.findMFA()
	if mfa == nil {
		return time.Time{}, false
	}
	if codes := mfa.step.(*mfaStep).codes; codes != nil && codes.unattended() {
		return time.Time{}, false
	}
	return mfa.expires()
}

// Open signs in, compares the identity with the block and with the account that the block was before, and ensures that
// the credentials are valid now. Its error holds a [record.Fault]; the caller adds the account's name.
//
// The next Open after an error tries again. A clear refusal (a wrong key, a denied role) is returned again for ten
// seconds without a call, so that many blocks with one invalid base cost one call.
func (s *Sessions) Open(ctx context.Context, a config.Account) (*Session, error) {
	steps, region, err := s.plan(ctx, a)
	if err != nil {
		return nil, err
	}
	resolver := s.resolverFor(steps, a.Name)
	_, owner, err := resolver.retrieve(ctx, s, region)
	if err != nil {
		return nil, err
	}
	out := &Session{
		Identity: owner.identity, last: resolver.last, resolver: resolver, sessions: s, region: region, block: a,
	}
	if err := out.checkOwner(owner); err != nil {
		return nil, err
	}
	return out, nil
}

// ConfigFor returns the process's configuration with a block's credentials, for calls to a service that is not
// collected. It makes no calls: the credentials are fetched when they are first needed, and their identity is not
// checked, because they may belong to a store that is not AWS's. They are renewed automatically. A caller whose
// credentials were refused calls RejectCurrent.
func (s *Sessions) ConfigFor(ctx context.Context, a config.Account) (aws.Config, error) {
	steps, _, err := s.plan(ctx, a)
	if err != nil {
		return aws.Config{}, err
	}
	cfg := s.aws.Copy()
	s.mu.Lock()
	defer s.mu.Unlock()
	cfg.Credentials = &Session{last: s.lastStep(steps)}
	return cfg, nil
}

// PlannedPath lists the steps by which a block signs in, as [Session.Path] does. It makes no calls.
func (s *Sessions) PlannedPath(ctx context.Context, a config.Account) (names []string, err error) {
	steps, _, err := s.plan(ctx, a)
	for _, step := range steps {
		names = append(names, step.Name())
	}
	return names, err
}

// resolverFor returns the owner resolver of the steps, and creates it if needed, for the account that is opened.
func (s *Sessions) resolverFor(steps []Step, account string) *ownerResolver {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := s.lastStep(steps)
	if last.resolver == nil {
		last.resolver = &ownerResolver{last: last, account: account}
	}
	return last.resolver
}

// lastStep returns the cached form of the last step. s.mu is held.
func (s *Sessions) lastStep(steps []Step) *cachedStep {
	var last *cachedStep
	var key pipelineKey
	for _, step := range steps {
		key = key.with(step)
		last = s.cachedStepFor(last, key, step)
	}
	if last.resolver == nil {
		t := now()
		if t.Sub(s.lastSweep) > idleTimeout/8 { // not each time: the cost would be quadratic in new accounts
			s.removeIdle()
			s.lastSweep = t
		}
	}
	return last
}

// Forget frees what is cached for a block that will not be opened again soon: the credentials of its last role, and the
// key from the configuration. Credentials that other blocks may share stay, and so do those that need a code or a
// person. An open Session is not affected.
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
			delete(s.cachedSteps, key)
		}
	}
}

// A pipelineKey is a hash of the keys of steps in order.
type pipelineKey [16]byte

func (p pipelineKey) with(s Step) pipelineKey {
	sum := sha256.Sum256(append(p[:], s.Key()...))
	return pipelineKey(sum[:len(p)])
}

// cachedStepFor returns the cached step of a key, and creates it if needed. s.mu is held, except in NewSessions.
func (s *Sessions) cachedStepFor(prev *cachedStep, key pipelineKey, step Step) *cachedStep {
	if s.instance != nil && step == s.instance.step {
		return s.instance
	}
	l := s.cachedSteps[key]
	if l == nil {
		l = &cachedStep{step: step, prev: prev, background: s.background}
		if key != (pipelineKey{}) {
			s.cachedSteps[key] = l
		}
	}
	l.lastUsed = unixNanoOf(now())
	return l
}

// idleTimeout is how long a session is cached after it was last opened. Usually its block was removed or changed. An
// account with a schedule that is slower than this signs in again, which costs nothing.
const idleTimeout = 48 * time.Hour

// removeIdle bounds the memory of a process that is reloaded for years. s.mu is held.
func (s *Sessions) removeIdle() {
	old := unixNanoOf(now().Add(-idleTimeout))
	for k, l := range s.cachedSteps {
		if l.lastUsed < old {
			delete(s.cachedSteps, k)
		}
	}
}
