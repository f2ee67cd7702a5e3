// Package config holds the YAML file as Go types, in the file's order: defaults, strict decoding, references,
// validation and the JSON Schema. It does no I/O except loading time zones: the caller passes the file's bytes, the
// environment and a function that reads files. Begin at [Parse].
//
// The meaning of a key is written once, in the `doc` tag of its field; `enum` and `range` are its limits. The decoder,
// the messages and [Schema] read these tags, also those of an output's options. Package yamldoc reads the YAML; this
// package has what the keys mean, a file a block.
package config

import (
	"slices"
	"strings"
	"time"

	"github.com/aws-collector/collector/config/internal/yamldoc"
	"github.com/aws-collector/collector/secret"
)

// A File is the whole configuration. After [Parse], keys that the file does not set have their defaults, see
// [Defaults].
type File struct {
	Schedule     string        `yaml:"schedule" doc:"When accounts are collected: cron with 5 fields (minute hour day month weekday), @hourly, @daily, @every 15m or @every 7d."`
	Timezone     string        `yaml:"timezone" doc:"The time zone of schedules: an IANA name such as Europe/Berlin. In a zone with daylight saving time, a run at an hour that is skipped begins when that hour would end, and a run in an hour that is repeated happens once."`
	Jitter       Duration      `yaml:"jitter" range:"0s..1h" doc:"The accounts of a tick start spread over this time, each at its own fixed offset."`
	Timeout      Duration      `yaml:"timeout" range:"1s..7d" doc:"The time limit of a run. A bare number is seconds."`
	Overlap      string        `yaml:"overlap" enum:"skip,queue,cancel" doc:"What happens when a run is due and the account's previous run has not ended: skip the new run, queue it, or cancel the previous one."`
	DrainTimeout Duration      `yaml:"drain_timeout" range:"0s..1h" doc:"The time that runs in progress have after SIGTERM before they are cancelled."`
	DataDir      string        `yaml:"data_dir" doc:"The directory of what must survive a restart: the SQLite database, sessions, used codes, identities, spools. COLLECTOR_DATA_DIR overrides it."`
	SessionKey   secret.String `yaml:"session_key" doc:"Encrypts the MFA sessions in data_dir: a reference to 32 random bytes, as base64 or hex. Default: they are not encrypted, in files of mode 0600."`

	Defaults Collect   `yaml:"collector_configs" doc:"What is listed in every account; an account may override any of its keys."`
	Accounts []Account `yaml:"-"` // the blocks of accounts:, or the single block of account:

	Profiles []string `yaml:"profiles" doc:"Profiles of the shared AWS files, by name or glob; \"!glob\" excludes. Each becomes an account block with the profile's name, unless a block has that profile already. The files are read at the start and at a reload."`

	Organizations []Organization `yaml:"organizations" doc:"Accounts from AWS Organizations: each member of an organization becomes an account block."`

	Outputs []Output `yaml:"outputs" doc:"Where records go: one or more outputs. Default: stdout."`
	Store   Store    `yaml:"store" doc:"Where the inventory is stored."`
	Engine  Engine   `yaml:"engine" doc:"What runs the jobs."`
	Limits  Limits   `yaml:"limits" doc:"The limits of the process."`
	Web     Web      `yaml:"web" doc:"The HTTP listener: page, API, metrics, health and reload."`

	Queries map[string]*Query `yaml:"queries" doc:"Saved questions by name: \"collector query NAME\" asks one."`

	Warnings []Problem `yaml:"-" json:"-"` // valid, but probably not intended

	SecretInline bool     `yaml:"-" json:"-"` // the file itself contains a secret
	SecretFiles  []string `yaml:"-" json:"-"` // the files of ${file:} references for secrets

	// FormerNames maps the names of blocks without a name key to their names in earlier versions, which depended on the
	// position: account-1 for the first block, and so on, and organization:1.
	FormerNames map[string]string `yaml:"-" json:"-"`

	source *source // for Resolve to decode again; nil after that
}

// Collect says what to list. A nil field in an account block takes the file's value: [Parse] fills it in. The slices
// and maps are then shared, so treat them as read only.
type Collect struct {
	Regions      []string          `yaml:"regions" names:"regions" doc:"Regions by name or glob; \"!glob\" excludes; \"*\" is every region that is enabled for the account."`
	Kinds        []string          `yaml:"kinds" names:"kinds" doc:"Kinds of resources by name or glob; \"!glob\" excludes. \"collector kinds\" lists them."`
	Schedules    map[string]string `yaml:"schedules" doc:"Schedules of their own for slow or costly kinds, by name or glob. A name wins over a glob, a longer glob over a shorter one."`
	ExpectDenied []ExpectedDenial  `yaml:"expect_denied" doc:"Targets that are denied on purpose, by a service control policy for example: shown, but not a failure."`
	MaxGone      MaxGone           `yaml:"max_gone" doc:"When a complete listing with far fewer resources than the one before is not believed: the target is unconfirmed, and no resource is gone until the next complete listing does not have it either."`
	Sensitive    string            `yaml:"sensitive" enum:"digest,clear,drop" doc:"How members that AWS marks as sensitive (pre-shared keys, user data) are recorded: as a keyed digest, in clear text, or not at all."`
}

// ScheduleOf returns the kind's own schedule, or false if the account's schedule applies. A name wins over a glob, a
// longer glob over a shorter one, and among globs of equal length the first in alphabetical order.
func (c Collect) ScheduleOf(kind string) (spec string, ok bool) {
	if spec, ok = c.Schedules[kind]; ok {
		return spec, true
	}
	best := ""
	for pattern := range c.Schedules {
		if !glob(pattern, kind) {
			continue
		}
		if best == "" || len(pattern) > len(best) || len(pattern) == len(best) && pattern < best {
			best = pattern
		}
	}
	return c.Schedules[best], best != ""
}

// Expected reports whether expect_denied contains the target.
func (c Collect) Expected(region, kind string) bool {
	return slices.ContainsFunc(c.ExpectDenied, func(e ExpectedDenial) bool {
		return (e.Region == "" || Matches([]string{e.Region}, region)) && (e.Kind == "" || Matches([]string{e.Kind}, kind))
	})
}

// A MaxGone says how many resources of a target may be missing at once.
type MaxGone struct {
	Percent int `yaml:"percent" range:"1..100" doc:"The target is unconfirmed if more than this percentage of its resources is missing. Default: 100, which turns the check off."`
	AtLeast int `yaml:"at_least" range:"1.." doc:"At least this many resources must be missing. Default: 20."`
}

// An ExpectedDenial names targets that are denied on purpose. Both fields are globs; "" means "*".
type ExpectedDenial struct {
	Region string `yaml:"region" names:"scopes" doc:"Regions, as a name or glob, or global; all if left out."`
	Kind   string `yaml:"kind" names:"kinds" doc:"Kinds, as a name or glob; all if left out."`
}

// An Account is a block as written, with the file's defaults. See the table of forms in the README.
type Account struct {
	Name string `yaml:"name" doc:"The account's name in records, metrics and messages. Default: extra_tags.account_name, else the profile, else the account id of the role, else account_id, else the source of the credentials (key, environment, instance, container, default). If default names repeat, a hash of the sign-in is appended to each."`

	SignIn `yaml:",inline"`

	ExtraTags map[string]string `yaml:"extra_tags" doc:"Tags that are added to every record of the account."`
	Collect   Collect           `yaml:"collector_configs" doc:"What is listed in this account, where it differs from the file's."`
	Schedule  string            `yaml:"schedule" doc:"The account's own schedule."`
	Timezone  string            `yaml:"timezone" doc:"The account's own time zone."`
	Timeout   Duration          `yaml:"timeout" range:"1s..7d" doc:"The account's own timeout."`
	Overlap   string            `yaml:"overlap" enum:"skip,queue,cancel" doc:"The account's own overlap."`

	Line int `yaml:"-" json:"-"` // the block's first line, for messages
}

// A SignIn says how an account signs in: the source of the first credentials, MFA, roles, and the account that the
// result must belong to.
type SignIn struct {
	AKID             string        `yaml:"ak_id" doc:"The access key's id; needs ak_secret. Without a key, profile or credential_source the SDK's default chain is used: environment, shared files, web identity, container, instance role."`
	AKSecret         secret.String `yaml:"ak_secret" doc:"The secret access key. Use a reference: ${env:NAME} or ${file:/path}."`
	SessionToken     secret.String `yaml:"session_token" doc:"The session token that belongs to a temporary key (ASIA...)."`
	Profile          string        `yaml:"profile" doc:"A profile of the shared AWS files; wins over ak_id."`
	CredentialSource string        `yaml:"credential_source" enum:"Environment,Ec2InstanceMetadata,EcsContainer" doc:"Where credentials come from, if neither a profile nor a key is given."`

	Role  `yaml:",inline"`
	Roles []Role `yaml:"assume_roles" doc:"A chain of roles, first to last; instead of assume_role_arn."`

	AccountID string `yaml:"account_id" doc:"The account that the sign-in must belong to: 12 digits. With role, the role's account."`
	// Parse sets Role.ARN from RoleName, and Partition from IsGlobal.
	RoleName    string `yaml:"role" doc:"The name of a role in account_id: short for assume_role_arn."`
	Partition   string `yaml:"partition" names:"partitions" doc:"The partition that the sign-in must belong to. Default: that of the role, else that of the regions, else aws."`
	IsGlobal    *bool  `yaml:"is_global" doc:"An old way to write partition: true is aws, false is aws-cn."`
	RequireRole bool   `yaml:"require_role" doc:"Refuse to collect as a user: the sign-in must end in a role."`
	STSRegion   string `yaml:"sts_region" doc:"The region whose STS is called. Default: the first region that is named, else the partition's default."`

	SerialNumber       string        `yaml:"serial_number" doc:"The MFA device: its ARN, or the number of a hardware device. Its codes come from totp_seed, token_command, token_code or \"collector login\"."`
	TOTPSeed           secret.String `yaml:"totp_seed" doc:"The device's seed, which generates its codes: always a reference. Base32 as AWS shows it, or an otpauth:// URI."`
	TokenCommand       []string      `yaml:"token_command" doc:"A program and its arguments, run without a shell, that prints a code each time one is needed."`
	TokenCode          secret.String `yaml:"token_code" doc:"A one-time code of the MFA device: 6 digits, valid for one session."`
	MFASessionDuration Duration      `yaml:"mfa_session_duration" range:"15m..36h" doc:"How long the MFA session lasts. Default: 36h."`

	// Fingerprint identifies the source of the credentials as the file writes it. References count by their names, so it
	// reveals no secret. If it is equal in two versions of a file, the sign-in is unchanged. It is "" if the block is not
	// in a file.
	Fingerprint string `yaml:"-" json:"-"`
}

// A Role is one role of a chain.
type Role struct {
	ARN string `yaml:"assume_role_arn" doc:"The role to assume."`

	RoleSession `yaml:",inline"`
}

// A RoleSession holds the parameters of AssumeRole.
type RoleSession struct {
	SessionName string   `yaml:"role_session_name" doc:"The session's name, which CloudTrail shows. Default: collector."`
	ExternalID  string   `yaml:"external_id" doc:"The external id that the role's trust policy asks for."`
	Duration    Duration `yaml:"role_duration" range:"15m..12h" doc:"How long the role's session lasts; at most 1h for a role that is assumed from a role or an MFA session. Default: 1h."`

	SourceIdentity string            `yaml:"source_identity" doc:"The person or system behind the session. CloudTrail shows it for this role and for every role after it. The trust policy must allow sts:SetSourceIdentity."`
	SessionTags    map[string]string `yaml:"session_tags" doc:"Tags of the session, for conditions in policies. The trust policy must allow sts:TagSession."`
	SessionPolicy  string            `yaml:"session_policy" doc:"An IAM policy as JSON that limits the session's permissions; up to 2048 characters."`
}

// An Output is a type and its options. The options are a struct of package outputs, made by [Registry].Outputs.
type Output = yamldoc.Typed

// Store configures the inventory's store.
type Store struct {
	Type     string        `yaml:"type" enum:"sqlite,postgres,none" doc:"sqlite: the inventory and its history are in data_dir/collector.db; postgres: in a schema of a Postgres database, version 14 or later; none: nothing is stored."`
	DSN      secret.String `yaml:"dsn" doc:"For postgres: postgres://user:password@host:5432/database?sslmode=verify-full, or host=… user=…. Use a reference: ${env:NAME} or ${file:/path}. What is missing is taken from libpq's variables and files (PGPASSWORD, ~/.pgpass). A pooler must work in session mode, because the writer holds a lock."`
	Schema   string        `yaml:"schema" doc:"For postgres: the schema of the tables. It is created if the role may do so. Several collectors can share a database, each with its own schema. Default: collector."`
	Keep     Duration      `yaml:"keep" range:"0s..36500d" doc:"How long past versions of resources are kept; 0: forever. Current versions are always kept."`
	KeepRuns Duration      `yaml:"keep_runs" range:"0s..36500d" doc:"How long runs are kept, with their counts and the causes of their failures; 0: forever. \"collector runs\" shows them."`
	Sync     string        `yaml:"sync" enum:"normal,full" doc:"full: wait for the disk at each commit. normal: a power failure, but not a crash of the program, can lose the last few targets, which the next run lists again; with postgres, the server's synchronous_commit applies."`
}

// Equal reports whether both are the same store. == would compare the pointers of the secrets.
func (s Store) Equal(t Store) bool {
	same := s.DSN.Reveal() == t.DSN.Reveal()
	s.DSN, t.DSN = secret.String{}, secret.String{}
	return same && s == t
}

// Engine configures what runs the jobs. This build has one engine, which runs them in its own process.
type Engine struct {
	Type string `yaml:"type" enum:"local" doc:"local: jobs run in this process."`
}

// Limits configures the limits of the process.
type Limits struct {
	CallsInFlight int      `yaml:"calls_in_flight" range:"1..10000" doc:"Maximum number of concurrent calls to AWS; one account makes at most an eighth of them. Fewer if the process may open few files."`
	Pages         int      `yaml:"pages" range:"1..1024" doc:"Maximum number of responses that are decoded or delivered at one time; it bounds memory."`
	GZIP          *bool    `yaml:"gzip" doc:"Ask AWS for compressed responses."`
	Attempts      int      `yaml:"attempts" range:"1..20" doc:"Attempts of one call, the first included."`
	MaxBackoff    Duration `yaml:"max_backoff" range:"100ms..10m" doc:"The longest wait between two attempts."`
	CallTimeout   Duration `yaml:"call_timeout" range:"1s..30m" doc:"The time limit of one attempt: until the first byte, and between bytes."`
}

// Web configures the HTTP listener.
type Web struct {
	Listen        string   `yaml:"listen" doc:"host:port; an empty host is every interface. COLLECTOR_LISTEN overrides it."`
	Hosts         []string `yaml:"hosts" doc:"Host names (or globs, or IP addresses) that requests may name in addition to localhost and 127.0.0.1. Unset: a connection that arrives on a loopback address must name a loopback host, others may name any. Set: all connections must name a loopback host or one of these."`
	ConfigFile    string   `yaml:"config_file" doc:"TLS and basic auth: a web configuration file of the Prometheus exporter-toolkit."`
	ActUsers      []string `yaml:"act_users" doc:"Users of basic_auth_users in config_file who may act: start, cancel, pause, check or acknowledge, enter MFA codes, reload. All others can only read. Unset: only a client on this machine may act, and every user may reload."`
	LabelTags     []string `yaml:"label_tags" doc:"Keys of extra_tags that become labels of collector_account_info."`
	MetricsDetail bool     `yaml:"metrics_detail" doc:"Metrics with one series for each target; there may be many."`
	MCP           bool     `yaml:"mcp" doc:"Answer questions of language models at /mcp, by the Model Context Protocol. It only reads."`
}

// A Duration is written as 90s, 15m, 1h30m, 36h or 7d; a bare number is seconds. See [ParseDuration].
type Duration = yamldoc.Duration

// A Problem is one mistake, and Problems are all mistakes of a file, ordered by line.
type (
	Problem  = yamldoc.Problem
	Problems = yamldoc.Problems
)

// Limits on what a caller should read.
const (
	MaxFile       = yamldoc.MaxFile       // bytes of the file
	MaxReferenced = yamldoc.MaxReferenced // bytes of a referenced file
)

// ParseDuration parses 90s, 15m, 1h30m or 500ms; 7d or 1d12h, where a day is 24 hours; and a bare number, which is
// seconds. A sign is not allowed. Its error does not repeat s.
func ParseDuration(s string) (time.Duration, error) { return yamldoc.ParseDuration(s) }

// NewRedactor returns a replacer that removes texts from messages, in each spelling that an error or a URL may use.
func NewRedactor(texts []string) *strings.Replacer { return yamldoc.NewRedactor(texts) }

// A Registry lists the names that the file may use but this package does not know. The caller passes it, so that config
// does not import the packages that define them.
type Registry struct {
	Kinds []string // sorted

	// Outputs makes the options of each type, with their defaults: a pointer to a struct with yaml, doc, enum and range
	// tags as in this package. Fields may be text, numbers, booleans, [secret.String], [Duration], any type with
	// UnmarshalText, and lists, maps and structs of these; a struct may be inlined. If the struct has Validate() error,
	// each of the joined errors is reported. An error that begins with an option's key and a colon is reported at that
	// key's line.
	Outputs map[string]func() any

	// CheckQuery checks the flags of a saved query, by their names, and returns an error for each that is wrong. Nil: they
	// are not checked.
	CheckQuery func(flags map[string]string) map[string]error
}
