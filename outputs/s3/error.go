package s3

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"

	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/aws-collector/collector/outputs"
	"github.com/aws-collector/collector/record"
)

// explainError turns the error of a PutObject into the error of the batch, with a reason and a hint.
// https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
func (o *output) explainError(err error) error {
	// A Fault is from the credentials, not from the store. It contains STS's answer, so it goes first, and its text is
	// already safe to show.
	var own *record.Fault
	if errors.As(err, &own) {
		return own
	}
	answered := answerOf(err)
	if answered == nil {
		if record.CodeOf(err) == "" && record.ReasonOf(err) == record.Network {
			return o.http.ExplainTransportError(err)
		}
		return err
	}
	status := answered.response.StatusCode
	fault := func(r record.Reason, hint string) error { return &record.Fault{Reason: r, Hint: hint, Err: answered} }
	switch answered.code {
	case "NoSuchBucket":
		return fault(record.Other, "Create the bucket, or correct bucket, region or endpoint.")
	case "PermanentRedirect",
		"TemporaryRedirect",
		"MovedPermanently",
		"AuthorizationHeaderMalformed",
		"IllegalLocationConstraintException":
		return fault(record.Other, answered.regionHint()+": the bucket is not in "+o.region+".")
	case "AccessDenied", "AllAccessDisabled", "Forbidden":
		hint := fmt.Sprintf("Allow s3:PutObject on arn:aws:s3:::%s/* in the identity's and the bucket's policy.", o.bucket)
		if o.sse != "" && o.sse != "AES256" {
			hint += " Allow kms:GenerateDataKey on the key too."
		}
		return fault(record.AccessDenied, hint)
	case "InvalidAccessKeyId":
		return fault(
			record.BadKey,
			"Check ak_id and endpoint, or the source of the credentials: the object store does not know the key.",
		)
	case "SignatureDoesNotMatch":
		return fault(
			record.BadSignature,
			"Check ak_secret, which does not match the key, and that no proxy changes the requests.",
		)
	case "RequestTimeTooSkewed":
		return fault(record.ClockSkew,
			"Synchronize this machine's clock, for example with NTP. The next request uses the object store's time.")
	case "ExpiredToken", "InvalidToken", "TokenRefreshRequired":
		if c, ok := o.credentials.(interface{ RejectCurrent() }); ok {
			c.RejectCurrent()
		}
		return fault(record.Expired, "Replace session_token if it is set; any other session is renewed automatically.")
	case "EntityTooLarge", "KeyTooLongError", "MetadataTooLarge":
		return fmt.Errorf("%w: %w", outputs.ErrRefused, answered)
	case "NotImplemented", "InvalidStorageClass", "InvalidEncryptionAlgorithmError":
		return fault(record.Unsupported, "Check sse, kms_key_id and storage_class: one of them is not supported.")
	case "InvalidBucketName", "MethodNotAllowed":
		return fault(record.Other, "Check bucket, endpoint and path_style.")
	case "BadDigest", "XAmzContentSHA256Mismatch", "IncompleteBody", "RequestTimeout":
		return fault(record.Network, "Nothing to do: the object was damaged in transit. The upload is repeated.")
	}
	switch {
	case status == http.StatusRequestEntityTooLarge: // a proxy's answer has no code
		return fmt.Errorf("%w: %w", outputs.ErrRefused, answered)
	case status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable:
		return o.http.WithRetryAfter(
			answered.response,
			fault(record.Throttling, "Nothing to do: the object store is busy. The upload is repeated."),
		)
	case status == http.StatusInternalServerError:
		return o.http.WithRetryAfter(
			answered.response,
			&record.Fault{
				Reason: record.Other,
				Hint:   "Check the object store's health: it failed. The upload is repeated.",
				Err:    fmt.Errorf("%w: %w", outputs.ErrReceiverFailed, answered),
			},
		)
	case status >= 500:
		return fault(record.Other, "Check the object store's health: it failed. The upload is repeated.")
	}
	return fault(record.BadAnswer, "Check bucket, endpoint and path_style, and that endpoint is an S3 API.")
}

// An answer is the object store's answer to a request that it did not accept.
type answer struct {
	code     string // "" if a proxy answered
	message  string
	text     string
	response *http.Response // without the body
}

func (a *answer) Error() string { return a.text }

// answerOf returns the answer in an error of the SDK; nil if there was none.
func answerOf(err error) *answer {
	var got *smithyhttp.ResponseError
	if !errors.As(err, &got) || got.HTTPStatusCode() == 0 {
		return nil
	}
	a := &answer{response: got.Response.Response, text: got.Response.Status}
	var api smithy.APIError
	if errors.As(err, &api) && api.ErrorCode() != unknownCode {
		a.code, a.message, a.text = api.ErrorCode(), api.ErrorMessage(), record.ErrorSummary(err)
	}
	return a
}

// unknownCode is the SDK's code for an answer without a code.
const unknownCode = "UnknownError"

var expectedRegion = regexp.MustCompile(`expecting '([a-z0-9-]+)'`)

// regionHint returns how to set the bucket's region, if the object store named it.
func (a *answer) regionHint() string {
	region := a.response.Header.Get("X-Amz-Bucket-Region")
	if m := expectedRegion.FindStringSubmatch(a.message); region == "" && m != nil {
		region = m[1]
	}
	if region == "" {
		return "Set region to the bucket's region"
	}
	return "Set `region: " + region + "`"
}
