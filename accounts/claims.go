package accounts

import (
	"fmt"
	"sync"

	"github.com/aws-collector/collector/record"
)

// Claims records which account block signed in to which AWS account, so that only the first in the file of several
// blocks collects the same AWS account. A reload, like a start, begins with the accounts that the blocks had before.
type Claims struct {
	cancel func(account string, cause error)

	mu        sync.Mutex
	order     map[string]int        // of the blocks in the file
	blockOf   map[awsAccount]string // the name of the first block that signed in to it
	accountOf map[string]awsAccount // by block: a block is one account at a time
}

type awsAccount struct{ partition, id string }

// NewClaims returns claims without blocks. cancel ends the jobs in progress of a block that is refused.
func NewClaims(cancel func(account string, cause error)) *Claims { return &Claims{cancel: cancel} }

// A Claimant is a block, and the AWS account that it signed in to last; zero: unknown.
type Claimant struct {
	Block string
	Last  record.Identity
}

// Reset sets the blocks, in the file's order. An AWS account that two of them had belongs to the first.
func (c *Claims) Reset(blocks []Claimant) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.order = make(map[string]int, len(blocks))
	c.blockOf, c.accountOf = map[awsAccount]string{}, map[string]awsAccount{}
	for i, b := range blocks {
		c.order[b.Block] = i
		key := awsAccount{b.Last.Partition, b.Last.AccountID}
		if _, taken := c.blockOf[key]; key.id != "" && !taken {
			c.set(key, b.Block)
		}
	}
}

// Claim is called after each sign-in. It refuses a block if an earlier block in the file has signed in to the same AWS
// account. If a later block has, the jobs of that block are cancelled.
func (c *Claims) Claim(block string, id record.Identity) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	mine, found := c.order[block]
	if !found || id.AccountID == "" {
		return nil
	}
	key := awsAccount{id.Partition, id.AccountID}
	other := c.blockOf[key]
	if theirs, found := c.order[other]; found && other != block {
		if theirs < mine {
			return SameAccountError(id, other)
		}
		c.cancel(other, SameAccountError(id, block))
	}
	c.set(key, block)
	return nil
}

// set assigns the AWS account to the block, in place of the block's former one. c.mu is held.
func (c *Claims) set(key awsAccount, block string) {
	if was, ok := c.accountOf[block]; ok && was != key && c.blockOf[was] == block {
		delete(c.blockOf, was)
	}
	c.blockOf[key], c.accountOf[block] = block, key
}

// SameAccountError is the error of a block that signed in to the AWS account of an earlier block.
func SameAccountError(id record.Identity, first string) error {
	return &record.Fault{
		Reason: record.SameAccount,
		Hint: fmt.Sprintf("Remove one of the two blocks, or check the credentials of both. "+
			"The collector uses %q.", first),
		Err: fmt.Errorf("AWS account %s (%s) is already collected by account block %q",
			id.AccountID, id.Partition, first),
	}
}
