package auth

import (
	"context"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/record"
)

// whoami asks STS who the top of a pipeline turned out to be.
func whoami(ctx context.Context, t tokens, region string, top *layer) (record.Identity, error) {
	var out *sts.GetCallerIdentityOutput
	c, err := ask(ctx, top, func(c aws.Credentials) (err error) {
		out, err = t.identity(ctx, region, c)
		return err
	})
	if err != nil {
		return record.Identity{}, explain(err, clues{doing: "ask who " + top.step.Name() + " is", signer: top.step.Name(), region: region, used: c})
	}
	return identityOf(out), nil
}

func identityOf(out *sts.GetCallerIdentityOutput) record.Identity {
	arn, account := aws.ToString(out.Arn), aws.ToString(out.Account)
	if within := record.AccountOfARN(arn); within == account {
		account = within // the same text once
	}
	return record.Identity{AccountID: account, Partition: record.PartitionOfARN(arn), ARN: arn}
}

// expect compares who answered with what the block says. It catches what nothing else does: a default chain that picks
// another account's keys in silence, and a block that was copied with the ARN of another.
func expect(a config.Account, got *Session) error {
	who := got.Identity
	wrong := func(says, want, is string) *record.Fault {
		return fault(record.WrongAccount, "the credentials are another account's than the block is meant for; where they come from is in the message",
			"%s is %s, but %s is in %s (entered by %s)", says, want, who.ARN, is, strings.Join(got.Path(), " → "))
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
			"%s is no role (entered by %s)", who.ARN, strings.Join(got.Path(), " → "))
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
