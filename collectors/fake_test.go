package collectors

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/aws-collector/collector/internal/awsfake"
	"github.com/aws-collector/collector/record"
)

// user is a session of an IAM user of the fake AWS, which checks its signatures.
type user struct{ awsfake.Key }

func (u user) Retrieve(context.Context) (aws.Credentials, error) {
	return aws.Credentials{AccessKeyID: u.ID, SecretAccessKey: u.Secret}, nil
}
func (user) RejectCurrent() {}

// each lists a kind and calls f for each page, unless f is nil. An error of f ends the loop.
func (l *Lister) each(
	ctx context.Context, o CallOptions, k *Kind, parent string, f func(*record.Page) error,
) (st record.ListStats, err error) {
	for p, err := range l.Pages(ctx, o, k, parent, &st) {
		if err == nil && f != nil {
			err = f(p)
		}
		if err != nil {
			return st, err
		}
	}
	return st, nil
}

// withFakeAWS runs f in a bubble, against the fake AWS with real limits: hours pass at once.
func withFakeAWS(
	t *testing.T,
	o awsfake.Options,
	f func(a *awsfake.AWS, c *awsfake.Account, l *Lister, w func(k *Kind, region string) CallOptions),
) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		a := awsfake.New(o)
		srv := a.InMemory()
		defer srv.Close()
		http := srv.HTTPClient()
		defer http.CloseIdleConnections()
		c := a.AddAccount("111111111111", "aws")
		s := user{c.AddUser("alice").NewKey()}
		l, err := New(
			Options{
				AWS:       aws.Config{HTTPClient: http, BaseEndpoint: &srv.URL},
				Pages:     record.NewPagePool(1, 64<<20),
				GZIP:      true,
				DigestKey: []byte("k"),
			},
		)
		if err != nil {
			t.Fatal(err)
		}
		f(a, c, l, func(k *Kind, region string) CallOptions {
			if k.Service().Global {
				region = "us-east-1"
			}
			return CallOptions{
				Session: s,
				Region:  region,
				Gate:    new(gate),
				Envelope: record.NewEnvelope(record.Target{Account: "prod", Region: region, Kind: k.Name},
					record.Identity{AccountID: c.ID, Partition: "aws"}, []byte("{}"), "run", "2026-11-21T22:15:03Z"),
			}
		})
	})
}

// The call path of earlier releases lists the same.
func TestSDKStack(t *testing.T) {
	test := func(_ *awsfake.AWS, acct *awsfake.Account, l *Lister, w func(*Kind, string) CallOptions) {
		acct.AddInstances("eu-west-1", 600)
		o := l.options
		o.SDKStack = true
		old, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		k := kind(t, "ec2_volume")
		var listed [2]string
		for i, l := range []*Lister{l, old} {
			_, err := l.each(context.Background(), w(k, "eu-west-1"), k, "", func(p *record.Page) error {
				listed[i] += string(p.Lines())
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		}
		if listed[0] != listed[1] || len(listed[0]) < 600*100 {
			t.Errorf("%d and %d bytes were listed", len(listed[0]), len(listed[1]))
		}
	}
	withFakeAWS(t, awsfake.Options{}, test)
}

// With each fault, each volume is listed once, and a listing that fails says why.
func TestFaults(t *testing.T) {
	for _, c := range []struct {
		name  string
		fault awsfake.Fault
		ends  record.Reason // "" if the listing is complete in spite of the fault
	}{
		{"no fault", awsfake.Fault{Kind: awsfake.Delay, Delay: time.Second}, ""},
		{"a page that hangs", awsfake.Fault{Kind: awsfake.Hang, Pages: true, Count: 1}, ""},
		{"a page that hangs twice", awsfake.Fault{Kind: awsfake.Hang, Pages: true, Count: 2}, record.TimedOut},
		{"a reset", awsfake.Fault{Kind: awsfake.Reset, Pages: true, Count: 3}, ""},
		{"half a body", awsfake.Fault{Kind: awsfake.TruncatedBody, After: 1, Count: 2}, ""},
		{"an internal error", awsfake.Fault{Kind: awsfake.ServerError, Count: 4}, ""},
		{"a proxy's page", awsfake.Fault{Kind: awsfake.ProxyPage, After: 2, Count: 1}, ""},
		{"too fast", awsfake.Fault{Kind: awsfake.Throttling, After: 1, Count: 4}, ""},
		{"expired once a page", awsfake.Fault{Kind: awsfake.Expire, Pages: true, Count: 1}, ""},
		{"odd markup", awsfake.Fault{Kind: awsfake.UnusualMarkup}, ""},
		{"members of the future", awsfake.Fault{Kind: awsfake.UnknownMembers}, ""},
		{"hung for ever", awsfake.Fault{Kind: awsfake.Hang, Pages: true}, record.TimedOut},
		{"half a body for ever", awsfake.Fault{Kind: awsfake.TruncatedBody, Pages: true}, record.Network},
		{"too fast for ever", awsfake.Fault{Kind: awsfake.Throttling, Pages: true}, record.Throttling},
		{"a circle", awsfake.Fault{Kind: awsfake.RepeatToken, Pages: true}, record.BadAnswer},
		{"expired for ever", awsfake.Fault{Kind: awsfake.Expire, Pages: true}, record.Expired},
		{"a proxy for ever", awsfake.Fault{Kind: awsfake.ProxyPage, Pages: true}, record.Network},
	} {
		t.Run(c.name, func(t *testing.T) {
			withFakeAWS(
				t,
				awsfake.Options{},
				func(a *awsfake.AWS, acct *awsfake.Account, l *Lister, w func(*Kind, string) CallOptions) {
					acct.AddInstances("eu-west-1", 600)
					k := kind(t, "ec2_volume")
					ids := func() (map[string]int, record.ListStats, error) {
						m := map[string]int{}
						st, err := l.each(context.Background(), w(k, "eu-west-1"), k, "", func(p *record.Page) error {
							for v := range p.Views() {
								m[string(v.ID())]++
							}
							return nil
						})
						return m, st, err
					}
					want, st, err := ids()
					if err != nil || len(want) < 600 || st.Pages < 2 {
						t.Fatalf("%d volumes, %+v, %v", len(want), st, err)
					}
					c.fault.Action = "DescribeVolumes"
					a.Inject(c.fault)
					got, st, err := ids()
					if c.ends != "" {
						if record.ReasonOf(err) != c.ends || record.HintOf(err) == "" || st.Records == 0 || st.Records%500 != 0 ||
							record.StateOf(err, st.Records) == record.OK {
							t.Errorf("%s after %d records: %v", record.ReasonOf(err), st.Records, err)
						}
						return
					}
					if err != nil {
						t.Fatal(err)
					}
					for id, n := range got {
						if n != 1 || want[id] != 1 {
							t.Errorf("%s was listed %d times", id, n)
						}
					}
					if len(got) != len(want) {
						t.Errorf("%d of %d volumes", len(got), len(want))
					}
					if (c.fault.Kind == awsfake.UnknownMembers) != (st.Unknown > 0) {
						t.Errorf("%d unknown members", st.Unknown)
					}
				},
			)
		})
	}
}

func TestRegionsOfAnAccount(t *testing.T) {
	withFakeAWS(
		t,
		awsfake.Options{},
		func(a *awsfake.AWS, c *awsfake.Account, l *Lister, w func(*Kind, string) CallOptions) {
			c.OptIn("ap-east-1")
			rs, err := l.Regions(context.Background(), w(kind(t, "ec2_region"), "me-south-1"))
			if err != nil || !rs.Complete {
				t.Fatalf("%+v, %v", rs, err)
			}
			if !slices.Contains(rs.Enabled, "us-east-1") || !slices.Contains(rs.Enabled, "ap-east-1") ||
				!slices.Contains(rs.Disabled, "me-south-1") {
				t.Errorf("%+v", rs)
			}
			k := kind(t, "ec2_instance")
			_, err = l.each(context.Background(), w(k, "me-south-1"), k, "", nil)
			if record.StateOf(err, 0) != record.RegionDisabled {
				t.Errorf("%s: %v", record.StateOf(err, 0), err)
			}
		},
	)
}

// The SDK corrects a wrong clock by the response's Date; else the error names the skew.
func TestClockIsOff(t *testing.T) {
	for _, off := range []time.Duration{20 * time.Minute, -20 * time.Minute} {
		withFakeAWS(
			t,
			awsfake.Options{ClockOffset: off},
			func(a *awsfake.AWS, c *awsfake.Account, l *Lister, w func(*Kind, string) CallOptions) {
				c.AddInstances("eu-west-1", 1)
				k := kind(t, "ec2_instance")
				st, err := l.each(
					context.Background(), w(k, "eu-west-1"), k, "", func(*record.Page) error { return nil },
				)
				if err != nil || st.Records != 1 {
					t.Errorf("%v off: %+v, %v", off, st, err)
				}
			},
		)
	}
}
