package config

import (
	"strings"
	"testing"
)

// A region that may be newer than this build, as a name or by a glob, is a warning; AWS says later whether it exists.
func TestNewerRegions(t *testing.T) {
	for region, wantWarning := range map[string]bool{
		"sa-west-1": true, "eu-north-7": true, "eu-southwest-1": true, "us-gov-central-1": true, "cn-south-1": true,
		"sa-west-*": true, "sa-w*": true, "us-*-9": true, "!sa-west-1": true,
		"us-esat-1": false, "eu-middle-1": false, "us-esat-*": false, "xx-*": false, "xx-east-1": false,
		"us-east-1a": false, "SA-WEST-1": false, "eu-west-": false, "us-1": false, "us-east-1-1": false, "us-us-1": false,
		"west-1": false, "us-east-1-*": false,
	} {
		list := region
		if strings.HasPrefix(region, "!") {
			list = "us-east-1, " + region
		}
		f, err := load([]byte("accounts: [{name: a, collector_configs: {regions: ['"+
			strings.ReplaceAll(list, ", ", "', '")+"']}}]\n"), "c.yaml")
		if !wantWarning {
			if err == nil {
				t.Errorf("%s: no error", region)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", region, err)
			continue
		}
		if text := Problems(f.Warnings).Error(); !strings.Contains(text, "that this build knows") ||
			!strings.Contains(text, "the region may be newer than this build") {
			t.Errorf("%s: warnings %q", region, text)
		}
	}
}
