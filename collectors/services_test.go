package collectors

import (
	"context"
	"strings"
	"testing"

	"github.com/aws-collector/collector/internal/awsfake"
	"github.com/aws-collector/collector/record"
)

// A service is not called in a region that does not have it, and is in every region that is newer than its row.
func TestServiceNotInRegion(t *testing.T) {
	k := kind(t, "autoscaling_group")
	s := k.Service()
	defer func(absent []string) { s.Absent = absent }(s.Absent)
	s.Absent = []string{"eu-west-1"}
	if err := s.unavailable("eu-west-9"); err != nil {
		t.Errorf("a newer region: %v", err)
	}
	withFakeAWS(t, awsfake.Options{}, func(
		a *awsfake.AWS, c *awsfake.Account, l *Lister, w func(*Kind, string) CallOptions,
	) {
		a.ResetCalls()
		_, listed := l.each(context.Background(), w(k, "eu-west-1"), k, "", func(*record.Page) error { return nil })
		checked := l.Check(context.Background(), w(k, "eu-west-1"), k).Err
		for what, err := range map[string]error{"listing": listed, "check": checked} {
			if record.StateOf(err, 0) != record.RegionUnavailable || !strings.Contains(record.HintOf(err), "Auto Scaling") {
				t.Errorf("%s: %v", what, err)
			}
		}
		if calls := a.Calls(nil); len(calls) != 0 {
			t.Errorf("calls: %v", calls)
		}
		if err := l.Check(context.Background(), w(k, "us-east-1"), k).Err; err != nil {
			t.Errorf("in a region that has the service: %v", err)
		}
	})
}
