package servicestest

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/smithy-go/middleware"

	"github.com/aws-collector/collector/collectors/internal/awsxml"
	"github.com/aws-collector/collector/collectors/internal/awsxml/equaltest"
)

// Random responses of every operation: our decoder and the SDK's have the same result.
func TestCloudFormationEqualsTheSDK(t *testing.T) {
	equaltest.Service{
		Format: awsxml.AWSQuery("cloudformation"),
		Client: func(http aws.HTTPClient) any {
			return cloudformation.New(cloudformation.Options{
				Region: "us-east-1", Credentials: aws.AnonymousCredentials{}, Retryer: aws.NopRetryer{}, HTTPClient: http,
				APIOptions: []func(*middleware.Stack) error{equaltest.WithoutValidation},
			})
		},
	}.EveryOperation(t, 20)
}
