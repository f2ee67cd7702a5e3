package awsfake

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Options configures an [AWS]. The zero value responds without delay, throttles as AWS documents and logs every call.
type Options struct {
	Seed        uint64        // of ids, keys and resources; the same seed builds the same AWS
	ClockOffset time.Duration // how far AWS's clock is from this machine's
	Latency     time.Duration // added to each call
	Jitter      time.Duration // up to this much more, at random
	Throttle    Throttle      // EC2's token buckets
	KeepCalls   int           // how many of the latest calls the log keeps; 0 is 100,000, negative none
	NoGzip      bool          // never compress, even if the client accepts it
}

// An AWS holds accounts of several partitions behind one HTTP endpoint. It is an [http.Handler]. Its methods may be
// called concurrently, and accounts may be changed while it serves.
type AWS struct {
	opts   Options
	secret []byte // key of session tokens, page tokens and every generated id

	// One counter for each purpose, so that the number of requests does not change the ids or the resources.
	keysMade, requests, sessions, evolutions atomic.Uint64

	mu         sync.RWMutex // guards what follows
	accounts   map[string]*Account
	keys       map[string]*key
	imds       *IMDS
	containers map[string]*Container
	logins     []*ssoLogin

	organizations []*Organization

	latency    atomic.Pointer[latency]
	pastTime   atomic.Pointer[time.Time] // of the resources; nil: now
	buckets    buckets
	faults     faults
	calls      callLog
	compressed pageCache
}

type latency struct{ fixed, jitter time.Duration }

// New builds an AWS without accounts.
func New(opts Options) *AWS {
	a := &AWS{
		opts:       opts,
		accounts:   make(map[string]*Account),
		keys:       make(map[string]*key),
		containers: make(map[string]*Container),
	}
	seed := sha256.Sum256(binary.BigEndian.AppendUint64([]byte("awsfake "), opts.Seed))
	a.secret = seed[:]
	a.SetLatency(opts.Latency, opts.Jitter)
	a.SetThrottle(opts.Throttle)
	a.calls.limit = opts.KeepCalls
	if opts.KeepCalls == 0 {
		a.calls.limit = 100_000
	}
	return a
}

// Now is AWS's clock: this machine's clock plus [Options.ClockOffset].
func (a *AWS) Now() time.Time { return time.Now().Add(a.opts.ClockOffset).UTC() }

// SetLatency changes how long each call takes from now on.
func (a *AWS) SetLatency(fixed, jitter time.Duration) { a.latency.Store(&latency{fixed, jitter}) }

// derive returns bytes that depend on the seed and the words only.
func (a *AWS) derive(words ...string) []byte {
	m := hmac.New(sha256.New, a.secret)
	for _, w := range words {
		_, _ = io.WriteString(m, w)
		_, _ = m.Write([]byte{0})
	}
	return m.Sum(nil)
}

var base32NoPad = base32.StdEncoding.WithPadding(base32.NoPadding)

// keyID makes an access key id of AWS's length. It contains EXAMPLE, so that scanners for leaked keys ignore it.
func (a *AWS) keyID(prefix string, words ...string) string {
	return prefix + base32NoPad.EncodeToString(a.derive(append(words, prefix)...))[:9] + "EXAMPLE"
}

func (a *AWS) secretKey(id string) string {
	return base64.StdEncoding.EncodeToString(a.derive("secret key", id))[:40]
}

func (a *AWS) requestID() string {
	return uuid(a.derive("request", fmt.Sprint(a.requests.Add(1))))
}

// A request is one call and what the checks have found out about it.
type request struct {
	http      *http.Request
	body      []byte
	form      url.Values
	scope     scope
	service   string // "ec2", "sts", "imds", …
	region    string
	action    string
	id        string // AWS's request id
	container *Container
	caller    *principal
	call      *Call
	fault     *Fault // the fault to apply; nil for none
}

// An apiError is an error response. Each service encodes it in its own format.
type apiError struct {
	status        int
	code, message string
}

func (e *apiError) Error() string { return e.code + ": " + e.message }

func refuse(status int, code, format string, args ...any) *apiError {
	return &apiError{status, code, fmt.Sprintf(format, args...)}
}

const maxBody = 1 << 20

// ServeHTTP logs the call, waits for the configured latency, runs the checks and responds, or applies a fault.
func (a *AWS) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Date", a.Now().Format(http.TimeFormat))
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	if err != nil || len(body) > maxBody {
		http.Error(w, "request body", http.StatusRequestEntityTooLarge)
		return
	}
	q := &request{http: r, body: body, id: a.requestID()}
	refusal := a.readRequest(q)
	q.call = a.calls.begin(q, a.Now())
	defer func() { a.calls.end(q, a.Now()) }()
	a.identifyCaller(q)
	q.fault = a.faults.match(q)
	if !a.waitLatency(q) {
		return
	}
	out := &response{}
	if q.fault == nil || !q.fault.Kind.replacesResponse() {
		out = a.respond(q, refusal)
	}
	if out != nil {
		a.send(w, q, out)
	}
}

// readRequest finds out which service is called: by the path where calls are unsigned, else by the credential scope.
func (a *AWS) readRequest(q *request) *apiError {
	r := q.http
	switch c := a.containerAt(r.URL.Path); {
	case r.URL.Path == "/latest" || strings.HasPrefix(r.URL.Path, "/latest/"):
		q.service, q.action = "imds", r.Method+" "+r.URL.Path
		return nil
	case c != nil:
		q.service, q.action, q.container = "container", r.Method+" "+r.URL.Path, c
		return nil
	case r.URL.Path == "/federation/credentials" && r.Method == http.MethodGet:
		q.service, q.action = "sso", "GetRoleCredentials"
		return nil
	case r.URL.Path == "/token" && r.Method == http.MethodPost:
		q.service, q.action = "sso-oidc", "CreateToken"
		return nil
	}
	q.form = r.URL.Query()
	if strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
		form, err := url.ParseQuery(string(q.body))
		if err != nil {
			form = nil // the service then reports the missing parameters
		}
		for k, v := range form {
			q.form[k] = append(q.form[k], v...)
		}
	}
	q.action = q.form.Get("Action")
	if q.action == webIdentity {
		q.service = "sts"
		return nil
	}
	var refusal *apiError
	q.scope, refusal = readScope(r)
	q.service, q.region = q.scope.service, q.scope.region
	if q.service == "" {
		q.service = guessService(q.action)
	}
	if q.service == "organizations" {
		q.readOrganizationsCall()
	}
	return refusal
}

// identifyCaller records the owner of the key before the checks, so that faults and the log can name the account.
func (a *AWS) identifyCaller(q *request) {
	a.mu.RLock()
	defer a.mu.RUnlock()
	if k := a.keys[q.scope.keyID]; k != nil {
		q.call.AccountID, q.call.ARN = k.user.account.ID, k.user.ARN
		return
	}
	if s, err := a.readToken(securityToken(q.http)); err == nil {
		if p := a.sessionPrincipal(s); p != nil {
			q.call.AccountID, q.call.ARN = s.AccountID, p.arn
		}
	}
}

// respond runs the checks in AWS's order (authentication, throttling, authorization), then executes the call.
func (a *AWS) respond(q *request, err *apiError) *response {
	switch q.service {
	case "imds":
		return a.serveIMDS(q)
	case "container":
		return a.serveContainer(q, q.container)
	case "sso":
		return a.serveSSO(q)
	case "sso-oidc":
		return a.serveOIDC(q)
	}
	var out *response
	signed := q.action != webIdentity
	if err == nil && signed {
		q.caller, err = a.authenticate(q)
	}
	if err == nil && q.fault != nil && q.fault.Kind == Expire {
		err = expired(q.service)
	}
	switch {
	case err != nil:
	case !signed:
		out, err = a.assumeRoleWithWebIdentity(q)
	case q.service == "ec2":
		out, err = a.ec2(q)
	case q.service == "autoscaling":
		out, err = a.autoscaling(q)
	case q.service == "cloudformation":
		out, err = a.cloudformation(q)
	case q.service == "elasticloadbalancing":
		out, err = a.elasticLoadBalancing(q)
	case q.service == "sts":
		out, err = a.sts(q)
	case q.service == "iam":
		out, err = a.iam(q)
	case q.service == "organizations":
		out, err = a.organization(q)
	default:
		s, ok := queryServices[q.service]
		if !ok {
			err = refuse(http.StatusNotFound, "UnknownService", "No service %s is served here.", q.service)
			break
		}
		out, err = a.query(q, s)
	}
	if err != nil {
		q.call.Status, q.call.Code = err.status, err.code
		return a.errorResponse(q, err)
	}
	q.call.Status = http.StatusOK
	return out
}

// webIdentity is the only unsigned action.
const webIdentity = "AssumeRoleWithWebIdentity"

// guessService names the service of a call without a credential scope.
func guessService(action string) string {
	if slices.Contains([]string{"GetCallerIdentity", "AssumeRole", "GetSessionToken"}, action) {
		return "sts"
	}
	return "ec2"
}
