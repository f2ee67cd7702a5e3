// Package config is the YAML file as Go types, in the file's order: defaults, strict decoding, references, validation and
// the JSON Schema. It does no I/O: it reads the bytes, the environment and the files that it is handed. Begin at [Parse].
package config

import (
	"time"

	"github.com/aws-collector/collector/secret"
)

// A File is the whole configuration. The zero value of a key means what [Parse] documents as its default.
type File struct {
	Schedule     string   `yaml:"schedule"`      // cron, 5 fields or @every; default "*/15 * * * *"
	Timezone     string   `yaml:"timezone"`      // default UTC
	Jitter       Duration `yaml:"jitter"`        // accounts start spread over this, each always at its own offset; default 30s
	Timeout      Duration `yaml:"timeout"`       // of a run; default 1h; a bare number is seconds
	Overlap      string   `yaml:"overlap"`       // skip (default), queue, cancel
	DrainTimeout Duration `yaml:"drain_timeout"` // what a running target gets at SIGTERM; default 25s
	DataDir      string   `yaml:"data_dir"`      // default ./data; COLLECTOR_DATA_DIR wins

	Defaults Collect   `yaml:"collector_configs"`
	Accounts []Account `yaml:"accounts"` // after Parse the seed's single `account:` stands here too

	Outputs []Output `yaml:"outputs"` // default: stdout
	Limits  Limits   `yaml:"limits"`
	Web     Web      `yaml:"web"`
}

// Collect is what to list. A nil field of an account's own block means the file's.
type Collect struct {
	Regions      []string          `yaml:"regions"`       // names, globs, "*"; default "*"
	Kinds        []string          `yaml:"kinds"`         // names, globs, "!glob" to leave out; default ec2_instance
	Schedules    map[string]string `yaml:"schedules"`     // kind or glob: a schedule of its own
	ExpectDenied []Expect          `yaml:"expect_denied"` // shown, but no failure
	Sensitive    string            `yaml:"sensitive"`     // digest (default), clear, drop
}

// An Expect names targets that are denied on purpose: an SCP's doing. Globs; "" is "*".
type Expect struct {
	Region string `yaml:"region"`
	Kind   string `yaml:"kind"`
}

// An Account is a block as written, the file's defaults applied. See the table of forms in the README.
type Account struct {
	Name string `yaml:"name"` // default: extra_tags.account_name, else account-1, account-2…

	AKID             string        `yaml:"ak_id"`
	AKSecret         secret.String `yaml:"ak_secret"`
	SessionToken     secret.String `yaml:"session_token"` // with an ASIA key
	Profile          string        `yaml:"profile"`
	CredentialSource string        `yaml:"credential_source"` // Environment, Ec2InstanceMetadata, EcsContainer

	Role  `yaml:",inline"`
	Roles []Role `yaml:"assume_roles"` // a chain; instead of assume_role_arn

	AccountID string `yaml:"account_id"` // the account that this must turn out to be
	Partition string `yaml:"partition"`
	STSRegion string `yaml:"sts_region"`

	SerialNumber       string        `yaml:"serial_number"`
	TokenCode          secret.String `yaml:"token_code"` // a one-time code: good for one session
	MFASessionDuration Duration      `yaml:"mfa_session_duration"`

	ExtraTags map[string]string `yaml:"extra_tags"`
	Collect   Collect           `yaml:"collector_configs"`
	Schedule  string            `yaml:"schedule"`
	Timeout   Duration          `yaml:"timeout"`
	Overlap   string            `yaml:"overlap"`

	Line int `yaml:"-"` // where the block begins, for messages
}

// A Role is one hop.
type Role struct {
	ARN         string   `yaml:"assume_role_arn"`
	SessionName string   `yaml:"role_session_name"` // default "collector"; it is what CloudTrail shows
	ExternalID  string   `yaml:"external_id"`
	Duration    Duration `yaml:"role_duration"` // default 1h
}

// An Output is a type and its options, which are a struct of package outputs made by [Known].Outputs: an output is one file there.
type Output struct {
	Type    string
	Options any
	Line    int
}

// Limits bound the process.
type Limits struct {
	CallsInFlight int      `yaml:"calls_in_flight"` // default 256; one account at most an eighth
	Pages         int      `yaml:"pages"`           // answers being decoded or delivered at once: the memory bound; default 4
	GZIP          *bool    `yaml:"gzip"`            // ask AWS for compressed answers; default true
	Attempts      int      `yaml:"attempts"`        // of one call, the first included; default 5
	MaxBackoff    Duration `yaml:"max_backoff"`     // between attempts; default 20s
	CallTimeout   Duration `yaml:"call_timeout"`    // of one attempt, to the first byte and between bytes; default 60s
}

// Web is the listener.
type Web struct {
	Listen        string   `yaml:"listen"`         // default 127.0.0.1:9420; COLLECTOR_LISTEN wins
	ConfigFile    string   `yaml:"config_file"`    // TLS and basic auth: exporter-toolkit's web configuration
	LabelTags     []string `yaml:"label_tags"`     // extra_tags that become labels of collector_account_info
	MetricsDetail bool     `yaml:"metrics_detail"` // a series a target
}

// A Duration is written 90s, 15m, 1h30m, 36h; 7d too; a bare number is seconds.
type Duration time.Duration

// Known is what the file may name and config cannot know: handed in by the wire, so that config imports nobody.
type Known struct {
	Kinds   []string              // sorted
	Outputs map[string]func() any // a type's options, with defaults; *struct with yaml tags, may have Validate() error
}
