package servicestest

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancing"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/aws/aws-sdk-go-v2/service/redshift"
	"github.com/aws/smithy-go/middleware"

	"github.com/aws-collector/collector/collectors/internal/awsxml"
	"github.com/aws-collector/collector/collectors/internal/awsxml/equaltest"
)

// Random responses of every operation: our decoder and the SDK's have the same result.
func TestServicesEqualTheSDK(t *testing.T) {
	ofIAM := awsxml.AWSQuery("iam")
	ofIAM.Token = "Marker" // and IsTruncated is a member as others: it is compared, too
	for name, s := range map[string]struct {
		format     awsxml.Format
		client     func(aws.Config) any
		unions     []string
		operations int // at least
	}{
		"autoscaling": {format: awsxml.AWSQuery("autoscaling"), operations: 20,
			client: func(c aws.Config) any { return autoscaling.NewFromConfig(c) }},
		"cloudformation": {format: awsxml.AWSQuery("cloudformation"), operations: 20,
			client: func(c aws.Config) any { return cloudformation.NewFromConfig(c) }},
		"elasticache": {format: awsxml.AWSQueryMarker("elasticache"), operations: 20,
			client: func(c aws.Config) any { return elasticache.NewFromConfig(c) }},
		"elb": {format: awsxml.AWSQuery("elasticloadbalancing"), operations: 7,
			client: func(c aws.Config) any { return elasticloadbalancing.NewFromConfig(c) }},
		"elbv2": {format: awsxml.AWSQuery("elasticloadbalancingv2"), operations: 15,
			client: func(c aws.Config) any { return elasticloadbalancingv2.NewFromConfig(c) }},
		"iam": {format: ofIAM, operations: 20, client: func(c aws.Config) any { return iam.NewFromConfig(c) }},
		"rds": {format: awsxml.AWSQueryMarker("rds"), operations: 45,
			client: func(c aws.Config) any { return rds.NewFromConfig(c) }},
		"redshift": {format: awsxml.AWSQueryMarker("redshift"), operations: 45,
			client: func(c aws.Config) any { return redshift.NewFromConfig(c) },
			unions: []string{"LakeFormationScopeUnion", "RedshiftScopeUnion", "S3AccessGrantsScopeUnion",
				"ServiceIntegrationsUnion"}},
	} {
		t.Run(name, func(t *testing.T) {
			equaltest.Service{
				Format: s.format, Unions: s.unions,
				Client: func(http aws.HTTPClient) any {
					return s.client(aws.Config{
						Region: "us-east-1", Credentials: aws.AnonymousCredentials{}, HTTPClient: http,
						Retryer:    func() aws.Retryer { return aws.NopRetryer{} },
						APIOptions: []func(*middleware.Stack) error{equaltest.WithoutValidation},
					})
				},
			}.EveryOperation(t, s.operations)
		})
	}
}
