package auth

import (
	"context"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/aws-sdk-go-v2/service/sts/types"

	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/record"
)

// resolveIdentity asks STS who the top of a pipeline turned out to be, and says of which credentials.
func resolveIdentity(ctx context.Context, t stsClient, region string, top *layer) (aws.Credentials, record.Identity, error) {
	var out *sts.GetCallerIdentityOutput
	c, err := callWithRenewal(ctx, top, func(c aws.Credentials) (err error) {
		out, err = t.callerIdentity(ctx, region, c)
		return err
	})
	if err != nil {
		return c, record.Identity{}, explain(err, errorContext{operation: "ask who " + top.step.Name() + " is", signer: top.step.Name(), region: region, creds: c})
	}
	arn, account := aws.ToString(out.Arn), aws.ToString(out.Account)
	who := identityOfARN(arn)
	if who.AccountID != account {
		who.AccountID = account
	}
	return c, who, nil
}

// identityOfARN is whose an ARN is. Its texts are those of the ARN.
func identityOfARN(arn string) record.Identity {
	return record.Identity{AccountID: record.AccountOfARN(arn), Partition: record.PartitionOfARN(arn), ARN: arn}
}

// issuedSession notes whose the role session is that a step has just been given: STS says so with the session, and need not be asked.
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

// knownIdentity is whose the credentials are, if they are the session that was given last.
func (i *issuedSession) knownIdentity(c aws.Credentials) (record.Identity, bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.id != c.AccessKeyID {
		return record.Identity{}, false
	}
	who := identityOfARN(i.arn)
	return who, who.AccountID != "" && who.Partition != ""
}

// An identifier is a step that knows whose its credentials are.
type identifier interface {
	knownIdentity(aws.Credentials) (record.Identity, bool)
}

// checkOwner holds whose the credentials are now against the account that was opened, against what the block says, and against
// what it was before.
func (s *Session) checkOwner(of *owner) error {
	if s.checked.Load() == of {
		return nil
	}
	if err := checkIdentity(s.block, of.identity, s.Path()); err != nil {
		return err
	}
	if err := s.sessions.identities.Check(s.block, of.identity, s.Path()); err != nil {
		return err
	}
	if now, before := of.identity, s.Identity; now.AccountID != before.AccountID || now.Partition != before.Partition {
		return fault(record.WrongAccount, "the next run collects the other account; what was listed of this one stays as it is",
			"the credentials became those of %s, and this run is of account %s (entered by %s)", now.ARN, before.AccountID, strings.Join(s.Path(), " → "))
	}
	s.checked.Store(of)
	return nil
}

// checkIdentity compares who answered with what the block says. It catches what nothing else does: a default chain that picks
// another account's keys in silence, and a block that was copied with the ARN of another.
func checkIdentity(a config.Account, who record.Identity, path []string) error {
	wrong := func(says, want, is string) *record.Fault {
		return fault(record.WrongAccount, "the credentials are another account's than the block is meant for; where they come from is in the message",
			"%s is %s, but %s is in %s (entered by %s)", says, want, who.ARN, is, strings.Join(path, " → "))
	}
	account, partition := "account "+who.AccountID, "partition "+who.Partition
	switch {
	case a.AccountID != "" && a.AccountID != who.AccountID && len(a.Hops()) == 0:
		f := wrong("account_id", a.AccountID, account)
		f.Hint = "`account_id` alone is the account that these credentials must turn out to be; if a role there was meant, name it as well, as in `role: manage-role`"
		return f
	case a.AccountID != "" && a.AccountID != who.AccountID:
		return wrong("account_id", a.AccountID, account)
	case a.RequireRole && !strings.Contains(who.ARN, ":assumed-role/"):
		return fault(record.RoleRequired, "`require_role: true` stands in the block: name a role, by `account_id` and `role` or by `assume_role_arn`, or use the machine's role",
			"%s is no role (entered by %s)", who.ARN, strings.Join(path, " → "))
	case a.Partition != "" && a.Partition != who.Partition:
		return wrong("partition", a.Partition, partition)
	}
	hops := a.Hops()
	if len(hops) == 0 {
		return nil
	}
	arn := hops[len(hops)-1].ARN
	if id := record.AccountOfARN(arn); id != who.AccountID {
		return wrong("the account of "+arn, id, account)
	}
	if p := record.PartitionOfARN(arn); p != who.Partition {
		return wrong("the partition of "+arn, p, partition)
	}
	return nil
}
