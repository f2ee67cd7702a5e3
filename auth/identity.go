package auth

import (
	"context"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/aws-sdk-go-v2/service/sts/types"

	"github.com/aws-collector/collector/auth/internal/fault"
	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/record"
)

// resolveIdentity asks STS for the identity of the last step of a pipeline, and returns it with its credentials.
func resolveIdentity(
	ctx context.Context,
	t stsClient,
	region string,
	top *cachedStep,
) (aws.Credentials, record.Identity, error) {
	var out *sts.GetCallerIdentityOutput
	c, err := callWithRenewal(ctx, top, func(c aws.Credentials) (err error) {
		out, err = t.callerIdentity(ctx, region, c)
		return err
	})
	if err != nil {
		return c, record.Identity{}, explain(err, errorContext{
			operation: "GetCallerIdentity with " + top.step.Name(), signer: top.step.Name(), region: region, creds: c,
		})
	}
	arn, account := aws.ToString(out.Arn), aws.ToString(out.Account)
	identity := identityOfARN(arn)
	if identity.AccountID != account {
		identity.AccountID = account
	}
	return c, identity, nil
}

// identityOfARN returns the identity of an ARN. Its strings share the ARN's memory.
func identityOfARN(arn string) record.Identity {
	return record.Identity{AccountID: record.AccountOfARN(arn), Partition: record.PartitionOfARN(arn), ARN: arn}
}

// issuedSession holds the role of the session that a step got last: STS returns it with the session.
type issuedSession struct {
	mu      sync.Mutex
	id, arn string
}

func (i *issuedSession) set(c *types.Credentials, user *types.AssumedRoleUser) {
	if c == nil || user == nil {
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.id, i.arn = aws.ToString(c.AccessKeyId), aws.ToString(user.Arn)
}

// knownIdentity is the identity of the credentials, if they are of the session that was issued last.
func (i *issuedSession) knownIdentity(c aws.Credentials) (record.Identity, bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.id != c.AccessKeyID {
		return record.Identity{}, false
	}
	identity := identityOfARN(i.arn)
	return identity, identity.AccountID != "" && identity.Partition != ""
}

// An identifier is a step that knows the identity of its credentials.
type identifier interface {
	knownIdentity(aws.Credentials) (record.Identity, bool)
}

// checkOwner checks the owner of the credentials against the account that was opened, against the block, and against
// the account that the block was before.
func (s *Session) checkOwner(current *owner) error {
	if s.checked.Load() == current {
		return nil
	}
	if err := checkIdentity(s.block, current.identity, s.Path()); err != nil {
		return err
	}
	if err := s.sessions.identities.Check(s.block, current.identity, s.Path()); err != nil {
		return err
	}
	after, before := current.identity, s.Identity
	if after.AccountID != before.AccountID || after.Partition != before.Partition {
		return fault.New(record.WrongAccount,
			"Nothing to do: the next run collects the other account. The stored resources of this one stay.",
			"the credentials now belong to %s, but this run is of account %s (signed in by %s)",
			after.ARN, before.AccountID, strings.Join(s.Path(), " → "))
	}
	s.checked.Store(current)
	return nil
}

// checkIdentity compares the identity with the block. Only this check notices a default chain that finds another
// account's keys, or a block that was copied with another account's ARN.
func checkIdentity(a config.Account, identity record.Identity, path []string) error {
	wrong := func(key, want, got string) *record.Fault {
		return fault.New(record.WrongAccount,
			"Check where the credentials come from: they belong to another account than the block expects.",
			"%s is %s, but %s is in %s (signed in by %s)", key, want, identity.ARN, got, strings.Join(path, " → "))
	}
	account, partition := "account "+identity.AccountID, "partition "+identity.Partition
	switch {
	case a.AccountID != "" && a.AccountID != identity.AccountID && len(a.Hops()) == 0:
		f := wrong("account_id", a.AccountID, account)
		f.Hint = "Correct `account_id`: alone, it must be the account of these credentials. " +
			"To use a role in that account, name the role too, as in `role: manage-role`."
		return f
	case a.AccountID != "" && a.AccountID != identity.AccountID:
		return wrong("account_id", a.AccountID, account)
	case a.RequireRole && !strings.Contains(identity.ARN, ":assumed-role/"):
		return fault.New(record.RoleRequired,
			"Name a role, by `account_id` and `role` or by `assume_role_arn`, or use the machine's role: "+
				"the block has `require_role: true`.",
			"%s is not a role (signed in by %s)", identity.ARN, strings.Join(path, " → "))
	case a.Partition != "" && a.Partition != identity.Partition:
		return wrong("partition", a.Partition, partition)
	}
	hops := a.Hops()
	if len(hops) == 0 {
		return nil
	}
	arn := hops[len(hops)-1].ARN
	if id := record.AccountOfARN(arn); id != identity.AccountID {
		return wrong("the account of "+arn, id, account)
	}
	if p := record.PartitionOfARN(arn); p != identity.Partition {
		return wrong("the partition of "+arn, p, partition)
	}
	return nil
}
