package accounts

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/aws-collector/collector/record"
)

// claimsTest records which blocks were cancelled.
type claimsTest struct {
	*testing.T
	claims    *Claims
	cancelled []string
}

func newClaimsTest(t *testing.T, blocks ...Claimant) *claimsTest {
	c := &claimsTest{T: t}
	c.claims = NewClaims(func(account string, cause error) {
		if record.ReasonOf(cause) != record.SameAccount {
			t.Error(cause)
		}
		c.cancelled = append(c.cancelled, account)
	})
	c.claims.Reset(blocks)
	return c
}

// claim signs a block in; owner is the block that has the account then.
func (c *claimsTest) claim(block string, id record.Identity, owner string) {
	c.Helper()
	err := c.claims.Claim(block, id)
	if owner == block && err != nil {
		c.Error(err)
	}
	refused := record.ReasonOf(err) == record.SameAccount && strings.Contains(err.Error(), fmt.Sprintf("%q", owner))
	if owner != block && !refused {
		c.Errorf("%s: %v, want that %s has the account", block, err, owner)
	}
}

// Of two blocks of one AWS account the first in the file collects it, whichever signs in first. The same id in another
// partition is another account.
func TestTwoBlocksOneAccount(t *testing.T) {
	id := record.Identity{AccountID: "111111111111", Partition: "aws"}
	china := record.Identity{AccountID: "111111111111", Partition: "aws-cn"}
	blocks := []Claimant{{Block: "one"}, {Block: "two"}, {Block: "china"}}
	c := newClaimsTest(t, blocks...)
	for range 2 {
		c.claim("one", id, "one")
		c.claim("two", id, "one")
		c.claim("china", china, "china")
	}
	if len(c.cancelled) > 0 {
		t.Errorf("cancelled %v", c.cancelled)
	}
	c = newClaimsTest(t, blocks...)
	c.claim("two", id, "two")
	c.claim("china", china, "china")
	c.claim("one", id, "one")
	if !slices.Equal(c.cancelled, []string{"two"}) {
		t.Errorf("cancelled %v", c.cancelled)
	}
	c.claim("two", id, "one")
	if err := c.claims.Claim("removed", id); err != nil {
		t.Errorf("a block of an earlier configuration: %v", err)
	}
}

// A second block of one account is refused at once after a reload, and after a start if the first one is known from
// before, whichever signs in first. A block that has become another account since does not refuse the block that has
// the account now.
func TestTwoBlocksKnownBefore(t *testing.T) {
	id := record.Identity{AccountID: "111111111111", Partition: "aws"}
	other := record.Identity{AccountID: "222222222222", Partition: "aws"}
	known := []Claimant{{"one", id}, {"two", id}}
	c := newClaimsTest(t, known...)
	for range 2 {
		c.claims.Reset(known)
		c.claim("two", id, "one") // the first has not signed in
		c.claim("one", id, "one")
	}
	c.claims.Reset([]Claimant{{"one", id}, {"two", record.Identity{}}})
	c.claim("one", other, "one") // accepted since
	c.claim("two", id, "two")
	c.claim("one", other, "one")
	if len(c.cancelled) > 0 {
		t.Errorf("cancelled %v", c.cancelled)
	}
}
