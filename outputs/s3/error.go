package s3

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"regexp"

	"github.com/aws-collector/collector/outputs"
	"github.com/aws-collector/collector/record"
)

// explainError turns the store's answer to a PutObject into the error of the batch, with a reason and a hint.
// https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
func (o *output) explainError(err error) error {
	var answered *apiError
	if !errors.As(err, &answered) {
		if record.CodeOf(err) == "" && record.ReasonOf(err) == record.Network {
			return o.http.ExplainTransportError(err)
		}
		return err // an error of the credentials has its own reason and hint
	}
	status := answered.Status
	summary := errors.New(record.ErrorSummary(err))
	fault := func(r record.Reason, hint string) error { return &record.Fault{Reason: r, Hint: hint, Err: summary} }
	switch answered.Code {
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
			"Check ak_id and endpoint, or the source of the credentials: the store does not know the key.",
		)
	case "SignatureDoesNotMatch":
		return fault(
			record.BadSignature,
			"Check ak_secret, which does not match the key, and that no proxy changes the requests.",
		)
	case "RequestTimeTooSkewed":
		return fault(record.ClockSkew,
			"Synchronize this machine's clock, for example with NTP. The next request uses the store's time.")
	case "ExpiredToken", "InvalidToken", "TokenRefreshRequired":
		if c, ok := o.credentials.(interface{ RejectCurrent() }); ok {
			c.RejectCurrent()
		}
		return fault(record.Expired, "Replace session_token if it is set; any other session is renewed automatically.")
	case "EntityTooLarge", "KeyTooLongError", "MetadataTooLarge":
		return fmt.Errorf("%w: %w", outputs.ErrRefused, summary)
	case "NotImplemented", "InvalidStorageClass", "InvalidEncryptionAlgorithmError":
		return fault(record.Unsupported, "Check sse, kms_key_id and storage_class: the store does not support one of them.")
	case "InvalidBucketName", "MethodNotAllowed":
		return fault(record.Other, "Check bucket, endpoint and path_style.")
	case "BadDigest", "XAmzContentSHA256Mismatch", "IncompleteBody", "RequestTimeout":
		return fault(record.Network, "Nothing to do: the object was damaged in transit. The upload is repeated.")
	}
	switch {
	case status == http.StatusRequestEntityTooLarge: // a proxy's answer has no code
		return fmt.Errorf("%w: %w", outputs.ErrRefused, summary)
	case status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable:
		return o.http.WithRetryAfter(
			answered.Response,
			fault(record.Throttling, "Nothing to do: the store is busy. The upload is repeated."),
		)
	case status == http.StatusInternalServerError:
		return o.http.WithRetryAfter(
			answered.Response,
			&record.Fault{
				Reason: record.Other,
				Hint:   "Check the store's health: it failed. The upload is repeated.",
				Err:    fmt.Errorf("%w: %w", outputs.ErrReceiverFailed, summary),
			},
		)
	case status >= 500:
		return fault(record.Other, "Check the store's health: it failed. The upload is repeated.")
	}
	return fault(record.BadAnswer, "Check bucket, endpoint and path_style, and that endpoint is an S3 API.")
}

var expectedRegion = regexp.MustCompile(`expecting '([a-z0-9-]+)'`)

// regionHint returns how to set the bucket's region, if the store named it.
func (e *apiError) regionHint() string {
	region := cmp.Or(e.Response.Header.Get("X-Amz-Bucket-Region"), e.Region)
	if m := expectedRegion.FindStringSubmatch(e.Message); region == "" && m != nil {
		region = m[1]
	}
	if region == "" {
		return "Set region to the bucket's region"
	}
	return "Set `region: " + region + "`"
}
