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
// that the age cannot be seen, and no more. IAM takes few calls: a key is asked about once, however many accounts are behind it.
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
	age.Key = maskID(c.AccessKeyID)
	s.mu.Lock()
	f := s.keyAges[c.AccessKeyID]
	if f == nil {
		f = newSharedCall[time.Time]()
		if !s.background.run(func(ctx context.Context) {
			f.finish(s.keyCreated(ctx, c, base.step.Name(), iamRegion(of.Identity.Partition)))
		}) {
			s.mu.Unlock()
			return age, true, errClosed
		}
		s.keyAges[c.AccessKeyID] = f
	}
	s.mu.Unlock()
	age.Created, err = f.wait(ctx, base.step.Name())
	return age, true, err
}

// keyCreated asks since when there is the key c.
func (s *Sessions) keyCreated(ctx context.Context, c aws.Credentials, step, region string) (time.Time, error) {
	ctx, cancel := withTimeout(ctx, callTimeout, "iam:ListAccessKeys")
	defer cancel()
	key := maskID(c.AccessKeyID)
	for in := new(iam.ListAccessKeysInput); ; { // not by its paginator: as an interface the client would link every operation of IAM
		page, err := s.listAccessKeys.ListAccessKeys(ctx, in, func(o *iam.Options) { o.Region, o.Credentials = region, staticCredentials(c) })
		if err != nil {
			err = timeoutCause(ctx, err)
			return time.Time{}, explain(err, errorContext{operation: "age of key " + key, signer: step, region: region, creds: c})
		}
		for _, k := range page.AccessKeyMetadata {
			if aws.ToString(k.AccessKeyId) == c.AccessKeyID {
				return aws.ToTime(k.CreateDate), nil
			}
		}
		if in.Marker = page.Marker; in.Marker == nil {
			return time.Time{}, fault(record.Other, "", "age of key %s: IAM lists the user's keys without it", key)
		}
	}
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
		return p.DefaultRegion
	}
	return "us-east-1"
}
