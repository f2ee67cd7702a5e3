// Package auth turns an account block into credentials: base → MFA session → role hops → identity check, a file a step.
// Only this package talks to STS and to the metadata services. It does not know regions, kinds or records. Begin at
// [LoadAWS] for the process, [Sessions.Open] for an account, and [Step] for a further way to sign in.
package auth

import (
	"context"
	"log/slog"
	"net"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/record"
)

// Options is what the program passes in. Only cmd reads the environment, so it comes as a function.
type Options struct {
	AWS     aws.Config          // loaded once for the process by [LoadAWS]
	Getenv  func(string) string // nil: nothing is set
	DataDir string              // MFA sessions are kept in DataDir/sessions; "": in memory, until the process ends
	MFA     MFAStore            // instead of DataDir
	Log     *slog.Logger        // nil: nothing is logged
}

// LoadOptions says how the SDK is loaded. The zero value is an ordinary program on an ordinary machine: the
// environment and the shared files decide. The rest is for a collector that runs against another AWS than the real one.
type LoadOptions struct {
	Version       string // of this program, in the user agent: collector/VERSION
	CallsInFlight int    // how many connections are kept; default 256

	Endpoint     string                                                              // base URL of every service, STS inside chains included
	IMDSEndpoint string                                                              // base URL of the instance metadata service
	DialContext  func(ctx context.Context, network, addr string) (net.Conn, error) // instead of the network
	Isolated     bool                                                                // neither the environment nor shared files are read

	ContainerEndpoint string   // full URL of the container credentials; only where Isolated
	ConfigFiles       []string // shared config files; nil: the standard ones, none where Isolated
	CredentialsFiles  []string // shared credentials files; likewise
}

// A Session is an account, entered. One an effective identity, shared by every region and every goroutine. It is an
// [aws.CredentialsProvider] that refreshes itself.
type Session struct {
	Identity record.Identity
	Path     []string // how it was entered, for people: "ak AKIA…MPLE", "mfa arn:…", "role arn:…"
}

// Retrieve gives the current credentials. It waits for STS only where none are valid, and never longer than ctx.
func (s *Session) Retrieve(ctx context.Context) (aws.Credentials, error) { return aws.Credentials{}, nil }

// Invalidate says that AWS refused the current credentials as expired: the next Retrieve asks for new ones.
func (s *Session) Invalidate() {}

// Expires is when the account stops working if nobody does anything: the MFA session's end where there is one, else
// the end of the current credentials. false: they do not expire.
func (s *Session) Expires() (time.Time, bool) { return time.Time{}, false }

// Sessions outlives reloads.
type Sessions struct{}

// LoadAWS loads the SDK's configuration and the one transport. It sends nothing.
func LoadAWS(ctx context.Context, o LoadOptions) (aws.Config, error) { return aws.Config{}, nil }

// NewSessions has no session yet.
func NewSessions(Options) *Sessions { return &Sessions{} }

// Open signs in and checks who answered. Its error holds a *record.Fault.
func (s *Sessions) Open(ctx context.Context, a config.Account) (*Session, error) { return nil, nil }

// Close ends the refreshes that are under way and waits for them. Sessions that were opened keep what they have.
func (s *Sessions) Close() {}

// An MFAStore is where MFA sessions and used codes are kept.
type MFAStore interface {
	// With locks the device, across processes where the store is shared, and hands fn what is stored. save keeps what
	// fn made of it, at once and durably, while the lock is held. The lock ends with fn.
	With(ctx context.Context, device string, fn func(s *MFASession, save func() error) error) error
}

// An MFASession is what is known of a device.
type MFASession struct {
	Credentials aws.Credentials
	Spent       []string // digests of the codes that were sent to STS
}
