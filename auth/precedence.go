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
	profile     string   // whose settings hold; "": none
	section     *section // where the source is described; nil: not in a file
	source      sourceKind
	webIdentity webIdentity   // where the source is one
	roles       []profileRole // in the order in which they are assumed
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
	key            aws.Credentials
	incompleteKey  bool // an access key id without its secret
	webIdentity    webIdentity
	profile        string // AWS_PROFILE
	defaultProfile string // AWS_DEFAULT_PROFILE, where it names another
}

// routeOf finds the way of a profile, or of the default chain where name is "". It refuses who would go by something
// that cannot be read.
func (s *sharedFiles) routeOf(l *loader, name string, env environment) (*route, error) {
	operation := "profile " + name
	if name == "" {
		operation = chainName
		for _, flaw := range l.flaws {
			if flaw.harmful {
				return nil, fault(record.NoCredentials, "correct or unset that variable", "%s: %s", operation, flaw.Error())
			}
		}
	}
	r, err := s.findRoute(l, name, env)
	if err != nil || r.section == nil && r.source == fromEnvironment {
		return r, err
	}
	for _, flaw := range l.settingFlaws(s.profiles[r.profile]) {
		if flaw.harmful {
			return nil, fault(record.NoCredentials, "correct or remove that line", "%s: %s", operation, flaw.Error())
		}
	}
	return r, nil
}

const chainName = "default chain"

// findRoute is routeOf, but looks only at the settings that decide which identity you get.
func (s *sharedFiles) findRoute(l *loader, name string, env environment) (*route, error) {
	f := routeFinder{s, l, environment{}}
	if name != "" {
		return f.profileRoute(name, "profile "+name)
	}
	switch {
	case env.incompleteKey:
		return nil, fault(record.NoCredentials, "set AWS_SECRET_ACCESS_KEY as well, or unset both",
			"%s: AWS_ACCESS_KEY_ID is set without AWS_SECRET_ACCESS_KEY", chainName)
	case env.profile != "" && env.defaultProfile != "":
		return nil, fault(record.NoCredentials, "unset one of the two: the AWS CLI and boto3 do not agree which counts",
			"%s: AWS_PROFILE is %s and AWS_DEFAULT_PROFILE is %s", chainName, env.profile, env.defaultProfile)
	}
	f.env = env
	name = firstNonEmpty(env.profile, env.defaultProfile)
	if name != "" && s.profiles[name] == nil {
		return nil, f.missingProfile(fmt.Sprintf("%s: AWS_PROFILE names profile %s", chainName, name), name)
	}
	name = firstNonEmpty(name, "default")
	if env.key.HasKeys() {
		return &route{profile: name, source: fromEnvironment}, nil
	}
	if s.profiles[name] == nil {
		if err := f.checkReadable(chainName); err != nil {
			return nil, err
		}
		if env.webIdentity.tokenFile == "" {
			return &route{profile: name}, nil
		}
		s.profiles[name] = &section{name: name}
	}
	return f.profileRoute(name, fmt.Sprintf("%s: profile %s", chainName, name))
}

// A finder finds a route.
type routeFinder struct {
	*sharedFiles
	loader *loader
	env    environment // empty for who named a profile: then the environment has no say
}

// profileRoute is the route of a profile. doing begins errors.
func (f routeFinder) profileRoute(name, operation string) (*route, error) {
	p := f.profiles[name]
	if p == nil {
		return nil, f.missingProfile(operation, name)
	}
	r := &route{profile: name}
	err := f.followProfile(r, p, []string{name}, operation)
	if err != nil {
		return nil, err
	}
	slices.Reverse(r.roles) // innermost first
	return r, nil
}

// followProfile goes from a profile to its source.
func (f routeFinder) followProfile(r *route, p *section, visited []string, operation string) error {
	if err := f.checkDuplicates(p, operation); err != nil {
		return err
	}
	own := p.contains("role_arn") && !p.has("web_identity_token_file")
	if own && len(visited) == 1 || own && !p.hasAccessKey() {
		for _, key := range []string{"role_arn", "source_profile", "credential_source", "web_identity_token_file"} {
			if p.contains(key) && !p.has(key) { // as boto3; a template that lost its value must not make it another account's
				return p.fault(operation, "give it a value, or remove the line", p.positionOf(key), "%s is empty", key)
			}
		}
	}
	if len(visited) > 1 {
		f.env = environment{}          // a source is what its profile says
		own = own && !p.hasAccessKey() // and its keys count, not its role
	}
	if !own {
		found, err := f.findSource(r, p, operation)
		switch {
		case err != nil:
			return err
		case !found && len(visited) > 1:
			return p.fault(operation, "give profile "+p.name+" credentials, or name another in source_profile", p.at,
				"source_profile %s has no credentials", p.name)
		case !found && (p.has("aws_secret_access_key") || p.has("aws_session_token")):
			return p.fault(operation, "add aws_access_key_id beside it, or remove it", p.positionOfFirst("aws_secret_access_key",
				"aws_session_token"), "half a key")
		}
		return nil
	}
	if err := f.addRole(r, p, operation); err != nil {
		return err
	}
	if p.has("credential_source") {
		return f.credentialSource(r, p, operation)
	}
	next := p.get("source_profile")
	at := p.positionOfFirst("source_profile")
	source := f.profiles[next]
	switch {
	case source == nil && !safeName.MatchString(next):
		return p.fault(operation, "write the name of a profile, and nothing else", at, "source_profile is in no shared file")
	case source == nil:
		return p.fault(operation, f.profileHint(f.loader, next), at, "source_profile %s is in no shared file", next)
	case slices.Contains(visited, next) && (next != p.name || !p.hasAccessKey()):
		return p.fault(operation, "let the last profile of the chain hold credentials", at,
			"its source_profiles lead in a circle: %s", strings.Join(append(visited, next), " → "))
	}
	return f.followProfile(r, source, append(visited, next), operation)
}

// safeName is a name that an error may repeat: a line that lost its break has a secret in it.
var safeName = regexp.MustCompile(`^[\w.@+-]{1,39}$`)

var roleARN = regexp.MustCompile(`^arn:aws[a-z-]*:iam::[0-9]{12}:role/[!-~]+$`)

// addRole takes up a profile's role, which must say where it is assumed from.
func (f routeFinder) addRole(r *route, p *section, operation string) error {
	arn := p.get("role_arn")
	switch both := p.has("source_profile") && p.has("credential_source"); {
	case !roleARN.MatchString(arn):
		return p.fault(operation, "write it as arn:aws:iam::222222222222:role/NAME", p.positionOfFirst("role_arn"),
			"role_arn is not the ARN of a role")
	case both:
		return p.fault(operation, "remove one of the two", p.positionOfFirst("role_arn"),
			"source_profile (%s) and credential_source (%s) are both given", p.positionOfFirst("source_profile"),
			p.positionOfFirst("credential_source"))
	case !p.has("source_profile") && !p.has("credential_source"):
		return p.fault(operation, "add source_profile or credential_source to it", p.positionOfFirst("role_arn"),
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

// credentialSource is what credential_source names.
func (f routeFinder) credentialSource(r *route, p *section, operation string) error {
	switch p.get("credential_source") {
	case "Environment":
		r.source = fromEnvironment
	case "Ec2InstanceMetadata":
		r.source = fromInstance
	case "EcsContainer":
		r.source = fromContainer
	default:
		return p.fault(operation, "it is Environment, Ec2InstanceMetadata or EcsContainer", p.positionOfFirst("credential_source"),
			"credential_source names none that is known")
	}
	r.section = p
	return nil
}

// findSource is where a profile's own credentials are: of several the first in this order counts. A variable of the
// environment goes before the profile's setting of the same meaning.
func (f routeFinder) findSource(r *route, p *section, operation string) (found bool, err error) {
	r.section = p
	switch {
	case f.env.webIdentity.tokenFile != "" || p.has("web_identity_token_file"):
		r.source = fromWebIdentity
		w := webIdentity{firstNonEmpty(f.env.webIdentity.tokenFile, p.get("web_identity_token_file")), firstNonEmpty(f.env.webIdentity.role,
			p.get("role_arn")), firstNonEmpty(f.env.webIdentity.session, p.get("role_session_name"))}
		r.webIdentity = w
		if w.role == "" {
			return true, p.fault(operation, "set role_arn beside it, or AWS_ROLE_ARN beside AWS_WEB_IDENTITY_TOKEN_FILE",
				p.positionOfFirst("web_identity_token_file"), "a web identity token is named without a role")
		}
		if !roleARN.MatchString(w.role) {
			return true, p.fault(operation, "write it as arn:aws:iam::222222222222:role/NAME", p.positionOfFirst("role_arn"),
				"the role of the web identity is not the ARN of a role")
		}
		return true, nil
	case p.has("sso_account_id") || p.has("sso_role_name"):
		r.source = fromSSO
		_, err := f.readSSO(p, operation)
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
	if k := p.accessKey(r.source); k.SecretAccessKey == "" {
		return true, p.fault(operation, "add aws_secret_access_key beside it, in the same file",
			p.positionOfFirst("aws_access_key_id"), "half a key")
	}
	return true, nil
}

// hasAccessKey reports whether any part of a key is written in the profile.
func (s *section) hasAccessKey() bool {
	return s.has("aws_access_key_id") || s.has("aws_secret_access_key")
}

// accessKey is the key in one kind of file; the two are not mixed.
func (s *section) accessKey(from sourceKind) aws.Credentials {
	in := s.config
	if from == fromCredentialsFile {
		in = s.credentials
	}
	id := in["aws_access_key_id"]
	return aws.Credentials{
		AccessKeyID: id.text, SecretAccessKey: in["aws_secret_access_key"].text, AccountID: in["aws_account_id"].text,
		SessionToken: firstNonEmpty(in["aws_security_token"].text, in["aws_session_token"].text),
		Source:       "SharedConfigCredentials: " + id.file,
	}
}

// ssoProfile is what a profile says of IAM Identity Center.
type ssoProfile struct{ session, startURL, region, account, role string }

func (f routeFinder) readSSO(p *section, operation string) (ssoProfile, error) {
	s := ssoProfile{p.get("sso_session"), p.get("sso_start_url"), p.get("sso_region"), p.get("sso_account_id"),
		p.get("sso_role_name")}
	if s.session != "" {
		session := f.sessions[s.session]
		if session == nil && !safeName.MatchString(s.session) {
			return s, p.fault(operation, "write the name of an sso-session, and nothing else", p.positionOfFirst("sso_session"),
				"there is no section of the sso_session")
		}
		if session == nil {
			return s, p.fault(operation, "`aws configure sso` writes both", p.positionOfFirst("sso_session"),
				"there is no section [sso-session %s]", s.session)
		}
		for key, mine := range map[string]*string{"sso_start_url": &s.startURL, "sso_region": &s.region} {
			theirs := session.get(key)
			if *mine != "" && theirs != "" && *mine != theirs {
				return s, p.fault(operation, "remove it from the profile", p.positionOfFirst(key), "%s is another one in %s", key,
					session.positionOfFirst(key))
			}
			*mine = firstNonEmpty(*mine, theirs)
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
		return s, p.fault(operation, "`aws configure sso` writes a whole one", p.positionOfFirst("sso_session", "sso_account_id",
			"sso_role_name"), "the profile of IAM Identity Center lacks %s", strings.Join(lacks, ", "))
	}
	return s, nil
}

// checkDuplicates refuses a profile that gives one setting two values in one file, where they decide who one is.
func (f routeFinder) checkDuplicates(p *section, operation string) error {
	for _, in := range []map[string]value{p.credentials, p.config} {
		for _, key := range identitySettings {
			if v, ok := in[key]; ok && v.earlier != nil {
				return p.fault(operation, "remove one of the two", v.position, "%s is given twice, and at line %d otherwise", key,
					v.earlier.line)
			}
		}
	}
	return nil
}

// identitySettings is the settings that decide whose credentials are found.
var identitySettings = []string{
	"aws_access_key_id", "aws_secret_access_key", "aws_session_token", "role_arn", "source_profile",
	"credential_source", "credential_process",
	"web_identity_token_file", "sso_session", "sso_account_id", "sso_role_name", "sso_start_url", "sso_region",
	"login_session",
}

// fault is what is wrong with a profile, with its place.
func (s *section) fault(operation, hint string, at position, format string, args ...any) error {
	if at.file != "" { // else the environment says it
		operation += ": " + at.String()
	}
	return fault(record.NoCredentials, hint, "%s: %s", operation, fmt.Sprintf(format, args...))
}

// missingProfile is for a profile that is in no file.
func (f routeFinder) missingProfile(operation, name string) error {
	if err := f.checkReadable(operation); err != nil {
		return err
	}
	text := operation + ": it is in no shared AWS file"
	for _, flaw := range f.flaws {
		if flaw.profile == "" {
			text += "; " + flaw.Error()
		}
	}
	return fault(record.NoCredentials, f.profileHint(f.loader, name), "%s", text)
}

// checkReadable refuses who looks in a file that is there and cannot be read.
func (f routeFinder) checkReadable(operation string) error {
	for _, flaw := range f.flaws {
		if flaw.harmful && flaw.profile == "" {
			return fault(record.NoCredentials, "make it a file that the user of this process can read, or name another "+
				"by AWS_CONFIG_FILE or AWS_SHARED_CREDENTIALS_FILE", "%s: %s", operation, flaw.Error())
		}
	}
	return nil
}

func firstNonEmpty(first, second string) string {
	if first != "" {
		return first
	}
	return second
}
