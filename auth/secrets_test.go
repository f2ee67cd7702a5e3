package auth

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials/logincreds"
	"github.com/aws/aws-sdk-go-v2/credentials/ssocreds"

	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/internal/awsfake"
	"github.com/aws-collector/collector/record"
)

const canary = "CANARY-wJalrXUtnFEMI" // in every text from outside

// wrongResponses are wrong responses of an endpoint, each with a secret in it.
var wrongResponses = map[string]func(http.ResponseWriter){
	"text": func(w http.ResponseWriter) { _, _ = fmt.Fprint(w, "AccessKeyId="+canary) },
	"cut JSON": func(w http.ResponseWriter) {
		_, _ = fmt.Fprint(w,
			`{"Code":"Success","SecretAccessKey":"`+canary)
	},
	"odd time":   func(w http.ResponseWriter) { _, _ = fmt.Fprint(w, full(`"`+canary+`"`)) },
	"wrong type": func(w http.ResponseWriter) { _, _ = fmt.Fprint(w, full(`{"`+canary+`":1}`)) },
	"a code that is a secret": func(w http.ResponseWriter) {
		_, _ = fmt.Fprint(w,
			`{"Code":"`+canary+`","Message":"`+canary+`"}`)
	},
	"XML": func(w http.ResponseWriter) {
		_, _ = fmt.Fprint(w, "<AssumeRoleResponse><"+canary+"><SecretAccessKey>"+canary+"</x>&"+canary+";")
	},
	"XML with an odd time": func(w http.ResponseWriter) { _, _ = fmt.Fprint(w, xmlCredentials("AssumeRole")) },
	"XML of a web identity with an odd time": func(w http.ResponseWriter) {
		_, _ = fmt.Fprint(w, xmlCredentials("AssumeRoleWithWebIdentity"))
	},
	"JSON error": func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("X-Amzn-ErrorType", canary)
		w.WriteHeader(http.StatusBadRequest)
		_, _ = fmt.Fprint(w,
			`{"__type":"`+canary+`","code":"`+canary+`","message":"`+canary+`","error":"`+canary+
				`","error_description":"`+canary+`"}`)
	},
	"a known error in secret words": func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("X-Amzn-ErrorType", "InvalidRequestException")
		w.WriteHeader(http.StatusBadRequest)
		_, _ = fmt.Fprint(w, `{"message":"`+canary+`"}`)
	},
	"text error":   func(w http.ResponseWriter) { http.Error(w, canary, http.StatusForbidden) },
	"server error": func(w http.ResponseWriter) { http.Error(w, canary, http.StatusServiceUnavailable) },
	"redirect": func(w http.ResponseWriter) {
		w.Header().Set("Location", "http://127.0.0.1:1/"+canary)
		w.WriteHeader(http.StatusFound)
	},
	"redirect nowhere": func(w http.ResponseWriter) {
		w.Header().Set("Location",
			"::"+canary)
		w.WriteHeader(http.StatusFound)
	},
	"not HTTP":    raw(canary + "\r\n\r\n"),
	"no header":   raw("HTTP/1.1 200 OK\r\n" + canary + "\r\n\r\n"),
	"no status":   raw("HTTP/1.1 " + canary + "\r\n\r\n"),
	"no length":   raw("HTTP/1.1 200 OK\r\nContent-Length: " + canary + "\r\n\r\n"),
	"no chunk":    raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + canary + "\r\n"),
	"no encoding": raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: " + canary + "\r\n\r\n"),
	"short":       raw("HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n" + canary),
	"not gzip":    raw("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 20\r\n\r\n" + canary),
}

// full returns credentials in the format of all endpoints, with at in place of a time.
func full(at string) string {
	return `{"Code":"Success","AccessKeyId":"` + canary + `","SecretAccessKey":"` + canary + `","Token":"` + canary +
		`","Expiration":` + at + `,
		"roleCredentials":{"accessKeyId":` + at + `,"secretAccessKey":"` + canary + `","expiration":` + at +
		`},"accessToken":` + at + `,"expiresIn":` + at + `}`
}

func xmlCredentials(action string) string {
	return "<" + action + "Response><" + action + "Result><Credentials><AccessKeyId>" + canary +
		"</AccessKeyId><SecretAccessKey>" + canary + "</SecretAccessKey><SessionToken>" + canary +
		"</SessionToken><Expiration>" + canary + "</Expiration></Credentials></" + action + "Result></" + action +
		"Response>"
}

// raw responds with these bytes and closes the connection.
func raw(text string) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		_, _ = conn.Write([]byte(text))
		_ = conn.Close()
	}
}

// errorTexts returns all texts of an error that a person may see.
func errorTexts(err error) string {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%v\n%+v\n%s\n%#v\n%s\n%s\n", err, err, err, err, record.HintOf(err), record.ErrorSummary(err))
	for _, h := range []slog.Handler{slog.NewTextHandler(&b, nil), slog.NewJSONHandler(&b, nil)} {
		slog.New(h).Error("x", "error", err, "hint", record.HintOf(err))
	}
	for inner := err; inner != nil; inner = errors.Unwrap(inner) { // what another wrapper would print
		if f, ok := inner.(*record.Fault); ok && f.Text != "" {
			break // its text replaces the text below: AWS's own error, which is kept for its code
		}
		fmt.Fprintln(&b, inner)
	}
	return b.String()
}

// TestResponsesAreNotQuoted: no error shows any part of an endpoint's response.
func TestResponsesAreNotQuoted(t *testing.T) {
	sources := map[string]func(t *testing.T, w *fixture, url string) config.Account{
		"instance": func(t *testing.T, _ *fixture, url string) config.Account {
			t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", url)
			t.Setenv("AWS_EC2_METADATA_DISABLED", "")
			return block()
		},
		"container": func(t *testing.T, _ *fixture, url string) config.Account {
			t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", url+"/v1/credentials?"+canary)
			t.Setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", canary)
			return block()
		},
		"container of a profile": func(t *testing.T, w *fixture, url string) config.Account {
			t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", url+"/v1/credentials")
			t.Setenv("AWS_CONFIG_FILE", write(t, "config",
				"[profile x]\ncredential_source = EcsContainer\nrole_arn = "+w.role.ARN+"\n"))
			return block(profile("x"))
		},
		"SSO": func(t *testing.T, w *fixture, url string) config.Account {
			t.Setenv("AWS_ENDPOINT_URL_SSO", url)
			ssoCache(t, w, "my-sso", time.Now().Add(time.Hour))
			t.Setenv("AWS_CONFIG_FILE", write(t, "config", ssoSection))
			return block(profile("x"))
		},
		"OIDC": func(t *testing.T, w *fixture, url string) config.Account {
			t.Setenv("AWS_ENDPOINT_URL_SSO_OIDC", url)
			ssoCache(t, w, "my-sso", time.Now().Add(-time.Hour))
			t.Setenv("AWS_CONFIG_FILE", write(t, "config", ssoSection))
			return block(profile("x"))
		},
		"login": func(t *testing.T, _ *fixture, url string) config.Account {
			t.Setenv("AWS_ENDPOINT_URL_SIGNIN", url)
			loginCache(t, loginToken)
			t.Setenv("AWS_CONFIG_FILE", write(t, "config", "[profile x]\nlogin_session = "+
				"arn:aws:iam::111111111111:user/alice\n"))
			return block(profile("x"))
		},
		"STS of a profile": func(t *testing.T, w *fixture, url string) config.Account {
			t.Setenv("AWS_ENDPOINT_URL_STS", url)
			t.Setenv("AWS_CONFIG_FILE", write(t, "config",
				"[profile u]\n"+keyLines(w.key)+"[profile "+
					"x]\nsource_profile = u\nrole_arn = "+w.role.ARN+"\n"))
			return block(profile("x"))
		},
		"STS": func(t *testing.T, w *fixture, url string) config.Account {
			t.Setenv("AWS_ENDPOINT_URL_STS", url)
			return w.ak(role(w.role.ARN))
		},
		"STS by web identity": func(t *testing.T, w *fixture, url string) config.Account {
			t.Setenv("AWS_ENDPOINT_URL_STS", url)
			t.Setenv("AWS_ROLE_ARN", w.role.ARN)
			t.Setenv("AWS_WEB_IDENTITY_TOKEN_FILE", write(t, "token", canary))
			return block()
		},
	}
	for name, source := range sources {
		for what, respond := range wrongResponses {
			if strings.HasPrefix(name, "STS") && (what == "JSON error" || what == "a known error in secret words") {
				continue // STS's own error texts are shown
			}
			t.Run(name+"/"+what, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { // retries take no real time
					w, dial := respondingServer(t, respond)
					a := source(t, w, "http://127.0.0.1")
					w.load = LoadOptions{Getenv: os.Getenv, DialContext: dial}
					_, err := w.sessions(Options{Getenv: os.Getenv}).Open(t.Context(), a)
					if err == nil {
						t.Fatal("opened")
					}
					if all := errorTexts(err) + w.log.String(); strings.Contains(all, "CANARY") {
						t.Errorf("shows the response: %s", all)
					}
					if text := err.Error(); len(text) > 400 || strings.Contains(text, "\n") {
						t.Errorf("says %q", text)
					}
				})
			})
		}
	}
}

// respondingServer is a fixture in which all endpoints give the same response, in memory.
func respondingServer(t *testing.T, respond func(http.ResponseWriter)) (
	*fixture,
	func(context.Context, string, string) (net.Conn, error),
) {
	cleanEnv(t)
	conns := pipes(make(chan net.Conn))
	srv := &http.Server{ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
		Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPut { // the metadata service's token
				rw.Header().Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "21600")
				_, _ = fmt.Fprint(rw, "token")
				return
			}
			respond(rw)
		})}
	go func() { _ = srv.Serve(conns) }()
	t.Cleanup(func() { _ = srv.Close() })
	return newFixture(t, awsfake.Options{}), func(ctx context.Context, _, _ string) (net.Conn, error) {
		here, there := net.Pipe()
		select {
		case conns <- there:
			return here, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// pipes is an in-memory listener.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	c, ok := <-p
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}
func (p pipes) Close() error { close(p); return nil }
func (pipes) Addr() net.Addr { return &net.TCPAddr{} }

const (
	ssoSection = "[profile x]\nsso_session = my-sso\nsso_account_id = 111111111111\nsso_role_name = " +
		"reader\n[sso-session my-sso]\nsso_region = us-east-1\nsso_start_url = https://example.awsapps.com/start\n"
	loginToken = `{"accessToken":{"accessKeyId":"` + canary + `","secretAccessKey":"` + canary +
		`","sessionToken":"` + canary +
		`","accountId":"111111111111","expiresAt":"2020-01-01T00:00:00Z"},"clientId":"c","refreshToken":"` + canary +
		`","dpopKey":"` + canary + `"}`
)

func ssoCache(t *testing.T, w *fixture, session string, expires time.Time) {
	t.Helper()
	file, err := ssocreds.StandardCachedTokenFilepath(session)
	if err != nil {
		t.Fatal(err)
	}
	c := &identityCenter{fixture: w, login: awsfake.SSOToken{AccessToken: canary, RefreshToken: canary,
		ClientID: canary, ClientSecret: canary}}
	c.cache(file, expires)
}

func loginCache(t *testing.T, text string) {
	t.Helper()
	file, err := logincreds.StandardCachedTokenFilepath("arn:aws:iam::111111111111:user/alice", "")
	if err == nil {
		err = os.MkdirAll(filepath.Dir(file), 0o700)
	}
	if err == nil {
		err = os.WriteFile(file, []byte(text), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestFilesAreNotQuoted: an error in a file shows its name and line, and nothing of its content.
func TestFilesAreNotQuoted(t *testing.T) {
	bad := []string{
		canary, `{"accessToken":"` + canary, `{"accessToken":"` + canary + `","expiresAt":"` + canary + `"}`,
		`{"accessToken":{"` + canary + `":1},"` + canary + `":"x","expiresAt":5}`,
		`{"accessToken":"` + canary + `","AccessToken":"` + canary + `","expiresAt":"2020-01-01T00:00:00Z","` + canary +
			`":1}`, "\x00" + canary, "[" + canary, "",
		strings.Replace(loginToken, "2020-01-01T00:00:00Z", canary, 1), loginToken,
	}
	for what, put := range map[string]func(t *testing.T, text string) config.Account{
		"SSO token": func(t *testing.T, text string) config.Account {
			file, err := ssocreds.StandardCachedTokenFilepath("my-sso")
			if err == nil {
				err = os.MkdirAll(filepath.Dir(file), 0o700)
			}
			if err == nil {
				err = os.WriteFile(file, []byte(text), 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			t.Setenv("AWS_CONFIG_FILE", write(t, "config", ssoSection))
			return block(profile("x"))
		},
		"login token": func(t *testing.T, text string) config.Account {
			loginCache(t, text)
			t.Setenv("AWS_CONFIG_FILE", write(t, "config", "[profile x]\nlogin_session = "+
				"arn:aws:iam::111111111111:user/alice\n"))
			return block(profile("x"))
		},
		"config": func(t *testing.T, text string) config.Account {
			t.Setenv("AWS_CONFIG_FILE", write(t, "config", "[profile x]\naws_secret_access_key = "+canary+"\n"+text))
			return block(profile("x"))
		},
		"credentials": func(t *testing.T, text string) config.Account {
			t.Setenv("AWS_SHARED_CREDENTIALS_FILE", write(t, "credentials", "[x]\naws_access_key_id = "+canary+"\n"+text))
			return block(profile("x"))
		},
		"boto": func(t *testing.T, text string) config.Account {
			t.Setenv("BOTO_CONFIG", write(t, "boto", "[Credentials]\naws_access_key_id = "+canary+"\n"+text))
			return block()
		},
		"key as a role": func(t *testing.T, _ string) config.Account {
			t.Setenv("AWS_CONFIG_FILE", write(t, "config", "[profile x]\nrole_arn = "+canary+"\nsource_profile = "+
				"y\n[profile y]\nregion = us-east-1\n"))
			return block(profile("x"))
		},
		"key as a source": func(t *testing.T, _ string) config.Account {
			t.Setenv("AWS_CONFIG_FILE", write(t, "config", "[profile x]\nrole_arn = "+
				"arn:aws:iam::111111111111:role/x\ncredential_source = "+canary+"\n"))
			return block(profile("x"))
		},
		"key as a number": func(t *testing.T, _ string) config.Account {
			t.Setenv("AWS_CONFIG_FILE", write(t, "config",
				"[profile x]\nmax_attempts = "+canary+"\naws_access_key_id = "+canary+
					"\naws_secret_access_key = "+canary+"\n"))
			return block(profile("x"))
		},
		"key as a variable": func(t *testing.T, _ string) config.Account {
			t.Setenv("AWS_MAX_ATTEMPTS", canary)
			return block()
		},
		"key as two keys": func(t *testing.T, _ string) config.Account {
			t.Setenv("AWS_CONFIG_FILE", write(t, "config",
				"[profile x]\naws_access_key_id = "+canary+"\naws_access_key_id = "+canary+
					"2\naws_secret_access_key = "+canary+"\n"))
			return block(profile("x"))
		},
	} {
		for i, text := range bad {
			t.Run(fmt.Sprint(what, i), func(t *testing.T) {
				w, _ := ordinaryEnv(t)
				t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
				a := put(t, text)
				_, err := w.sessions(Options{Getenv: os.Getenv}).Open(t.Context(), a)
				if err == nil {
					t.Fatal("opened")
				}
				all := errorTexts(err) + w.log.String()
				for _, f := range Inspect(LoadOptions{Getenv: os.Getenv}, []config.Account{a}) {
					all += f.Error() + f.Hint + "\n"
				}
				if strings.Contains(all, "CANARY") {
					t.Errorf("shows what is in the file: %s", all)
				}
			})
		}
	}
}

// TestProcess: the error of a credential_process shows its exit status and the first line of its standard error, and
// never its output.
func TestProcess(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("SKIPPED, NOT PASSED: the process is a shell script")
	}
	const good = `{"Version":1,"AccessKeyId":"ASIAIOSFODNN7EXAMPLE","SecretAccessKey":"` + canary +
		`","SessionToken":"` + canary + `-2"`
	for name, tt := range map[string]struct {
		script string
		say    string // "": it works
		not    string
	}{
		"works":                {"echo '" + good + "}'", "", ""},
		"works, and complains": {"echo 'deprecated' >&2; echo '" + good + "}'", "", ""},
		"leaves a child":       {"sleep 60 & echo '" + good + "}'", "", ""},
		"a line before": {"echo 'Session refreshed.'; echo '" + good + "}'",
			"exit status 0, but its output (", "refreshed"},
		"a line behind": {"echo '" + good + "}'; echo done", "is not JSON", "done"},
		"cut":           {"echo '" + good + "'", "is not JSON", ""},
		"odd time": {"echo '" + good + `,"Expiration":"` + canary + `"}'`,
			"Expiration is not a time", ""},
		"a number for a time": {"echo '" + good + `,"Expiration":1795990000}'`,
			"Expiration in its output is not a string", "1795990000"},
		"another version": {"echo '" + strings.Replace(good, ":1,", ":2,", 1) + "}'", `"Version": 1`,
			""},
		"a text for a version": {"echo '" + strings.Replace(good, ":1,", `:"`+canary+`",`, 1) + "}'",
			"credential_process: exit status 0", ""},
		"no key": {`echo '{"Version":1,"SecretAccessKey":"` + canary + `"}'`,
			"no AccessKeyId", ""},
		"no secret": {`echo '{"Version":1,"AccessKeyId":"` + canary + `"}'`,
			"no SecretAccessKey", ""},
		"a list":  {`echo '["` + canary + `"]'`, "is not JSON", ""},
		"nothing": {"true", "its output (0 bytes)", ""},
		"fails": {"echo '" + good + "}'; echo 'token has expired' >&2; echo " + canary +
			" >&2; exit 3", "exit status 3; stderr: token has expired", ""},
		"fails in colour": {"printf '\\n\\033[31mno\\302\\205way\\033[0m\\n' >&2; exit 1",
			"stderr: ?[31mno?way?[0m", "\x1b"},
		"fails at length": {"head -c 100000 /dev/zero | tr '\\0' x >&2; exit 1", strings.Repeat("x",
			200) + "…", strings.Repeat("x", 201)},
		"prints its output as its complaint": {"echo '" + good + "}' | tee /dev/stderr; exit 1", "withheld", ""},
		"traces itself": {"echo '" + good + "}'; echo '+ export KEY=" + canary + "' >&2; exit 1",
			"withheld", ""},
		"is killed":       {"kill -9 $$", "credential_process: ", ""},
		"is not there":    {"exec /nowhere/helper " + canary, "exit status 127", ""},
		"prints for ever": {"echo '" + canary + "'; head -c 10000000 /dev/zero", "is not JSON", ""},
	} {
		t.Run(name, func(t *testing.T) {
			w, _ := ordinaryEnv(t)
			file := write(t, "helper", "#!/bin/sh\n"+tt.script+"\n")
			t.Setenv("AWS_CONFIG_FILE", write(t, "config", "[profile x]\ncredential_process = \"/bin/sh\" \""+file+"\"\n"))
			step := w.sessions(Options{Getenv: os.Getenv}).profileStep("x", "us-east-1")
			c, err := step.Retrieve(t.Context(), nil)
			if tt.say == "" {
				if err != nil || c.SecretAccessKey != canary || c.SessionToken != canary+"-2" || c.Source != "ProcessProvider" {
					t.Error(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.say) || record.ReasonOf(err) != record.NoCredentials ||
				!strings.Contains(record.HintOf(err), "Run the profile's credential_process yourself") {
				t.Errorf("%v (hint %q), want %q", err, record.HintOf(err), tt.say)
			}
			if all := errorTexts(err); strings.Contains(all, "CANARY") || tt.not != "" && strings.Contains(err.Error(), tt.not) {
				t.Errorf("shows what it printed: %s", all)
			}
		})
	}
}
