package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/aws-collector/collector/config/internal/yamldoc"
)

// foreignKeys maps the names that other tools use to our keys.
var foreignKeys = map[string]string{
	"access_key":            "ak_id",
	"access_key_id":         "ak_id",
	"aws_access_key_id":     "ak_id",
	"secret_key":            "ak_secret",
	"secret_access_key":     "ak_secret",
	"aws_secret_access_key": "ak_secret",
	"aws_session_token":     "session_token",
	"profile_name":          "profile",
	"aws_profile":           "profile",
	"role_arn":              "assume_role_arn",
	"session_name":          "role_session_name",
	"duration_seconds":      "role_duration",
	"mfa_serial":            "serial_number",
	"mfa_code":              "token_code",
	"mfa_secret":            "totp_seed",
	"totp_secret":           "totp_seed",
	"mfa_process":           "token_command",
	"role_name":             "role",
	"policy":                "session_policy",
	"region":                "regions",
	"crontab":               "schedule",
	"fixed_crontab":         "schedule",
	"cron":                  "schedule",
	"tags":                  "extra_tags",
	"concurrency":           "calls_in_flight",
	"max_attempts":          "attempts",
}

const exampleRemedy = "start from config.example.yaml"

// kindRemedy returns the remedy for a value that is text, a list or a mapping where another of these is wanted, or "".
func kindRemedy(path string) string {
	switch path {
	case "organizations":
		return "begin each block with -"
	case "accounts":
		return "write a single block under account:, or begin it with -"
	case "account":
		return "write several blocks under accounts:"
	case "":
		return exampleRemedy
	}
	if strings.HasSuffix(path, ".token_command") {
		return "write a program and its arguments as a list, because no shell is used: [pass, otp, aws]"
	}
	return ""
}

// A wordCache holds the words for suggestions and the results of earlier searches.
type wordCache struct {
	kinds   *yamldoc.Vocabulary
	regions *yamldoc.Vocabulary
	matched map[string]bool // patterns of kinds: whether they match one
}

// isKind reports whether a pattern matches a kind.
func (d *decoder) isKind(pattern string) bool {
	is, known := d.words.matched[pattern]
	if !known {
		is = slices.ContainsFunc(d.registry.Kinds, func(kind string) bool { return glob(pattern, kind) })
		d.words.matched[pattern] = is
	}
	return is
}

func (d *decoder) nearestKind(name string) string {
	if d.words.kinds == nil {
		d.words.kinds = yamldoc.NewVocabulary(d.registry.Kinds)
	}
	return d.words.kinds.Nearest(name)
}

func (d *decoder) nearestRegion(name string) string {
	if d.words.regions == nil {
		d.words.regions = yamldoc.NewVocabulary(knownRegions())
	}
	return d.words.regions.Nearest(name)
}

// quantity returns a number and a noun, in the plural if needed.
func quantity(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
