package servicestest

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/aws/aws-sdk-go-v2/service/redshift"
	"github.com/aws/smithy-go/middleware"

	"github.com/aws-collector/collector/collectors/internal/awsxml"
	"github.com/aws-collector/collector/collectors/internal/awsxml/equaltest"
)

var withoutValidation = []func(*middleware.Stack) error{equaltest.WithoutValidation}

// Random responses of every operation: our decoder and the SDK's have the same result.
func TestAutoScalingEqualsTheSDK(t *testing.T) {
	equaltest.Service{
		Format: awsxml.AWSQuery("autoscaling"),
		Client: func(http aws.HTTPClient) any {
			return autoscaling.New(autoscaling.Options{
				Region: "us-east-1", Credentials: aws.AnonymousCredentials{}, Retryer: aws.NopRetryer{}, HTTPClient: http,
				APIOptions: withoutValidation,
			})
		},
	}.EveryOperation(t, 20)
}

func TestElastiCacheEqualsTheSDK(t *testing.T) {
	equaltest.Service{
		Format: awsxml.AWSQueryMarker("elasticache"),
		Client: func(http aws.HTTPClient) any {
			return elasticache.New(elasticache.Options{
				Region: "us-east-1", Credentials: aws.AnonymousCredentials{}, Retryer: aws.NopRetryer{}, HTTPClient: http,
				APIOptions: withoutValidation,
			})
		},
	}.EveryOperation(t, 20)
}

func TestRDSEqualsTheSDK(t *testing.T) {
	equaltest.Service{
		Format: awsxml.AWSQueryMarker("rds"),
		Client: func(http aws.HTTPClient) any {
			return rds.New(rds.Options{
				Region: "us-east-1", Credentials: aws.AnonymousCredentials{}, Retryer: aws.NopRetryer{}, HTTPClient: http,
				APIOptions: withoutValidation,
			})
		},
	}.EveryOperation(t, 45)
}

func TestRedshiftEqualsTheSDK(t *testing.T) {
	equaltest.Service{
		Format: awsxml.AWSQueryMarker("redshift"),
		Client: func(http aws.HTTPClient) any {
			return redshift.New(redshift.Options{
				Region: "us-east-1", Credentials: aws.AnonymousCredentials{}, Retryer: aws.NopRetryer{}, HTTPClient: http,
				APIOptions: withoutValidation,
			})
		},
		Unions: []string{"LakeFormationScopeUnion", "RedshiftScopeUnion", "S3AccessGrantsScopeUnion",
			"ServiceIntegrationsUnion"},
	}.EveryOperation(t, 45)
}
