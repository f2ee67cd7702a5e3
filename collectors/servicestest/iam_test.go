package servicestest

import (
	"context"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/aws-collector/collector/collectors"
	"github.com/aws-collector/collector/record"
)

// In every partition, with every variant of the endpoints, IAM is called where the SDK's client calls it.
func TestIAMIsCalledInItsHome(t *testing.T) {
	for name, env := range map[string]map[string]string{
		"nothing":             {},
		"FIPS":                {"AWS_USE_FIPS_ENDPOINT": "true"},
		"dual stack":          {"AWS_USE_DUALSTACK_ENDPOINT": "true"},
		"FIPS and dual stack": {"AWS_USE_FIPS_ENDPOINT": "true", "AWS_USE_DUALSTACK_ENDPOINT": "true"},
		"endpoint":            {"AWS_ENDPOINT_URL_IAM": "http://127.0.0.1:4/i"},
	} {
		t.Run(name, func(t *testing.T) {
			for k, v := range env {
				t.Setenv(k, v)
			}
			cfg, err := config.LoadDefaultConfig(t.Context(), config.WithSharedConfigFiles(nil),
				config.WithSharedCredentialsFiles(nil))
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range record.Partitions {
				var r recorder
				cfg := cfg
				cfg.HTTPClient, cfg.Region, cfg.Credentials = &r, p.Regions[len(p.Regions)-1], keys{}
				if name == "endpoint" { // the SDK signs for the client's region then
					cfg.Region = p.DefaultRegion
				}
				cfg.Retryer = func() aws.Retryer { return aws.NopRetryer{} }
				in := &iam.GetAccountAuthorizationDetailsInput{
					Filter: []types.EntityType{types.EntityTypeRole}, MaxItems: aws.Int32(100),
				}
				_, err := iam.NewFromConfig(cfg).GetAccountAuthorizationDetails(context.Background(), in)
				home := collectors.Region(record.GlobalRegion, p)
				want, got := outcome(r, err), sentByUs(t, cfg, "iam_role", home)
				if got != want {
					t.Errorf("%s: we send\n%s\nthe SDK sends\n%s", p.ID, got, want)
				}
			}
		})
	}
}
