package httpclient_test

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/aws-collector/collector/outputs"
	"github.com/aws-collector/collector/outputs/datakit"
	httpoutput "github.com/aws-collector/collector/outputs/http"
	"github.com/aws-collector/collector/outputs/influx"
	"github.com/aws-collector/collector/outputs/internal/httpclient"
	"github.com/aws-collector/collector/outputs/otlp"
	"github.com/aws-collector/collector/outputs/outputstest"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/secret"
)

// No error and no log shows a secret.
func TestNoSecretShows(t *testing.T) {
	var status int
	s := outputstest.Serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", "http://u:"+outputstest.Canary+"@h/?token="+outputstest.Canary)
		w.WriteHeader(status)
		_ = r.Header.Write(w)
		fmt.Fprintln(w, r.URL, r.URL.Query())
	})
	query := "?token=" + outputstest.Escaped
	withUser := strings.Replace(s.URL, "http://", "http://user:"+outputstest.Escaped+"@", 1)
	for name, set := range map[string]func(any){
		"http bearer": func(o any) {
			h := o.(*httpoutput.Options)
			h.URL, h.BearerToken = s.URL+query, secret.New(outputstest.Canary)
		},
		"http basic": func(o any) {
			h := o.(*httpoutput.Options)
			h.URL, h.BasicAuth = s.URL, httpclient.BasicAuth{Username: "u", Password: secret.New(outputstest.Canary)}
		},
		"http user": func(o any) {
			h := o.(*httpoutput.Options)
			h.URL = withUser
		},
		"http headers": func(o any) {
			h := o.(*httpoutput.Options)
			h.URL, h.Headers = s.URL, map[string]secret.String{"X-Key": secret.New(outputstest.Canary)}
		},
		"http hmac": func(o any) {
			h := o.(*httpoutput.Options)
			h.URL, h.HMAC.Key = s.URL, secret.New(outputstest.Canary)
		},
		"http path":           func(o any) { o.(*httpoutput.Options).URL = s.URL + "/services/" + outputstest.Escaped },
		"http path, raw":      func(o any) { o.(*httpoutput.Options).URL = s.URL + "/" + outputstest.Canary },
		"http bare query":     func(o any) { o.(*httpoutput.Options).URL = s.URL + "/in?" + outputstest.Canary },
		"http escaped query":  func(o any) { o.(*httpoutput.Options).URL = s.URL + "/in?" + outputstest.Escaped },
		"http key of a query": func(o any) { o.(*httpoutput.Options).URL = s.URL + "/in?a=b&" + outputstest.Escaped + "=1" },
		"http path, dead": func(o any) {
			o.(*httpoutput.Options).URL = "http://127.0.0.1:1/" + outputstest.Escaped + "?" + outputstest.Escaped
		},
		"otlp path": func(o any) { o.(*otlp.Options).URL = s.URL + "/" + outputstest.Escaped + "/v1/logs" },
		"http dead": func(o any) {
			h := o.(*httpoutput.Options)
			h.URL = "http://u:canary%2FK7MDENG%2FEXAMPLEKEY@127.0.0.1:1/" + query
		},
		"datakit": func(o any) {
			h := o.(*datakit.Options)
			h.URL, h.Token = s.URL, secret.New(outputstest.Canary)
		},
		"datakit dead": func(o any) {
			h := o.(*datakit.Options)
			h.URL, h.Token = "http://127.0.0.1:1", secret.New(outputstest.Canary)
		},
		"influx": func(o any) {
			h := o.(*influx.Options)
			h.URL, h.Token = s.URL+"/write?db=x", secret.New(outputstest.Canary)
		},
		"influx user": func(o any) {
			h := o.(*influx.Options)
			h.URL = withUser + "/write?db=x"
		},
	} {
		typ, _, _ := strings.Cut(name, " ")
		out, log := outputstest.Open(t, map[string]outputs.Type{
			"http": httpoutput.Type, "otlp": otlp.Type, "datakit": datakit.Type, "influx": influx.Type,
		}[typ], set)
		for _, status = range []int{301, 400, 401, 404, 418, 429, 500} {
			err := out.Send(t.Context(), outputstest.SmallBatch("a", 1))
			if err == nil {
				t.Errorf("%s, %d: no error", name, status)
				continue
			}
			for _, text := range []string{err.Error(), fmt.Sprintf("%+v", err), record.HintOf(err), string(log.Bytes())} {
				for _, form := range []string{outputstest.Canary, outputstest.Escaped, "Y2FuYXJ5L0s3TURFTkcvRVhBTVBMRUtFW"} {
					if strings.Contains(text, form) {
						t.Errorf("%s, %d: %s", name, status, text)
					}
				}
			}
		}
	}
}

// Messages show only the scheme and host of a URL: a short path, a query without a value or a fragment may be a secret.
func TestShortSecretsOfAURL(t *testing.T) {
	s := outputstest.Serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprintln(w, "Cannot", r.Method, r.URL, r.URL.Query())
	})
	for _, base := range []string{s.URL, "http://127.0.0.1:1"} {
		for _, rest := range []string{"/T0KEN", "/T0KEN/", "/hooks/T0KEN", "?T0KEN", "/?T0KEN", "/write?T0KEN",
			"/write?a=1&T0KEN", "/write?T0KEN=", "/write?x=T0KEN", "/T0KEN;x?y", "/%54T0KEN"} {
			out := openHTTP(t, func(o *httpoutput.Options) { o.URL = base + rest })
			err := out.Send(t.Context(), outputstest.SmallBatch("a", 1))
			if err == nil {
				t.Fatalf("%s: no error", rest)
			}
			if text := err.Error() + record.HintOf(err); strings.Contains(text, "T0KEN") || !strings.Contains(text, base) {
				t.Errorf("%s: %s", rest, text)
			}
		}
	}
	for _, bad := range []string{"http://h/#T0KEN", "http://h:port/T0KEN", "T0KEN", "http:T0KEN", "ht tp://T0KEN",
		"http://u:T0KEN@/", "http://h/%zzT0KEN", "ftp://T0KEN"} {
		o := httpoutput.Type.Options().(*httpoutput.Options)
		o.URL = bad
		if err := o.Validate(); err == nil || strings.Contains(err.Error(), "T0KEN") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

// A response that is not HTTP may repeat our secrets too.
func TestNoSecretShowsOfInvalidHTTP(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(func() {
		_ = l.Close()
		wg.Wait()
	})
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Read(make([]byte, 1<<10))
			_, _ = fmt.Fprintf(c, "HTTP/1.1 %s no\r\n\r\n", outputstest.Canary)
			_ = c.Close()
		}
	})
	out := openHTTP(t, func(o *httpoutput.Options) {
		o.URL, o.BearerToken = "http://"+l.Addr().String(), secret.New(outputstest.Canary)
	})
	err = out.Send(t.Context(), outputstest.SmallBatch("a", 1))
	if err == nil || !strings.Contains(err.Error(), "malformed") || strings.Contains(err.Error(), outputstest.Canary) ||
		strings.Contains(fmt.Sprintf("%+v", err), outputstest.Canary) {
		t.Errorf("%v", err)
	}
}
