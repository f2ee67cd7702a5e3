package collectors

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/aws-collector/collector/internal/awsfake"
	"github.com/aws-collector/collector/record"
)

// BenchmarkList lists a page of 1,000 instances, from the response's body to the page's records: signing, decompressing
// and decoding, without a network.
func BenchmarkList(b *testing.B) {
	for _, gzip := range []bool{false, true} {
		b.Run(fmt.Sprintf("gzip=%t", gzip), func(b *testing.B) {
			a := awsfake.New(awsfake.Options{Seed: 1, KeepCalls: -1, Throttle: awsfake.Throttle{Off: true}})
			srv := a.InMemory()
			defer srv.Close()
			c := a.AddAccount("111111111111", "aws")
			c.AddInstances("us-east-1", 1000)
			again := &replay{from: srv.HTTPClient()}
			defer again.from.CloseIdleConnections()
			l, err := New(
				Options{
					AWS:       aws.Config{HTTPClient: again, BaseEndpoint: &srv.URL},
					Pages:     record.NewPagePool(1, 64<<20),
					GZIP:      gzip,
					DigestKey: []byte("k"),
				},
			)
			if err != nil {
				b.Fatal(err)
			}
			k, _ := KindNamed("ec2_instance")
			w := CallOptions{
				Session: user{c.AddUser("alice").NewKey()},
				Region:  "us-east-1",
				Gate:    new(gate),
				Envelope: record.NewEnvelope(record.Target{Account: "prod", Region: "us-east-1", Kind: k.Name},
					record.Identity{AccountID: c.ID, Partition: "aws"}, []byte("{}"), "run", "2026-11-21T22:15:03Z"),
			}
			list := func() {
				var st record.ListStats
				for _, err := range l.Pages(b.Context(), w, k, "", &st) {
					if err != nil {
						b.Fatal(err)
					}
				}
				if st.Records != 1000 {
					b.Fatal(st)
				}
			}
			list() // the fake AWS renders its response, and the page grows
			b.ReportAllocs()
			for b.Loop() {
				list()
			}
			if zipped := again.response.Header.Get("Content-Encoding") == "gzip"; zipped != gzip {
				b.Fatal("the response was compressed:", zipped)
			}
			b.ReportMetric(float64(b.N)*1000/b.Elapsed().Seconds(), "instances/s")
		})
	}
}

// replay makes the first call and repeats its response after that.
type replay struct {
	from     *http.Client
	response *http.Response
	body     []byte
}

func (r *replay) Do(q *http.Request) (*http.Response, error) {
	if r.response == nil {
		resp, err := r.from.Do(q)
		if err != nil {
			return nil, err
		}
		defer resp.Body.Close()
		if r.body, err = io.ReadAll(resp.Body); err != nil {
			return nil, err
		}
		r.response = resp
	}
	resp := *r.response
	resp.Body = io.NopCloser(bytes.NewReader(r.body))
	return &resp, nil
}
