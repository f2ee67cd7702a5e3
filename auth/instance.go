package auth

import (
	"context"
	"errors"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials/ec2rolecreds"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	"github.com/aws/smithy-go"

	"github.com/aws-collector/collector/auth/internal/fault"
	"github.com/aws-collector/collector/record"
)

// imdsStep is the role of the instance that this program runs on. All accounts share one client and its token.
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html
type imdsStep struct {
	client   *imds.Client
	disabled func() bool // AWS_EC2_METADATA_DISABLED
}

func (*imdsStep) Name() string { return "instance role" }
func (*imdsStep) Key() string  { return "imds" }

func (s *imdsStep) Retrieve(ctx context.Context, _ Provider) (aws.Credentials, error) {
	if s.disabled() {
		return aws.Credentials{}, imdsDisabled()
	}
	ctx, cancel := fault.WithTimeout(ctx, callTimeout, "the instance metadata service")
	defer cancel()
	c, err := ec2rolecreds.New(func(o *ec2rolecreds.Options) { o.Client = s.client }).Retrieve(ctx)
	if err != nil {
		return aws.Credentials{}, imdsFault(fault.TimeoutCause(ctx, err))
	}
	return c, nil
}

func imdsDisabled() error {
	return fault.New(record.NoCredentials,
		"Unset AWS_EC2_METADATA_DISABLED, or give the account its own credentials.",
		"instance role: AWS_EC2_METADATA_DISABLED=true disables the instance metadata service")
}

const hopLimitHint = "In a container, raise the hop limit: `aws ec2 modify-instance-metadata-options " +
	"--http-put-response-hop-limit 2`; with a hop limit of 1, no response reaches a container."

// fromIMDS reports whether err comes from the instance metadata service, at any depth of a chain.
func fromIMDS(err error) bool {
	for op := new(smithy.OperationError); errors.As(err, &op); err = op.Err {
		if op.ServiceID == imds.ServiceID {
			return true
		}
	}
	return false
}

func imdsFault(err error) error {
	status, noToken := fault.HTTPStatus(err), false
	// The SDK hides the status 401 that follows a request for a token without a response.
	var hidden interface{ RetryableError() bool }
	if status == 0 && errors.As(err, &hidden) && fault.NetworkText(err) == "" {
		noToken = true
	}
	// The SDK's text is not used: it quotes the response, which is the credentials.
	text := fault.SafeText(err)
	if noToken {
		text = "the metadata service requires a token (IMDSv2), and the request for one got no response"
	}
	f := &record.Fault{Reason: record.NoCredentials, Err: errors.New("instance role: " + text)}
	switch {
	case noToken:
		f.Hint = hopLimitHint
	case record.CodeOf(err) != "":
		f.Hint = "Check the instance profile with `aws iam get-instance-profile`: " +
			"its role was deleted or does not trust ec2.amazonaws.com."
	case status == http.StatusNotFound:
		f.Hint = "Attach an instance profile, or give the account its own credentials: the instance has no role."
	case status == http.StatusForbidden:
		f.Hint = "Enable the metadata service: `aws ec2 modify-instance-metadata-options --http-endpoint enabled`; " +
			"or let no proxy forward the request: the service refuses forwarded requests, and all when it is disabled."
	case status == http.StatusUnauthorized:
		f.Hint = hopLimitHint + " The metadata service requires a token, and did not issue one."
	default:
		f.Hint = "Check that this is an EC2 instance and that no firewall blocks 169.254.169.254. " + hopLimitHint
	}
	return f
}
