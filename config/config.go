// Package config is the YAML file as Go types, in the file's order: defaults, strict decoding, references, validation and
// the JSON Schema. It does no I/O but for time zones: it reads the bytes, the environment and the files that it is handed.
// Begin at [Parse].
//
// What a key means is written once, in the `doc` tag of its field; `enum` and `range` are its limits. The decoder, the
// messages and [Schema] all read these tags, and so they do for the options of an output.
package config

import (
	"slices"
	"time"

	"github.com/aws-collector/collector/secret"
)

// A File is the whole configuration. After [Parse] what the file leaves out has its default, see [Defaults].
type File struct {
	Schedule     string        `yaml:"schedule" doc:"When accounts are collected: cron with 5 fields (minute hour day month weekday), @hourly, @daily or @every 15m."`
	Timezone     string        `yaml:"timezone" doc:"The time zone that schedules are read in: an IANA name such as Europe/Berlin. In a zone with summer time a run at an hour that is left out does not happen that day."`
	Jitter       Duration      `yaml:"jitter" range:"0s..1h" doc:"The accounts of a tick start spread over this time, each always at its own offset."`
	Timeout      Duration      `yaml:"timeout" range:"1s..7d" doc:"The time that a run may take. A bare number is seconds."`
	Overlap      string        `yaml:"overlap" enum:"skip,queue,cancel" doc:"What happens when a run is due and the account's last one still goes on: skip the new one, queue it, or cancel the old one."`
	DrainTimeout Duration      `yaml:"drain_timeout" range:"0s..1h" doc:"What running targets get at SIGTERM before they are cancelled."`
	DataDir      string        `yaml:"data_dir" doc:"The directory for what is kept: sessions, used codes, spools. COLLECTOR_DATA_DIR wins over it."`
	SessionKey   secret.String `yaml:"session_key" doc:"Encrypts the MFA sessions in data_dir: a reference to 32 random bytes, as base64 or hex. Default: they are in clear, in files of mode 0600."`

	Defaults Collect         `yaml:"collector_configs" doc:"What is listed in every account; an account may override any of its keys."`
	Accounts []PackedAccount `yaml:"-"` // each of accounts:, or the seed's single account:

	Organizations []Organization `yaml:"organizations" doc:"Accounts from AWS Organizations: each member of an organization becomes an account block."`

	Outputs []Output `yaml:"outputs" doc:"Where records go; several at once. Default: stdout."`
	Store   Store    `yaml:"store" doc:"What remembers the records."`
	Engine  Engine   `yaml:"engine" doc:"What runs the jobs."`
	Limits  Limits   `yaml:"limits" doc:"The bounds of the process."`
	Web     Web      `yaml:"web" doc:"The listener for metrics and health."`

	Warnings []Problem `yaml:"-" json:"-"` // what is no mistake, but hardly meant

	SecretInline bool     `yaml:"-" json:"-"` // a secret stands in the file itself
	SecretFiles  []string `yaml:"-" json:"-"` // what ${file:} names for secrets

	// FormerNames is what earlier versions called blocks without a name of their own, by their position: account-1 for the first
	// block and so on, organization:1. By the name of today.
	FormerNames map[string]string `yaml:"-" json:"-"`

	source *source // what Resolve decodes again; nil once that is done
}

// Collect is what to list. A nil field of an account's own block means the file's: after [Parse] it is filled in, and
// the slices and maps are shared, so treat them as read only.
type Collect struct {
	Regions      []string          `yaml:"regions" names:"regions" doc:"Regions by name or glob; \"!glob\" leaves out; \"*\" is every region that is enabled for the account."`
	Kinds        []string          `yaml:"kinds" names:"kinds" doc:"Kinds of resources by name or glob; \"!glob\" leaves out. \"collector kinds\" lists them."`
	Schedules    map[string]string `yaml:"schedules" doc:"Kind or glob: a schedule of its own for slow or costly kinds. A name beats a glob, a longer glob a shorter one."`
	ExpectDenied []ExpectedDenial  `yaml:"expect_denied" doc:"Targets that are denied on purpose, by a service control policy for example: shown, but no failure."`
	Sensitive    string            `yaml:"sensitive" enum:"digest,clear,drop" doc:"What becomes of members that AWS marks sensitive (pre-shared keys, user data): a keyed digest, the clear text, or nothing."`
}

// ScheduleOf is the spec of the kind's own schedule, or false where the account's applies. A name beats a glob, a
// longer glob a shorter one, and of two as long as each other the alphabetically first.
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

// Expected reports whether a target's denial is on purpose.
func (c Collect) Expected(region, kind string) bool {
	return slices.ContainsFunc(c.ExpectDenied, func(e ExpectedDenial) bool {
		return (e.Region == "" || Matches([]string{e.Region}, region)) && (e.Kind == "" || Matches([]string{e.Kind}, kind))
	})
}

// An Expect names targets that are denied on purpose. Globs; "" is "*".
type ExpectedDenial struct {
	Region string `yaml:"region" names:"regions" doc:"Regions, as a name or glob; all if left out."`
	Kind   string `yaml:"kind" names:"kinds" doc:"Kinds, as a name or glob; all if left out."`
}

// An Account is a block as written, the file's defaults applied. See the table of forms in the README.
type Account struct {
	Name string `yaml:"name" doc:"What the account is called in records, metrics and messages. Default: extra_tags.account_name, else the profile, else the account id of the role, else account_id, else where the credentials come from (key, environment, instance, container, default); of blocks that would be called alike, each gets a digest of its sign-in behind the name."`

	SignIn `yaml:",inline"`

	ExtraTags map[string]string `yaml:"extra_tags" doc:"Tags that are put on every record of the account."`
	Collect   Collect           `yaml:"collector_configs" doc:"What is listed in this account, where it differs from the file's."`
	Schedule  string            `yaml:"schedule" doc:"The account's own schedule."`
	Timezone  string            `yaml:"timezone" doc:"The account's own time zone."`
	Timeout   Duration          `yaml:"timeout" range:"1s..7d" doc:"The account's own timeout."`
	Overlap   string            `yaml:"overlap" enum:"skip,queue,cancel" doc:"The account's own overlap."`

	Line int `yaml:"-" json:"-"` // where the block begins, for messages
}

// A SignIn is how an account is entered: where the first credentials come from, MFA, roles, and who that must turn out to be.
type SignIn struct {
	AKID             string        `yaml:"ak_id" doc:"The access key's id; needs ak_secret. Without a key, profile or credential_source the SDK's default chain is used: environment, shared files, web identity, container, instance role."`
	AKSecret         secret.String `yaml:"ak_secret" doc:"The secret access key. Better a reference than the text: ${env:NAME} or ${file:/path}."`
	SessionToken     secret.String `yaml:"session_token" doc:"The session token that belongs to a temporary key (ASIA...)."`
	Profile          string        `yaml:"profile" doc:"A profile of the shared AWS files; wins over ak_id."`
	CredentialSource string        `yaml:"credential_source" enum:"Environment,Ec2InstanceMetadata,EcsContainer" doc:"Where credentials come from, if neither a profile nor a key is given."`

	Role  `yaml:",inline"`
	Roles []Role `yaml:"assume_roles" doc:"A chain of roles, first to last; instead of assume_role_arn."`

	AccountID   string `yaml:"account_id" doc:"The account that this must turn out to be: 12 digits. With role, the account that the role is in."`
	RoleName    string `yaml:"role" doc:"The name of a role in account_id: short for assume_role_arn."` // after Parse the ARN stands in Role.ARN
	Partition   string `yaml:"partition" names:"partitions" doc:"The partition that this must turn out to be. Default: that of the role, else that of the regions, else aws."`
	IsGlobal    *bool  `yaml:"is_global" doc:"An old way to write partition: true is aws, false is aws-cn."` // after Parse it stands in Partition
	RequireRole bool   `yaml:"require_role" doc:"Refuse to collect as a user: the account must turn out to be entered by a role."`
	STSRegion   string `yaml:"sts_region" doc:"The region whose STS is asked. Default: the first region that is named, else the partition's."`

	SerialNumber       string        `yaml:"serial_number" doc:"The MFA device: its ARN, or the number of a hardware device. Its codes come from totp_seed, token_command, token_code or \"collector login\"."`
	TOTPSeed           secret.String `yaml:"totp_seed" doc:"The device's seed, from which codes are made for good: a reference, never the text. Base32 as AWS shows it, or an otpauth:// URI."`
	TokenCommand       []string      `yaml:"token_command" doc:"A program and its arguments, run without a shell, that prints a code each time one is needed."`
	TokenCode          secret.String `yaml:"token_code" doc:"A one-time code of the MFA device: 6 digits, good for one session."`
	MFASessionDuration Duration      `yaml:"mfa_session_duration" range:"15m..36h" doc:"How long the MFA session lasts. Default: 36h."`

	// Digest is a digest of where the credentials come from, as it is written: references by their names. It holds no secret.
	// Equal marks in two versions of a file are an unchanged sign-in. "": the block stands in no file.
	Digest string `yaml:"-" json:"-"`
}

// A Role is one hop.
type Role struct {
	ARN string `yaml:"assume_role_arn" doc:"The role to assume."`

	RoleSession `yaml:",inline"`
}

// A RoleSession is what a role is assumed with.
type RoleSession struct {
	SessionName string   `yaml:"role_session_name" doc:"The session's name, which CloudTrail shows. Default: collector."`
	ExternalID  string   `yaml:"external_id" doc:"The external id that the role's trust policy asks for."`
	Duration    Duration `yaml:"role_duration" range:"15m..12h" doc:"How long the role's session lasts; at most 1h for a role that is assumed from a role or an MFA session. Default: 1h."`

	SourceIdentity string            `yaml:"source_identity" doc:"Who is behind the session, which CloudTrail shows of it and of every role after it. The trust policy must allow sts:SetSourceIdentity."`
	SessionTags    map[string]string `yaml:"session_tags" doc:"Tags of the session, which policies may ask for. The trust policy must allow sts:TagSession."`
	SessionPolicy  string            `yaml:"session_policy" doc:"An IAM policy as JSON that takes from the session what it does not allow; up to 2048 characters."`
}

// An Output is a type and its options, which are a struct of package outputs made by [Known].Outputs: an output is one file there.
type Output struct {
	Type    string
	Options any // nil as long as the type is a reference that is not resolved
	Line    int

	// Hidden is what no message about the output may show: its secrets, and whatever came from a reference.
	Hidden []secret.String
}

// Store is what remembers.
type Store struct {
	Type   string        `yaml:"type" enum:"sqlite,postgres,none" doc:"sqlite: what is listed is remembered, with its history, in data_dir/collector.db; postgres: in a schema of a Postgres database, version 14 or later; none: nothing is remembered."`
	DSN    secret.String `yaml:"dsn" doc:"Of postgres: postgres://user:password@host:5432/database?sslmode=verify-full, or host=… user=…. Better a reference than the text: ${env:NAME} or ${file:/path}. What it leaves out is taken from libpq's variables and files (PGPASSWORD, ~/.pgpass). A pooler must keep sessions: the writer holds a lock."`
	Schema string        `yaml:"schema" doc:"Of postgres: the schema that the tables are in, which is made if the role may; several collectors can share a database, each with a schema of its own. Default: collector."`
	Keep   Duration      `yaml:"keep" range:"0s..36500d" doc:"How long versions of a resource are kept that are no longer so; 0: for ever. What is live is always kept."`
	Sync   string        `yaml:"sync" enum:"normal,full" doc:"full: wait for the disk at each commit. With normal a power cut, but no crash of the program, can lose the last few targets, which the next run lists again; of postgres, normal is what the server's synchronous_commit says."`
}

// Equal reports whether both are the same store. == would compare where the secret lies.
func (s Store) Equal(t Store) bool {
	same := s.DSN.Reveal() == t.DSN.Reveal()
	s.DSN, t.DSN = secret.String{}, secret.String{}
	return same && s == t
}

// Engine is what runs the jobs. This build runs them in its own process, which a file may say.
type Engine struct {
	Type string `yaml:"type" enum:"local" doc:"local: jobs run in this process."`
}

// Limits bound the process.
type Limits struct {
	CallsInFlight int      `yaml:"calls_in_flight" range:"1..10000" doc:"Calls to AWS at one time; one account at most an eighth of them."`
	Pages         int      `yaml:"pages" range:"1..1024" doc:"Answers being decoded or delivered at one time: the bound of the memory."`
	GZIP          *bool    `yaml:"gzip" doc:"Ask AWS for compressed answers."`
	Attempts      int      `yaml:"attempts" range:"1..20" doc:"Attempts of one call, the first included."`
	MaxBackoff    Duration `yaml:"max_backoff" range:"100ms..10m" doc:"The longest wait between two attempts."`
	CallTimeout   Duration `yaml:"call_timeout" range:"1s..30m" doc:"The time of one attempt: to the first byte, and between bytes."`
}

// Web is the listener.
type Web struct {
	Listen        string   `yaml:"listen" doc:"host:port; an empty host is every interface. COLLECTOR_LISTEN wins over it."`
	Hosts         []string `yaml:"hosts" doc:"Host names (or globs, or IP addresses) that requests may name beside localhost and 127.0.0.1. Unset: a connection that arrives on a loopback address must name a loopback host, others may name any. Set: all connections must name a loopback host or one of these."`
	ConfigFile    string   `yaml:"config_file" doc:"TLS and basic auth: a web configuration file of the Prometheus exporter-toolkit."`
	LabelTags     []string `yaml:"label_tags" doc:"Keys of extra_tags that become labels of collector_account_info."`
	MetricsDetail bool     `yaml:"metrics_detail" doc:"Metrics with a series a target: many, for those who ask."`
}

// A Duration is written 90s, 15m, 1h30m, 36h; 7d too; a bare number is seconds. See [ParseDuration].
type Duration time.Duration

// Registry is what the file may name and config cannot know: handed in by the wire, so that config imports nobody.
type Registry struct {
	Kinds []string // sorted

	// Outputs makes a type's options, with their defaults: a pointer to a struct with yaml tags, and doc, enum and range
	// tags as here. Fields may be text, numbers, booleans, [secret.String], [Duration], anything with
	// UnmarshalText, and lists, maps and structs of these; a struct may be inlined. If it has Validate() error, each of
	// the errors joined in it is reported; one that begins with an option's key and a colon, at that key's line.
	Outputs map[string]func() any
}
