package auth

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/aws-collector/collector/record"
)

// A KeyAge says since when there is the long-lived key with which an account's sign-in begins.
type KeyAge struct {
	Key     string // as in [Session.Path]
	Created time.Time
}

// KeyAge asks IAM about the key of s's first step. ok is false where that is no long-lived key: a role's, a task's, one that
// came with a session token. It takes iam:ListAccessKeys, of the user alone, which nothing else here needs; so an error says
// that the age cannot be seen, and no more.
// https://docs.aws.amazon.com/IAM/latest/APIReference/API_ListAccessKeys.html
func (s *Sessions) KeyAge(ctx context.Context, of *Session) (age KeyAge, ok bool, err error) {
	base := of.top
	for base.prev != nil {
		base = base.prev
	}
	c, err := base.Retrieve(ctx)
	if err != nil || c.SessionToken != "" || c.CanExpire {
		return KeyAge{}, false, err
	}
	ctx, cancel := within(ctx, callTimeout, "iam:ListAccessKeys")
	defer cancel()
	age.Key = maskID(c.AccessKeyID)
	region := iamRegion(of.Identity.Partition)
	for in := new(iam.ListAccessKeysInput); ; { // not by its paginator: as an interface the client would link every operation of IAM
		page, err := s.keys.ListAccessKeys(ctx, in, func(o *iam.Options) { o.Region, o.Credentials = region, static(c) })
		if err != nil {
			err = timedOut(ctx, err)
			return age, true, explain(err, clues{doing: "age of key " + age.Key, signer: base.step.Name(), region: region, used: c})
		}
		for _, k := range page.AccessKeyMetadata {
			if aws.ToString(k.AccessKeyId) == c.AccessKeyID {
				age.Created = aws.ToTime(k.CreateDate)
				return age, true, nil
			}
		}
		if in.Marker = page.Marker; in.Marker == nil {
			break
		}
	}
	return age, true, fault(record.Other, "", "age of key %s: IAM lists the user's keys without it", age.Key)
}

// listAccessKeys is the one operation of IAM. It is a func, as a client that can be reached from an interface value keeps all
// its methods in the binary: those of IAM are some 9 MB.
type listAccessKeys func(context.Context, *iam.ListAccessKeysInput, ...func(*iam.Options)) (*iam.ListAccessKeysOutput, error)

// ListAccessKeys is what the SDK's paginator asks for.
func (l listAccessKeys) ListAccessKeys(ctx context.Context, in *iam.ListAccessKeysInput, o ...func(*iam.Options)) (*iam.ListAccessKeysOutput, error) {
	return l(ctx, in, o...)
}

// iamRegion is where a partition's IAM is asked: it is one for all regions.
func iamRegion(id string) string {
	if p, ok := record.PartitionNamed(id); ok {
		return p.Default
	}
	return "us-east-1"
}
