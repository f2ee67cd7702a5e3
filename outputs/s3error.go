package outputs

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"regexp"

	"github.com/aws-collector/collector/record"
)

// explainError is what the store's answer to a PutObject means for the batch, and what a person can do.
// https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
func (o *s3Output) explainError(err error) error {
	var answered *s3Error
	if !errors.As(err, &answered) {
		if record.CodeOf(err) == "" && record.ReasonOf(err) == record.Network {
			return o.http.explainTransportError(err)
		}
		return err // of the credentials: it says what there is to say
	}
	status := answered.Status
	said := errors.New(record.ErrorSummary(err))
	fault := func(r record.Reason, hint string) error { return &record.Fault{Reason: r, Hint: hint, Err: said} }
	switch answered.Code {
	case "NoSuchBucket":
		return fault(record.Other, "make the bucket, or correct bucket, region or endpoint")
	case "PermanentRedirect",
		"TemporaryRedirect",
		"MovedPermanently",
		"AuthorizationHeaderMalformed",
		"IllegalLocationConstraintException":
		return fault(record.Other, "the bucket is in another region than "+o.region+": "+answered.regionHint())
	case "AccessDenied", "AllAccessDisabled", "Forbidden":
		hint := fmt.Sprintf("allow s3:PutObject on arn:aws:s3:::%s/*, in the identity's policy and in the bucket's", o.bucket)
		if o.sse != "" && o.sse != "AES256" {
			hint += ", and kms:GenerateDataKey on the key"
		}
		return fault(record.AccessDenied, hint)
	case "InvalidAccessKeyId":
		return fault(record.BadKey, "the key is unknown there: check ak_id and endpoint, and where the credentials come from")
	case "SignatureDoesNotMatch":
		return fault(
			record.BadSignature,
			"the secret does not belong to the key: check ak_secret; or a proxy before endpoint changes the request",
		)
	case "RequestTimeTooSkewed":
		return fault(record.ClockSkew, "this machine's clock is off: have it set by NTP; the next try goes by the store's")
	case "ExpiredToken", "InvalidToken", "TokenRefreshRequired":
		if c, ok := o.credentials.(interface{ Invalidate() }); ok {
			c.Invalidate()
		}
		return fault(record.Expired, "the session is over; it is renewed, unless it was written into session_token")
	case "EntityTooLarge", "KeyTooLongError", "MetadataTooLarge":
		return fmt.Errorf("%w: %w", ErrRefused, said)
	case "NotImplemented", "InvalidStorageClass", "InvalidEncryptionAlgorithmError":
		return fault(record.Unsupported, "the store does not know an option: check sse, kms_key_id and storage_class")
	case "InvalidBucketName", "MethodNotAllowed":
		return fault(record.Other, "check bucket, endpoint and path_style")
	case "BadDigest", "XAmzContentSHA256Mismatch", "IncompleteBody", "RequestTimeout":
		return fault(record.Network, "the object was torn on its way; it is tried again")
	}
	switch {
	case status == http.StatusRequestEntityTooLarge: // a proxy's answer has no code
		return fmt.Errorf("%w: %w", ErrRefused, said)
	case status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable:
		return o.http.withRetryAfter(
			answered.Response,
			fault(record.Throttling, "the store takes no more for now; it is tried again"),
		)
	case status == http.StatusInternalServerError:
		return o.http.withRetryAfter(
			answered.Response,
			&record.Fault{
				Reason: record.Other,
				Hint:   "the store is in trouble; it is tried again",
				Err:    fmt.Errorf("%w: %w", ErrReceiverFailed, said),
			},
		)
	case status >= 500:
		return fault(record.Other, "the store is in trouble; it is tried again")
	}
	return fault(record.BadAnswer, "is endpoint an S3 API? Check bucket, endpoint and path_style")
}

var expectedRegion = regexp.MustCompile(`expecting '([a-z0-9-]+)'`)

// regionHint is where the store says that the bucket is.
func (e *s3Error) regionHint() string {
	region := cmp.Or(e.Response.Header.Get("X-Amz-Bucket-Region"), e.Region)
	if m := expectedRegion.FindStringSubmatch(e.Message); region == "" && m != nil {
		region = m[1]
	}
	if region == "" {
		return "set region to where it is"
	}
	return "set `region: " + region + "`"
}
