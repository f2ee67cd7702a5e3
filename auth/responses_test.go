package auth

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"

	"github.com/aws-collector/collector/auth/internal/fault"
	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/internal/awsfake"
	"github.com/aws-collector/collector/record"
)

// TestForeignResponses: an error says that something between here and AWS responded, and what to do.
func TestForeignResponses(t *testing.T) {
	for name, tt := range map[string]struct {
		status int
		body   string
		say    []string
	}{
		"403 with a page":       {403, "<html>Blocked by policy</html>", []string{"HTTP 403 Forbidden", "NO_PROXY"}},
		"403 with a broken one": {403, "<!DOCTYPE html><html><br>no</p>", []string{"HTTP 403 Forbidden", "NO_PROXY"}},
		"403 with JSON":         {403, `{"message":"Forbidden"}`, []string{"HTTP 403 Forbidden"}},
		"403 with nothing":      {403, "", []string{"HTTP 403 Forbidden"}},
		"404":                   {404, "no such site", []string{"HTTP 404 Not Found"}},
		"407":                   {407, "<html>who are you</html>", []string{"HTTP 407", "password in HTTPS_PROXY"}},
		"301":                   {301, "<html>moved</html>", []string{"HTTP 301", "to login.example.com", "login page"}},
		"302":                   {302, "", []string{"HTTP 302", "to login.example.com", "AWS_ENDPOINT_URL"}},
	} {
		t.Run(name, func(t *testing.T) {
			w, _ := ordinaryEnv(t)
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", "https://login.example.com/"+canary)
				w.WriteHeader(tt.status)
				_, _ = fmt.Fprint(w, tt.body)
			}))
			defer srv.Close()
			t.Setenv("AWS_ENDPOINT_URL", srv.URL)
			s := w.sessions(Options{Getenv: os.Getenv})
			w.refused(s, w.ak(), record.BadAnswer, tt.say...)
			w.refused(s, w.ak(role(w.role.ARN)), record.BadAnswer, tt.say...)
			_, err := s.Open(t.Context(), w.ak())
			for _, text := range []string{"UnknownError", canary, "Blocked by policy"} {
				if strings.Contains(err.Error()+record.HintOf(err), text) {
					t.Errorf("%v (%s)", err, record.HintOf(err))
				}
			}
		})
	}
}

// TestProxyRefusesConnection: a proxy that refuses CONNECT is named with its status, and without its password.
func TestProxyRefusesConnection(t *testing.T) {
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusProxyAuthRequired)
	}))
	defer proxy.Close()
	to, err := url.Parse(strings.Replace(proxy.URL, "//", "//user:"+canary+"@", 1))
	if err != nil {
		t.Fatal(err)
	}
	client := awshttp.NewBuildableClient().WithTransportOptions(func(tr *http.Transport) {
		tr.Proxy, tr.OnProxyConnectResponse = http.ProxyURL(to), fault.ProxyRefusal
	})
	r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "https://sts.example.com/", nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.Do(r)
	err = explain(err, errorContext{operation: "x", region: "us-east-1"})
	if record.ReasonOf(err) != record.Network || !strings.Contains(err.Error(), "refused the connection: HTTP 407") ||
		!strings.Contains(record.HintOf(err), "password in HTTPS_PROXY") || strings.Contains(err.Error(), canary) {
		t.Errorf("%s: %v (%s)", record.ReasonOf(err), err, record.HintOf(err))
	}
	w, _ := ordinaryEnv(t)
	cfg, err := LoadAWS(t.Context(), w.load)
	if err != nil {
		t.Fatal(err)
	}
	if loaderOf(cfg).client.GetTransport().OnProxyConnectResponse == nil {
		t.Error("the process's transport does not read the proxy's response")
	}
}

// TestWebIdentityWrong: the faults of web identity, each with its own reason and hint.
func TestWebIdentityWrong(t *testing.T) {
	const sub = "system:serviceaccount:default:collector"
	for name, tt := range map[string]struct {
		token func(w *fixture) string
		trust string
		want  record.Reason
		say   []string
		calls int
	}{
		"expired": {func(w *fixture) string { return w.aws.WebIdentityToken(sub, -time.Minute) }, sub,
			record.Expired, []string{"Token expired", "Renew the token in {file}", "kubelet"}, 1},
		"no token of the provider": {func(w *fixture) string { return "a.b.c" }, sub,
			record.AssumeDenied, []string{"InvalidIdentityToken", "OIDC provider in IAM", "audience"}, callAttempts},
		"another service account": {func(w *fixture) string { return w.aws.WebIdentityToken(sub, time.Hour) }, "other",
			record.AssumeDenied, []string{"sts:AssumeRoleWithWebIdentity to the OIDC provider", "sub (the service"}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			w, _ := ordinaryEnv(t)
			r := w.home.AddRole("pod", awsfake.RoleOptions{Trust: []awsfake.Trust{{WebIdentities: []string{tt.trust}}}})
			file := write(t, "token", tt.token(w))
			t.Setenv("AWS_ROLE_ARN", r.ARN)
			t.Setenv("AWS_WEB_IDENTITY_TOKEN_FILE", file)
			for i := range tt.say {
				tt.say[i] = strings.ReplaceAll(tt.say[i], "{file}", file)
			}
			s := w.sessions(Options{Getenv: os.Getenv})
			w.refused(s, block(), tt.want, tt.say...)
			w.count("AssumeRoleWithWebIdentity", tt.calls)
			_, err := s.Open(t.Context(), block())
			if hint := record.HintOf(err); strings.Contains(hint, "external_id") || strings.Contains(hint, "MFA") ||
				strings.Contains(hint, "NTP") {
				t.Error(hint)
			}
		})
	}
}

// TestNewIdentityProvider: a token that AWS does not know yet is sent again, as by the SDK.
func TestNewIdentityProvider(t *testing.T) {
	w, _ := ordinaryEnv(t)
	const sub = "system:serviceaccount:default:collector"
	r := w.home.AddRole("pod", awsfake.RoleOptions{Trust: []awsfake.Trust{{WebIdentities: []string{sub}}}})
	t.Setenv("AWS_ROLE_ARN", r.ARN)
	t.Setenv("AWS_WEB_IDENTITY_TOKEN_FILE", write(t, "token", w.aws.WebIdentityToken(sub, time.Hour)))
	refusals := 2
	srv := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if refusals--; refusals >= 0 {
			rw.WriteHeader(http.StatusBadRequest)
			_, _ = fmt.Fprint(rw, "<ErrorResponse><Error><Code>InvalidIdentityToken</Code><Message>Couldn't retrieve "+
				"verification key from your identity provider</Message></Error></ErrorResponse>")
			return
		}
		w.aws.ServeHTTP(rw, r)
	}))
	defer srv.Close()
	t.Setenv("AWS_ENDPOINT_URL", srv.URL)
	w.open(w.sessions(Options{Getenv: os.Getenv}), block())
}

// TestContainerWrong: the faults of the endpoints of ECS and of EKS Pod Identity, each with what to do.
func TestContainerWrong(t *testing.T) {
	fresh := awsfake.New(awsfake.Options{})
	expired, valid := fresh.WebIdentityToken("x", -time.Minute), fresh.WebIdentityToken("x", time.Hour)
	respond := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = fmt.Fprint(w, body)
		}
	}
	for name, tt := range map[string]struct {
		respond http.HandlerFunc // nil: nothing listens
		token   string
		want    record.Reason
		say     []string
	}{
		"expired token": {respond(400, "(ExpiredTokenException): "+canary), expired,
			record.Expired, []string{"HTTP 400; the authorization token in {file} expired at", "kubelet"}},
		"token of another cluster": {respond(400, canary), valid,
			record.NoCredentials, []string{"HTTP 400", "identity association, and the authorization token"}},
		"no association": {respond(404, canary), valid,
			record.NoCredentials, []string{"HTTP 404", "has an identity association"}},
		"denied":      {respond(403, canary), valid, record.NoCredentials, []string{"HTTP 403", "authorization token"}},
		"agent fails": {respond(500, canary), expired, record.Other, []string{"HTTP 500", "agent of ECS or EKS"}},
		"no agent":    {nil, valid, record.Network, []string{"connection refused", "agent of ECS or EKS"}},
	} {
		t.Run(name, func(t *testing.T) {
			w, _ := ordinaryEnv(t)
			srv := httptest.NewServer(tt.respond)
			if tt.respond == nil {
				srv.Close()
			}
			defer srv.Close()
			file := write(t, "token", tt.token)
			t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", srv.URL+"/x")
			t.Setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", file)
			for i := range tt.say {
				tt.say[i] = strings.ReplaceAll(tt.say[i], "{file}", file)
			}
			for _, a := range []config.Account{block(), block(source("EcsContainer"))} {
				err := w.refused(w.sessions(Options{Getenv: os.Getenv}), a, tt.want, tt.say...)
				if all := errorTexts(err); strings.Contains(all, canary) || strings.Contains(all, tt.token) {
					t.Error("the response or the token shows: ", all)
				}
			}
		})
	}
}

// TestMetadataDisabled: an error says that the metadata service is disabled, or behind a proxy.
func TestMetadataDisabled(t *testing.T) {
	w, url := ordinaryEnv(t)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(403) }))
	defer srv.Close()
	w.load = LoadOptions{Isolated: true, Endpoint: url, IMDSEndpoint: srv.URL}
	w.refused(w.sessions(Options{}), block(), record.NoCredentials, "HTTP 403", "--http-endpoint enabled")
}
