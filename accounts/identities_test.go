package accounts

import (
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/aws-collector/collector/auth/identity"
	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/record"
)

// Another account behind an unchanged block is accepted once, by the block's name. An account that cannot be accepted
// is an error.
func TestAcceptRefused(t *testing.T) {
	ids, err := OpenIdentities(t.TempDir(), identity.Options{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	refuse := func(block, want string) {
		t.Helper()
		if _, err := ids.AcceptRefused(block); !errors.Is(err, ErrNothingToAccept) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", block, err, want)
		}
	}
	block := config.Account{Name: "prod", SignIn: config.SignIn{Profile: "p", Fingerprint: "f"}}
	first := record.Identity{AccountID: "111111111111", Partition: "aws", ARN: "arn:aws:iam::111111111111:user/u"}
	other := record.Identity{AccountID: "222222222222", Partition: "aws", ARN: "arn:aws:iam::222222222222:user/u"}
	refuse("prod", "no block signed in to another account")
	if err := ids.Check(block, first, nil); err != nil {
		t.Fatal(err)
	}
	refuse("prod", "it is account 111111111111")
	if err := ids.Check(block, other, nil); record.ReasonOf(err) != record.WrongAccount {
		t.Fatal(err)
	}
	refuse("dev", `blocks with a refused account: "prod"`)
	if got := ids.Last(block); got.AccountID != first.AccountID {
		t.Errorf("the block is %+v", got)
	}
	last, err := ids.AcceptRefused("prod")
	if err != nil || last.AccountID != first.AccountID || last.Refused.AccountID != other.AccountID {
		t.Errorf("%+v, %v", last, err)
	}
	if got := ids.Last(block); got.AccountID != other.AccountID {
		t.Errorf("the block is %+v", got)
	}
	if err := ids.Check(block, other, nil); err != nil {
		t.Error(err)
	}
	refuse("prod", "it is account 222222222222")

	block.AccountID = "333333333333" // it names another account now
	if got := ids.Last(block); got != (record.Identity{}) {
		t.Errorf("the block is %+v", got)
	}
	f := &config.File{Accounts: []config.Account{{Name: "x"}, block}}
	if got := ids.LastOf(f); len(got) != 0 {
		t.Errorf("last of the file %v", got)
	}
	set := &Set{Accounts: f.Accounts}
	got := ids.Claimants(set, func(name string) bool { return name == "prod" })
	if len(got) != 1 || got[0] != (Claimant{Block: "prod"}) {
		t.Errorf("claimants %+v", got)
	}
	if err := ids.Flush(); err != nil {
		t.Error(err)
	}
}
