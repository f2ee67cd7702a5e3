package collectors

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/aws-collector/collector/record"
)

// A KeyChecker is a [Session] that can find out whether AWS still knows its credentials. EC2 calls several things an
// AuthFailure: a key that was deleted, a region that does not know the account yet, one image of another account.
type KeyChecker interface {
	// CheckKey is called when a service refused these credentials as unknown. renewed reports that the session has others
	// now, so that the call should be repeated; valid that AWS knows the refused ones, so that the refusal has another
	// cause.
	CheckKey(ctx context.Context, c aws.Credentials) (renewed, valid bool)
}

// keyRefused handles an error that may say that the key is unknown. It returns the error to report, and whether to
// repeat the call with other credentials.
func (u *trackedSession) keyRefused(ctx context.Context, o CallOptions, k *Kind, err error) (again bool, _ error) {
	if record.ReasonOfCode(record.CodeOf(err)) != record.BadKey || !o.mustBeEnabled() {
		return false, err // where a region is not enabled, EC2 refuses every key
	}
	checker, ok := u.Session.(KeyChecker)
	if !ok {
		return false, err
	}
	renewed, valid := checker.CheckKey(ctx, u.last)
	if renewed || !valid {
		return renewed, err
	}
	f := &record.Fault{Reason: record.Inactive, Err: err, Text: record.ErrorSummary(err)}
	f.Hint = "Wait some minutes if " + o.Region + " was enabled just now: AWS knows the credentials, but " +
		k.Service().api.ID + " in this region refuses them. If the error persists, disable and enable the region, or " +
		"remove it from regions."
	if k.Parent != "" {
		f.Reason = record.AccessDenied
		f.Hint = fmt.Sprintf("Nothing to do for the others: AWS refuses %s for a single %s, which belongs to another "+
			"account that does not share it any more.", k.opOf(err), k.Parent)
	}
	return false, f
}

// mustBeEnabled reports whether the region is enabled for the account, so that a refused key is a bad key.
func (o CallOptions) mustBeEnabled() bool {
	p, ok := record.PartitionOf(o.Region)
	return o.RegionEnabled || ok && p.DefaultRegion == o.Region
}
