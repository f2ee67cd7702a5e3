package configfile

import (
	"slices"

	"github.com/aws-collector/collector/config"
)

// KeysNeedingRestart returns the changed keys whose values are used only when the process starts.
func KeysNeedingRestart(old, new *config.File) []string {
	var keys []string
	if old.DataDir != new.DataDir {
		keys = append(keys, "data_dir")
	}
	if old.SessionKey.Reveal() != new.SessionKey.Reveal() {
		keys = append(keys, "session_key")
	}
	if old.Web.Listen != new.Web.Listen || old.Web.ConfigFile != new.Web.ConfigFile ||
		!slices.Equal(old.Web.LabelTags, new.Web.LabelTags) || old.Web.MetricsDetail != new.Web.MetricsDetail ||
		!slices.Equal(old.Web.Hosts, new.Web.Hosts) || !slices.Equal(old.Web.ActUsers, new.Web.ActUsers) ||
		old.Web.MCP != new.Web.MCP {
		keys = append(keys, "web")
	}
	gzip := func(f *config.File) bool { return f.Limits.GZIP == nil || *f.Limits.GZIP }
	a, b := old.Limits, new.Limits
	a.GZIP, b.GZIP = nil, nil
	if a != b || gzip(old) != gzip(new) {
		keys = append(keys, "limits")
	}
	if !old.Store.Equal(new.Store) {
		keys = append(keys, "store")
	}
	if old.DrainTimeout != new.DrainTimeout {
		keys = append(keys, "drain_timeout")
	}
	return keys
}
