package auth

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/aws-collector/collector/auth/internal/fault"
	"github.com/aws-collector/collector/record"
)

// A KeyAge is the creation time of the long-lived key with which an account's sign-in begins.
type KeyAge struct {
	Key     string // as in [Session.Path]
	Created time.Time
}

// KeyAge asks IAM for the age of the key of the session's first step. ok is false if that is not a long-lived key: the
// key of a role or a task, or a key with a session token. It needs iam:ListAccessKeys for the user itself. No other
// call needs this permission, so an error only means that the age is unknown. There is one call a key: IAM allows few.
// https://docs.aws.amazon.com/IAM/latest/APIReference/API_ListAccessKeys.html
func (s *Sessions) KeyAge(ctx context.Context, session *Session) (age KeyAge, ok bool, err error) {
	base := session.last
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
			f.finish(s.keyCreated(ctx, c, base.step.Name(), iamRegion(session.Identity.Partition)))
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

// keyCreated asks IAM when the key c was created.
func (s *Sessions) keyCreated(ctx context.Context, c aws.Credentials, step, region string) (time.Time, error) {
	ctx, cancel := fault.WithTimeout(ctx, callTimeout, "iam:ListAccessKeys")
	defer cancel()
	key := maskID(c.AccessKeyID)
	for in := new(iam.ListAccessKeysInput); ; { // without the SDK's paginator, which would link all operations of IAM
		page, err := s.listAccessKeys.ListAccessKeys(ctx, in, func(o *iam.Options) {
			o.Region, o.Credentials = region, staticCredentials(c)
		})
		if err != nil {
			return time.Time{}, explain(fault.TimeoutCause(ctx, err), errorContext{
				operation: "get the age of key " + key, signer: step, region: region, creds: c,
			})
		}
		for _, k := range page.AccessKeyMetadata {
			if aws.ToString(k.AccessKeyId) == c.AccessKeyID {
				return aws.ToTime(k.CreateDate), nil
			}
		}
		if in.Marker = page.Marker; in.Marker == nil {
			return time.Time{}, fault.New(record.Other, "",
				"get the age of key %s: the key is not in IAM's list of the user's keys", key)
		}
	}
}

// listAccessKeys is the one operation of IAM that is used. It is a func because a client that is reachable from an
// interface value keeps all its methods in the binary: some 9 MB for IAM.
type listAccessKeys func(
	context.Context,
	*iam.ListAccessKeysInput,
	...func(*iam.Options),
) (*iam.ListAccessKeysOutput, error)

// ListAccessKeys is the method that the SDK's paginator needs.
func (l listAccessKeys) ListAccessKeys(
	ctx context.Context,
	in *iam.ListAccessKeysInput,
	o ...func(*iam.Options),
) (*iam.ListAccessKeysOutput, error) {
	return l(ctx, in, o...)
}

// iamRegion is the region of IAM's endpoint in a partition.
func iamRegion(partition string) string {
	if p, ok := record.PartitionNamed(partition); ok {
		return p.DefaultRegion
	}
	return "us-east-1"
}
