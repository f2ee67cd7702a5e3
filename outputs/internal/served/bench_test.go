package served_test

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/outputs"
	"github.com/aws-collector/collector/outputs/deliver"
	"github.com/aws-collector/collector/outputs/outputstest"
	"github.com/aws-collector/collector/outputs/prometheus"
)

// A largeStore has n instances, which it creates on demand.
type largeStore struct {
	outputstest.Store
	n int
}

func (c *largeStore) Find(_ context.Context, _ inventory.Query) iter.Seq2[*inventory.Resource, error] {
	return func(yield func(*inventory.Resource, error) bool) {
		tags := map[string]string{"team": "platform", "Name": "web"}
		for i := range c.n {
			r := outputstest.Instance(fmt.Sprintf("i-%017x", i), nil)
			r.Name, r.Tags, r.Data = "web", tags, []byte(
				`{"PrivateIpAddress":"10.0.0.1","VpcId":"vpc-1","SubnetId":"subnet-1",`+
					`"NetworkInterfaces":[{"SubnetId":"subnet-1"}]}`,
			)
			if !yield(r, nil) {
				return
			}
		}
	}
}

// BenchmarkServed serves 100,000 resources; with -short a tenth.
func BenchmarkServed(b *testing.B) {
	n := 100_000
	if testing.Short() {
		n /= 10
	}
	store := &largeStore{outputstest.Store{Coverage: []inventory.Coverage{outputstest.Coverage(
		"prod", "us-east-1", "ec2_instance", outputstest.Noon)}}, n}
	for name, o := range map[string]any{
		"prometheus": outputstest.Options(prometheus.Type, func(o *prometheus.Options) {
			o.MaxSeries, o.Labels = 100_000, map[string]string{"team": "tags.team", "vpc": "tags.vpc"}
		}),
		"http_sd": nodes(nil),
	} {
		b.Run(name, func(b *testing.B) {
			s := deliver.NewSet(servedTypes(), outputs.Deps{Store: store})
			f, err := s.Open(b.Context(), outputstest.ServedSpecs(servedTypes(), o))
			if err != nil {
				b.Fatal(err)
			}
			for _, h := range f.Handlers() {
				for b.Loop() {
					h.ServeHTTP(&discardResponse{header: http.Header{}}, httptest.NewRequest(http.MethodGet, "/", nil))
				}
			}
		})
	}
}

// A discardResponse discards the response.
type discardResponse struct{ header http.Header }

func (s *discardResponse) Header() http.Header         { return s.header }
func (s *discardResponse) Write(p []byte) (int, error) { return len(p), nil }
func (s *discardResponse) WriteHeader(int)             {}
