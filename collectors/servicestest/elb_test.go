package servicestest

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancing"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/smithy-go/middleware"

	"github.com/aws-collector/collector/collectors/internal/awsxml"
	"github.com/aws-collector/collector/collectors/internal/awsxml/equaltest"
)

// Random responses of every operation: our decoder and the SDK's have the same result.
func TestElasticLoadBalancingEqualsTheSDK(t *testing.T) {
	equaltest.Service{
		Format: awsxml.AWSQuery("elasticloadbalancing"),
		Client: func(http aws.HTTPClient) any {
			return elasticloadbalancing.New(elasticloadbalancing.Options{
				Region: "us-east-1", Credentials: aws.AnonymousCredentials{}, Retryer: aws.NopRetryer{}, HTTPClient: http,
				APIOptions: []func(*middleware.Stack) error{equaltest.WithoutValidation},
			})
		},
	}.EveryOperation(t, 7)
}

func TestElasticLoadBalancingV2EqualsTheSDK(t *testing.T) {
	equaltest.Service{
		Format: awsxml.AWSQuery("elasticloadbalancingv2"),
		Client: func(http aws.HTTPClient) any {
			return elasticloadbalancingv2.New(elasticloadbalancingv2.Options{
				Region: "us-east-1", Credentials: aws.AnonymousCredentials{}, Retryer: aws.NopRetryer{}, HTTPClient: http,
				APIOptions: []func(*middleware.Stack) error{equaltest.WithoutValidation},
			})
		},
	}.EveryOperation(t, 15)
}
