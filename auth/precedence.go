package auth

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/aws-collector/collector/record"
)

// A route is how a profile, or the default chain, comes to credentials: a source, and the roles that are assumed from
// there. Which source it is where several could be, is decided as boto3 and the AWS CLI do, so that one machine has one
// answer; docs/sign-in.md has the table, and a test holds it against boto3. The SDK for Go has another order.
type route struct {
	profile string   // whose settings hold; "": none
	section *section // where the source is described; nil: not in a file
	source  sourceKind
	web     webIdentity   // where the source is one
	roles   []profileRole // in the order in which they are assumed
}

type sourceKind int

const (
	fromMachine     sourceKind = iota // nothing says: boto 2's files, the container's endpoint, the instance role
	fromEnvironment                   // AWS_ACCESS_KEY_ID
	fromWebIdentity
	fromSSO
	fromCredentialsFile
	fromLogin // `aws login`
	fromProcess
	fromConfigFile
	fromContainer
	fromInstance
)

type webIdentity struct{ tokenFile, role, session string }

// A profileRole is the role of a profile.
type profileRole struct {
	arn, session, externalID, serial string
	duration                         time.Duration // 0: not given
}

// environment is the variables by which credentials are found.
type environment struct {
	key     aws.Credentials
	half    bool // an access key id without its secret
	web     webIdentity
	profile string // AWS_PROFILE
	other   string // AWS_DEFAULT_PROFILE, where it names another
}

// routeOf finds the way of a profile, or of the default chain where name is "". It refuses who would go by something
// that cannot be read.
func (s *shared) routeOf(l *loaded, name string, env environment) (*route, error) {
	doing := "profile " + name
	if name == "" {
		doing = chainName
		for _, flaw := range l.flaws {
			if flaw.harmful {
				return nil, fault(record.NoCredentials, "correct or unset that variable", "%s: %s", doing, flaw.Error())
			}
		}
	}
	r, err := s.find(l, name, env)
	if err != nil || r.section == nil && r.source == fromEnvironment {
		return r, err
	}
	for _, flaw := range l.settingFlaws(s.profiles[r.profile]) {
		if flaw.harmful {
			return nil, fault(record.NoCredentials, "correct or remove that line", "%s: %s", doing, flaw.Error())
		}
	}
	return r, nil
}

const chainName = "default chain"

// find is routeOf, but looks only at the settings that decide which identity you get.
func (s *shared) find(l *loaded, name string, env environment) (*route, error) {
	f := finder{s, l, environment{}}
	if name != "" {
		return f.named(name, "profile "+name)
	}
	switch {
	case env.half:
		return nil, fault(record.NoCredentials, "set AWS_SECRET_ACCESS_KEY as well, or unset both",
			"%s: AWS_ACCESS_KEY_ID is set without AWS_SECRET_ACCESS_KEY", chainName)
	case env.profile != "" && env.other != "":
		return nil, fault(record.NoCredentials, "unset one of the two: the AWS CLI and boto3 do not agree which counts",
			"%s: AWS_PROFILE is %s and AWS_DEFAULT_PROFILE is %s", chainName, env.profile, env.other)
	}
	f.env = env
	name = or(env.profile, env.other)
	if name != "" && s.profiles[name] == nil {
		return nil, f.missing(fmt.Sprintf("%s: AWS_PROFILE names profile %s", chainName, name), name)
	}
	name = or(name, "default")
	if env.key.HasKeys() {
		return &route{profile: name, source: fromEnvironment}, nil
	}
	if s.profiles[name] == nil {
		if err := f.unreadable(chainName); err != nil {
			return nil, err
		}
		if env.web.tokenFile == "" {
			return &route{profile: name}, nil
		}
		s.profiles[name] = &section{name: name}
	}
	return f.named(name, fmt.Sprintf("%s: profile %s", chainName, name))
}

// A finder finds a route.
type finder struct {
	*shared
	loaded *loaded
	env    environment // empty for who named a profile: then the environment has no say
}

// named is the route of a profile. doing begins errors.
func (f finder) named(name, doing string) (*route, error) {
	p := f.profiles[name]
	if p == nil {
		return nil, f.missing(doing, name)
	}
	r := &route{profile: name}
	err := f.follow(r, p, []string{name}, doing)
	if err != nil {
		return nil, err
	}
	slices.Reverse(r.roles) // innermost first
	return r, nil
}

// follow goes from a profile to its source.
func (f finder) follow(r *route, p *section, visited []string, doing string) error {
	if err := f.twice(p, doing); err != nil {
		return err
	}
	own := p.names("role_arn") && !p.has("web_identity_token_file")
	if own && len(visited) == 1 || own && !p.hasKey() {
		for _, key := range []string{"role_arn", "source_profile", "credential_source", "web_identity_token_file"} {
			if p.names(key) && !p.has(key) { // as boto3; a template that lost its value must not make it another account's
				return p.fault(doing, "give it a value, or remove the line", p.place(key), "%s is empty", key)
			}
		}
	}
	if len(visited) > 1 {
		f.env = environment{}    // a source is what its profile says
		own = own && !p.hasKey() // and its keys count, not its role
	}
	if !own {
		found, err := f.source(r, p, doing)
		switch {
		case err != nil:
			return err
		case !found && len(visited) > 1:
			return p.fault(doing, "give profile "+p.name+" credentials, or name another in source_profile", p.at,
				"source_profile %s has no credentials", p.name)
		case !found && (p.has("aws_secret_access_key") || p.has("aws_session_token")):
			return p.fault(doing, "add aws_access_key_id beside it, or remove it", p.where("aws_secret_access_key",
				"aws_session_token"), "half a key")
		}
		return nil
	}
	if err := f.role(r, p, doing); err != nil {
		return err
	}
	if p.has("credential_source") {
		return f.machineSource(r, p, doing)
	}
	next := p.get("source_profile")
	at := p.where("source_profile")
	source := f.profiles[next]
	switch {
	case source == nil && !plainName.MatchString(next):
		return p.fault(doing, "write the name of a profile, and nothing else", at, "source_profile is in no shared file")
	case source == nil:
		return p.fault(doing, f.profileHint(f.loaded, next), at, "source_profile %s is in no shared file", next)
	case slices.Contains(visited, next) && (next != p.name || !p.hasKey()):
		return p.fault(doing, "let the last profile of the chain hold credentials", at,
			"its source_profiles lead in a circle: %s", strings.Join(append(visited, next), " → "))
	}
	return f.follow(r, source, append(visited, next), doing)
}

// plainName is a name that an error may repeat: a line that lost its break has a secret in it.
var plainName = regexp.MustCompile(`^[\w.@+-]{1,39}$`)

var roleARN = regexp.MustCompile(`^arn:aws[a-z-]*:iam::[0-9]{12}:role/[!-~]+$`)

// role takes up a profile's role, which must say where it is assumed from.
func (f finder) role(r *route, p *section, doing string) error {
	arn := p.get("role_arn")
	switch both := p.has("source_profile") && p.has("credential_source"); {
	case !roleARN.MatchString(arn):
		return p.fault(doing, "write it as arn:aws:iam::222222222222:role/NAME", p.where("role_arn"),
			"role_arn is not the ARN of a role")
	case both:
		return p.fault(doing, "remove one of the two", p.where("role_arn"),
			"source_profile (%s) and credential_source (%s) are both given", p.where("source_profile"),
			p.where("credential_source"))
	case !p.has("source_profile") && !p.has("credential_source"):
		return p.fault(doing, "add source_profile or credential_source to it", p.where("role_arn"),
			"role_arn without source_profile or credential_source: nothing says who assumes it")
	}
	r.roles = append(r.roles, profileRole{arn: arn, session: p.get("role_session_name"),
		externalID: p.get("external_id"), serial: p.get("mfa_serial"), duration: p.duration()})
	return nil
}

func (s *section) duration() time.Duration {
	n, err := strconv.ParseInt(s.get("duration_seconds"), 10, 32)
	if err != nil {
		return 0 // as boto3: the default
	}
	return max(time.Duration(n)*time.Second, 15*time.Minute)
}

// machineSource is what credential_source names.
func (f finder) machineSource(r *route, p *section, doing string) error {
	switch p.get("credential_source") {
	case "Environment":
		r.source = fromEnvironment
	case "Ec2InstanceMetadata":
		r.source = fromInstance
	case "EcsContainer":
		r.source = fromContainer
	default:
		return p.fault(doing, "it is Environment, Ec2InstanceMetadata or EcsContainer", p.where("credential_source"),
			"credential_source names none that is known")
	}
	r.section = p
	return nil
}

// source is where a profile's own credentials are: of several the first in this order counts. A variable of the
// environment goes before the profile's setting of the same meaning.
func (f finder) source(r *route, p *section, doing string) (found bool, err error) {
	r.section = p
	switch {
	case f.env.web.tokenFile != "" || p.has("web_identity_token_file"):
		r.source = fromWebIdentity
		w := webIdentity{or(f.env.web.tokenFile, p.get("web_identity_token_file")), or(f.env.web.role,
			p.get("role_arn")), or(f.env.web.session, p.get("role_session_name"))}
		r.web = w
		if w.role == "" {
			return true, p.fault(doing, "set role_arn beside it, or AWS_ROLE_ARN beside AWS_WEB_IDENTITY_TOKEN_FILE",
				p.where("web_identity_token_file"), "a web identity token is named without a role")
		}
		if !roleARN.MatchString(w.role) {
			return true, p.fault(doing, "write it as arn:aws:iam::222222222222:role/NAME", p.where("role_arn"),
				"the role of the web identity is not the ARN of a role")
		}
		return true, nil
	case p.has("sso_account_id") || p.has("sso_role_name"):
		r.source = fromSSO
		_, err := f.sso(p, doing)
		return true, err
	case p.credentials["aws_access_key_id"].text != "":
		r.source = fromCredentialsFile
	case p.has("login_session"):
		r.source = fromLogin
		return true, nil
	case p.has("credential_process"):
		r.source = fromProcess
		return true, nil
	case p.config["aws_access_key_id"].text != "":
		r.source = fromConfigFile
	default:
		r.source, r.section = fromMachine, nil
		return false, nil
	}
	if k := p.key(r.source); k.SecretAccessKey == "" {
		return true, p.fault(doing, "add aws_secret_access_key beside it, in the same file",
			p.where("aws_access_key_id"), "half a key")
	}
	return true, nil
}

// hasKey reports whether any part of a key is written in the profile.
func (s *section) hasKey() bool { return s.has("aws_access_key_id") || s.has("aws_secret_access_key") }

// key is the key in one kind of file; the two are not mixed.
func (s *section) key(from sourceKind) aws.Credentials {
	in := s.config
	if from == fromCredentialsFile {
		in = s.credentials
	}
	id := in["aws_access_key_id"]
	return aws.Credentials{
		AccessKeyID: id.text, SecretAccessKey: in["aws_secret_access_key"].text, AccountID: in["aws_account_id"].text,
		SessionToken: or(in["aws_security_token"].text, in["aws_session_token"].text),
		Source:       "SharedConfigCredentials: " + id.file,
	}
}

// ssoProfile is what a profile says of IAM Identity Center.
type ssoProfile struct{ session, startURL, region, account, role string }

func (f finder) sso(p *section, doing string) (ssoProfile, error) {
	s := ssoProfile{p.get("sso_session"), p.get("sso_start_url"), p.get("sso_region"), p.get("sso_account_id"),
		p.get("sso_role_name")}
	if s.session != "" {
		session := f.sessions[s.session]
		if session == nil && !plainName.MatchString(s.session) {
			return s, p.fault(doing, "write the name of an sso-session, and nothing else", p.where("sso_session"),
				"there is no section of the sso_session")
		}
		if session == nil {
			return s, p.fault(doing, "`aws configure sso` writes both", p.where("sso_session"),
				"there is no section [sso-session %s]", s.session)
		}
		for key, mine := range map[string]*string{"sso_start_url": &s.startURL, "sso_region": &s.region} {
			theirs := session.get(key)
			if *mine != "" && theirs != "" && *mine != theirs {
				return s, p.fault(doing, "remove it from the profile", p.where(key), "%s is another one in %s", key,
					session.where(key))
			}
			*mine = or(*mine, theirs)
		}
	}
	var lacks []string
	for _, need := range []struct{ key, text string }{
		{"sso_account_id", s.account}, {"sso_role_name", s.role}, {"sso_start_url", s.startURL}, {"sso_region", s.region},
	} {
		if need.text == "" {
			lacks = append(lacks, need.key)
		}
	}
	if len(lacks) > 0 {
		return s, p.fault(doing, "`aws configure sso` writes a whole one", p.where("sso_session", "sso_account_id",
			"sso_role_name"), "the profile of IAM Identity Center lacks %s", strings.Join(lacks, ", "))
	}
	return s, nil
}

// twice refuses a profile that gives one setting two values in one file, where they decide who one is.
func (f finder) twice(p *section, doing string) error {
	for _, in := range []map[string]value{p.credentials, p.config} {
		for _, key := range decisive {
			if v, ok := in[key]; ok && v.first != nil {
				return p.fault(doing, "remove one of the two", v.place, "%s is given twice, and at line %d otherwise", key,
					v.first.line)
			}
		}
	}
	return nil
}

// decisive is the settings that decide whose credentials are found.
var decisive = []string{
	"aws_access_key_id", "aws_secret_access_key", "aws_session_token", "role_arn", "source_profile",
	"credential_source", "credential_process",
	"web_identity_token_file", "sso_session", "sso_account_id", "sso_role_name", "sso_start_url", "sso_region",
	"login_session",
}

// fault is what is wrong with a profile, with its place.
func (s *section) fault(doing, hint string, at place, format string, args ...any) error {
	if at.file != "" { // else the environment says it
		doing += ": " + at.String()
	}
	return fault(record.NoCredentials, hint, "%s: %s", doing, fmt.Sprintf(format, args...))
}

// missing is for a profile that is in no file.
func (f finder) missing(doing, name string) error {
	if err := f.unreadable(doing); err != nil {
		return err
	}
	text := doing + ": it is in no shared AWS file"
	for _, flaw := range f.flaws {
		if flaw.profile == "" {
			text += "; " + flaw.Error()
		}
	}
	return fault(record.NoCredentials, f.profileHint(f.loaded, name), "%s", text)
}

// unreadable refuses who looks in a file that is there and cannot be read.
func (f finder) unreadable(doing string) error {
	for _, flaw := range f.flaws {
		if flaw.harmful && flaw.profile == "" {
			return fault(record.NoCredentials, "make it a file that the user of this process can read, or name another "+
				"by AWS_CONFIG_FILE or AWS_SHARED_CREDENTIALS_FILE", "%s: %s", doing, flaw.Error())
		}
	}
	return nil
}

func or(first, second string) string {
	if first != "" {
		return first
	}
	return second
}
