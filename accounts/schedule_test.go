package accounts

import (
	"testing"
	"time"

	"github.com/aws-collector/collector/config"
)

// Members are listed before each run of any of their schedules.
func TestOrganizationSchedule(t *testing.T) {
	noon := time.Date(2026, 1, 5, 12, 0, 0, 0, time.UTC)
	for schedule, want := range map[string]string{
		"*/15 * * * *": "12:14:00", "@every 15s": "12:00:15", "@daily": "23:59:00",
	} {
		o := config.Organization{
			Schedule: schedule,
			Timezone: "UTC",
			Collect:  config.Collect{Kinds: []string{"ec2_instance"}},
		}
		ticks, err := listingTicks(o, o.Collect.Kinds, 0)
		if err != nil {
			t.Fatal(err)
		}
		if got := ticks[0].Schedule.Next(noon).Format("15:04:05.999"); got != want {
			t.Errorf("%s: %s, want %s", schedule, got, want)
		}
	}
	o := config.Organization{
		Schedule: "@daily",
		Timezone: "UTC",
		Collect:  config.Collect{Kinds: []string{"ec2_*"}, Schedules: map[string]string{"ec2_image": "0 14 * * *"}},
	}
	ticks, err := listingTicks(o, []string{"ec2_instance", "ec2_image"}, 10*time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if got := ticks[0].Schedule.Next(noon).Format("15:04:05"); got != "13:49:00" {
		t.Errorf("with a kind's own schedule, and jitter: %s", got)
	}
}
