package awsfiles

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// A Route is how a profile, or the default chain, leads to credentials: a source, and the roles to assume with them. If
// there are several sources, the order of boto3 and the AWS CLI decides, so that all programs on a machine use the same
// one. docs/sign-in.md has the table, and a test compares it with boto3. The SDK for Go has another order.
type Route struct {
	Profile     string   // whose settings apply; "": none
	Section     *Section // that describes the source; nil: it is not in a file
	Source      SourceKind
	WebIdentity WebIdentity // if that is the source
	Roles       []Role      // in the order of assumption
}

// A SourceKind is a kind of source of credentials.
type SourceKind int

const (
	FromMachine     SourceKind = iota // nothing is configured: boto 2's files, the container's endpoint, the instance role
	FromEnvironment                   // AWS_ACCESS_KEY_ID
	FromWebIdentity
	FromSSO
	FromCredentialsFile
	FromLogin // `aws login`
	FromProcess
	FromConfigFile
	FromContainer
	FromInstance
)

// String is the name of the source in errors.
func (k SourceKind) String() string {
	return map[SourceKind]string{
		FromMachine: "container or instance", FromEnvironment: "environment", FromWebIdentity: "web identity",
		FromSSO: "IAM Identity Center", FromCredentialsFile: "credentials file",
		FromLogin: "login session", FromProcess: "credential_process", FromConfigFile: "config file",
		FromContainer: "container", FromInstance: "instance role",
	}[k]
}

// A WebIdentity is a token with which a role is assumed.
type WebIdentity struct{ TokenFile, Role, Session string }

// A Role is the role that a profile names.
type Role struct {
	ARN, Session, ExternalID, Serial string
	Duration                         time.Duration // 0: not set
}

// An Environment is the variables that decide which credentials are found.
type Environment struct {
	Key            aws.Credentials
	incompleteKey  bool // an access key id without its secret
	webIdentity    WebIdentity
	profile        string // AWS_PROFILE
	defaultProfile string // AWS_DEFAULT_PROFILE, if it differs
}

// Route finds the route of a profile, or of the default chain if name is "". It fails if a setting that would apply
// cannot be read.
func (s *Files) Route(name string, env Environment) (*Route, error) {
	operation := "profile " + name
	if name == "" {
		operation = chainName
		for _, problem := range s.source.Problems {
			if problem.failsSignIn {
				return nil, noCredentials("Correct or unset that variable.", "%s: %s", operation, problem.Error())
			}
		}
	}
	r, err := s.findRoute(name, env)
	if err != nil || r.Section == nil && r.Source == FromEnvironment {
		return r, err
	}
	for _, problem := range s.SettingProblems(r.Profile) {
		if problem.failsSignIn {
			return nil, noCredentials(cmp.Or(problem.Hint, "Correct or remove that line."), "%s: %s", operation, problem.Error())
		}
	}
	return r, nil
}

const chainName = "default chain"

// findRoute is Route, but checks only the settings that decide which identity is found.
func (s *Files) findRoute(name string, env Environment) (*Route, error) {
	f := routeFinder{s, Environment{}}
	if name != "" {
		return f.profileRoute(name, "profile "+name)
	}
	switch {
	case env.incompleteKey:
		return nil, noCredentials("Set AWS_SECRET_ACCESS_KEY as well, or unset both.",
			"%s: AWS_ACCESS_KEY_ID is set without AWS_SECRET_ACCESS_KEY", chainName)
	case env.profile != "" && env.defaultProfile != "":
		return nil, noCredentials("Unset one of the two: the AWS CLI and boto3 disagree on which one applies.",
			"%s: AWS_PROFILE is %s and AWS_DEFAULT_PROFILE is %s", chainName, env.profile, env.defaultProfile)
	}
	f.env = env
	name = cmp.Or(env.profile, env.defaultProfile)
	if name != "" && s.profiles[name] == nil {
		return nil, f.missingProfile(fmt.Sprintf("%s: AWS_PROFILE=%s", chainName, name), name)
	}
	name = cmp.Or(name, "default")
	if env.Key.HasKeys() {
		return &Route{Profile: name, Source: FromEnvironment}, nil
	}
	if s.profiles[name] == nil {
		if err := f.checkReadable(chainName); err != nil {
			return nil, err
		}
		if env.webIdentity.TokenFile == "" {
			return &Route{Profile: name}, nil
		}
		s.profiles[name] = &Section{name: name}
	}
	return f.profileRoute(name, fmt.Sprintf("%s: profile %s", chainName, name))
}

// A routeFinder finds a route.
type routeFinder struct {
	*Files
	env Environment // empty for a named profile: then the environment does not apply
}

// profileRoute is the route of a profile. Errors begin with operation.
func (f routeFinder) profileRoute(name, operation string) (*Route, error) {
	p := f.profiles[name]
	if p == nil {
		return nil, f.missingProfile(operation, name)
	}
	r := &Route{Profile: name}
	err := f.followProfile(r, p, []string{name}, operation)
	if err != nil {
		return nil, err
	}
	slices.Reverse(r.Roles) // innermost first
	return r, nil
}

// followProfile follows the chain from a profile to its source.
func (f routeFinder) followProfile(r *Route, p *Section, visited []string, operation string) error {
	if err := f.checkDuplicates(p, operation); err != nil {
		return err
	}
	assumesRole := p.contains("role_arn") && !p.Has("web_identity_token_file")
	if assumesRole && len(visited) == 1 || assumesRole && !p.hasAccessKey() {
		for _, key := range []string{"role_arn", "source_profile", "credential_source", "web_identity_token_file"} {
			// As in boto3: a template that lost a value must not lead to another account.
			if p.contains(key) && !p.Has(key) {
				return p.fault(operation, "Give "+key+" a value, or remove the line.", p.positionOf(key), "%s is empty", key)
			}
		}
	}
	if len(visited) > 1 {
		f.env = Environment{}                          // only the profile decides on a source
		assumesRole = assumesRole && !p.hasAccessKey() // and its key is used before its role
	}
	if !assumesRole {
		found, err := f.findSource(r, p, operation)
		switch {
		case err != nil:
			return err
		case !found && len(visited) > 1:
			hint := "Give profile " + p.name + " credentials, or name another profile in source_profile."
			return p.fault(operation, hint, p.at, "source_profile %s has no credentials", p.name)
		case !found && (p.Has("aws_secret_access_key") || p.Has("aws_session_token")):
			return p.fault(operation, "Add aws_access_key_id, or remove this line.",
				p.positionOfFirst("aws_secret_access_key", "aws_session_token"), "the access key has no aws_access_key_id")
		}
		return nil
	}
	if err := f.addRole(r, p, operation); err != nil {
		return err
	}
	if p.Has("credential_source") {
		return f.credentialSource(r, p, operation)
	}
	next := p.Get("source_profile")
	at := p.positionOfFirst("source_profile")
	source := f.profiles[next]
	switch {
	case source == nil && !safeName.MatchString(next):
		return p.fault(operation, "Set source_profile to the name of a profile, and nothing else.", at,
			"the source_profile is not in any shared AWS file")
	case source == nil:
		return p.fault(operation, f.profileHint(next), at,
			"source_profile %s is not in any shared AWS file", next)
	case slices.Contains(visited, next) && (next != p.name || !p.hasAccessKey()):
		return p.fault(operation, "Give credentials to the last profile of the chain.", at,
			"the source_profiles form a loop: %s", strings.Join(append(visited, next), " → "))
	}
	return f.followProfile(r, source, append(visited, next), operation)
}

// safeName matches names that an error may show: if a line break is lost, a value may end with a secret.
var safeName = regexp.MustCompile(`^[\w.@+-]{1,39}$`)

var roleARN = regexp.MustCompile(`^arn:aws[a-z-]*:iam::[0-9]{12}:role/[!-~]+$`)

// addRole adds a profile's role. The profile must name the credentials that assume it.
func (f routeFinder) addRole(r *Route, p *Section, operation string) error {
	arn := p.Get("role_arn")
	switch both := p.Has("source_profile") && p.Has("credential_source"); {
	case !roleARN.MatchString(arn):
		return p.fault(operation, "Write role_arn as arn:aws:iam::222222222222:role/NAME.",
			p.positionOfFirst("role_arn"), "role_arn is not the ARN of a role")
	case both:
		return p.fault(operation, "Remove one of the two.", p.positionOfFirst("role_arn"),
			"source_profile (%s) and credential_source (%s) are both set",
			p.positionOfFirst("source_profile"), p.positionOfFirst("credential_source"))
	case !p.Has("source_profile") && !p.Has("credential_source"):
		return p.fault(operation, "Add source_profile or credential_source.", p.positionOfFirst("role_arn"),
			"role_arn without source_profile or credential_source: nothing can assume the role")
	}
	if err := checkSessionName(p.Get("role_session_name")); err != nil {
		return p.fault(operation, sessionNameHint, p.positionOfFirst("role_session_name"), "role_session_name %w", err)
	}
	r.Roles = append(r.Roles, Role{
		ARN:        arn,
		Session:    p.Get("role_session_name"),
		ExternalID: p.Get("external_id"),
		Serial:     p.Get("mfa_serial"),
		Duration:   p.duration(),
	})
	return nil
}

const sessionNameHint = "Write 2 to 64 letters, digits or characters of _+=,.@- and no spaces: STS accepts no others."

var sessionName = regexp.MustCompile(`^[\w+=,.@-]*$`)

// checkSessionName checks the name of a role session, which STS would refuse without naming the line.
// https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html
func checkSessionName(name string) error {
	switch n := len(name); {
	case name == "":
		return nil
	case n < 2 || n > 64:
		return fmt.Errorf("has %d characters", n)
	case !sessionName.MatchString(name):
		return errors.New("has a character that STS does not accept")
	}
	return nil
}

func (s *Section) duration() time.Duration {
	n, err := strconv.ParseInt(s.Get("duration_seconds"), 10, 32)
	if err != nil {
		return 0 // the default, as in boto3
	}
	return max(time.Duration(n)*time.Second, 15*time.Minute)
}

// credentialSource sets the source that credential_source names.
func (f routeFinder) credentialSource(r *Route, p *Section, operation string) error {
	switch p.Get("credential_source") {
	case "Environment":
		r.Source = FromEnvironment
	case "Ec2InstanceMetadata":
		r.Source = FromInstance
	case "EcsContainer":
		r.Source = FromContainer
	default:
		return p.fault(operation, "Set credential_source to Environment, Ec2InstanceMetadata or EcsContainer.",
			p.positionOfFirst("credential_source"), "credential_source is unknown")
	}
	r.Section = p
	return nil
}

// findSource finds a profile's own credentials: the first source in this order applies. A variable of the environment
// takes precedence over the profile's setting of the same meaning.
func (f routeFinder) findSource(r *Route, p *Section, operation string) (found bool, err error) {
	r.Section = p
	switch {
	case f.env.webIdentity.TokenFile != "" || p.Has("web_identity_token_file"):
		r.Source = FromWebIdentity
		w := WebIdentity{
			cmp.Or(f.env.webIdentity.TokenFile, p.Get("web_identity_token_file")),
			cmp.Or(f.env.webIdentity.Role, p.Get("role_arn")),
			cmp.Or(f.env.webIdentity.Session, p.Get("role_session_name")),
		}
		r.WebIdentity = w
		if w.Role == "" {
			return true, p.fault(operation,
				"Set role_arn with web_identity_token_file, or AWS_ROLE_ARN with AWS_WEB_IDENTITY_TOKEN_FILE.",
				p.positionOfFirst("web_identity_token_file"), "a web identity token is set without a role")
		}
		if !roleARN.MatchString(w.Role) {
			return true, p.fault(operation, "Write the role as arn:aws:iam::222222222222:role/NAME.",
				p.positionOfFirst("role_arn"), "the role of the web identity is not the ARN of a role")
		}
		if err := checkSessionName(w.Session); err != nil && f.env.webIdentity.Session != "" {
			return true, p.fault(operation, sessionNameHint, position{}, "AWS_ROLE_SESSION_NAME %w", err)
		} else if err != nil {
			return true, p.fault(operation, sessionNameHint, p.positionOfFirst("role_session_name"),
				"role_session_name %w", err)
		}
		return true, nil
	case p.Has("sso_account_id") || p.Has("sso_role_name"):
		r.Source = FromSSO
		_, err := f.SSO(p, operation)
		return true, err
	case p.credentials["aws_access_key_id"].text != "":
		r.Source = FromCredentialsFile
	case p.Has("login_session"):
		r.Source = FromLogin
		return true, nil
	case p.Has("credential_process"):
		r.Source = FromProcess
		return true, nil
	case p.config["aws_access_key_id"].text != "":
		r.Source = FromConfigFile
	default:
		r.Source, r.Section = FromMachine, nil
		return false, nil
	}
	if k := p.AccessKey(r.Source); k.SecretAccessKey == "" {
		return true, p.fault(operation, "Add aws_secret_access_key to the same section of this file.",
			p.positionOfFirst("aws_access_key_id"), "aws_access_key_id is set without aws_secret_access_key")
	}
	return true, nil
}

// hasAccessKey reports whether the profile has any part of an access key.
func (s *Section) hasAccessKey() bool {
	return s.Has("aws_access_key_id") || s.Has("aws_secret_access_key")
}

// AccessKey is the key in one kind of file; parts of different kinds are not combined.
func (s *Section) AccessKey(from SourceKind) aws.Credentials {
	in := s.config
	if from == FromCredentialsFile {
		in = s.credentials
	}
	id := in["aws_access_key_id"]
	return aws.Credentials{
		AccessKeyID:     id.text,
		SecretAccessKey: in["aws_secret_access_key"].text,
		AccountID:       in["aws_account_id"].text,
		SessionToken:    cmp.Or(in["aws_security_token"].text, in["aws_session_token"].text),
		Source:          "SharedConfigCredentials: " + id.file,
	}
}

// An SSO is a profile's settings for IAM Identity Center.
type SSO struct{ Session, StartURL, Region, Account, Role string }

func (s *Files) SSO(p *Section, operation string) (SSO, error) {
	sso := SSO{
		Session:  p.Get("sso_session"),
		StartURL: p.Get("sso_start_url"),
		Region:   p.Get("sso_region"),
		Account:  p.Get("sso_account_id"),
		Role:     p.Get("sso_role_name"),
	}
	if sso.Session != "" {
		session := s.sessions[sso.Session]
		if session == nil && !safeName.MatchString(sso.Session) {
			return sso, p.fault(operation, "Set sso_session to the name of an sso-session, and nothing else.",
				p.positionOfFirst("sso_session"), "sso_session names a section that does not exist")
		}
		if session == nil {
			return sso, p.fault(operation, "Run `aws configure sso`, which writes the profile and the sso-session.",
				p.positionOfFirst("sso_session"), "there is no section [sso-session %s]", sso.Session)
		}
		for key, mine := range map[string]*string{"sso_start_url": &sso.StartURL, "sso_region": &sso.Region} {
			theirs := session.Get(key)
			if *mine != "" && theirs != "" && *mine != theirs {
				return sso, p.fault(operation, "Remove "+key+" from the profile.", p.positionOfFirst(key),
					"%s differs from its value in the sso-session, %s", key, session.positionOfFirst(key))
			}
			*mine = cmp.Or(*mine, theirs)
		}
	}
	var missing []string
	for _, required := range []struct{ key, text string }{
		{"sso_account_id", sso.Account}, {"sso_role_name", sso.Role},
		{"sso_start_url", sso.StartURL}, {"sso_region", sso.Region},
	} {
		if required.text == "" {
			missing = append(missing, required.key)
		}
	}
	if len(missing) > 0 {
		return sso, p.fault(operation, "Run `aws configure sso`, which writes a complete profile.",
			p.positionOfFirst("sso_session", "sso_account_id", "sso_role_name"),
			"the profile of IAM Identity Center lacks %s", strings.Join(missing, ", "))
	}
	return sso, nil
}

// checkDuplicates refuses a profile with two values for one setting in one file, if the setting decides on the
// identity.
func (f routeFinder) checkDuplicates(p *Section, operation string) error {
	for _, in := range []map[string]value{p.credentials, p.config} {
		for _, key := range identitySettings {
			if v, ok := in[key]; ok && v.earlier != nil {
				return p.fault(operation, "Remove one of the two.", v.position,
					"%s is set twice, with another value on line %d", key, v.earlier.line)
			}
		}
	}
	return nil
}

// identitySettings are the settings that decide which credentials are found.
var identitySettings = []string{
	"aws_access_key_id", "aws_secret_access_key", "aws_session_token", "role_arn", "source_profile",
	"credential_source", "credential_process",
	"web_identity_token_file", "sso_session", "sso_account_id", "sso_role_name", "sso_start_url", "sso_region",
	"login_session",
}

// fault is an error in a profile, with its position.
func (s *Section) fault(operation, hint string, at position, format string, args ...any) error {
	if at.file != "" { // else the setting comes from the environment
		operation += ": " + at.String()
	}
	return noCredentials(hint, "%s: %w", operation, fmt.Errorf(format, args...))
}

// Gap says what a profile lacks that leads to no credentials of its own, and what to do. specific is false if it has no
// setting at all that is about credentials.
func (s *Files) Gap(profile string) (text, hint string, specific bool) {
	p := s.profiles[profile]
	if p == nil {
		return "", "", false
	}
	at := p.at
	text = "the profile has no credentials"
	hint = "Add to the profile aws_access_key_id and aws_secret_access_key, role_arn with source_profile, or " +
		"credential_process; or run `aws configure sso`."
	for _, key := range []string{"source_profile", "credential_source", "sso_session", "sso_start_url", "mfa_serial"} {
		if !p.Has(key) {
			continue
		}
		at, specific = p.positionOfFirst(key), true
		switch key {
		case "source_profile", "credential_source":
			text = key + " is set without role_arn"
			hint = "Add role_arn, the role to assume; or remove " + key + " and add the credentials of the profile itself."
		case "mfa_serial":
			text = "mfa_serial is set, but the profile has no access key and no role_arn"
			hint = "Add aws_access_key_id and aws_secret_access_key, or role_arn with source_profile."
		default:
			text = key + " is set without sso_account_id and sso_role_name"
			hint = "Run `aws configure sso`, which writes a complete profile."
		}
		break
	}
	return at.String() + ": " + text, hint, specific
}

// missingProfile is the error for a profile that is in no file.
func (f routeFinder) missingProfile(operation, name string) error {
	if err := f.checkReadable(operation); err != nil {
		return err
	}
	text := operation + ": the profile is not in any shared AWS file"
	for _, problem := range f.problems {
		if problem.profile == "" {
			text += "; " + problem.Error()
		}
	}
	return noCredentials(f.profileHint(name), "%s", text)
}

// checkReadable returns an error if a file exists but cannot be read.
func (f routeFinder) checkReadable(operation string) error {
	for _, problem := range f.problems {
		if problem.failsSignIn && problem.profile == "" {
			hint := cmp.Or(problem.Hint, "Let the user of this process read the file, or name another file "+
				"in AWS_CONFIG_FILE or AWS_SHARED_CREDENTIALS_FILE.")
			return noCredentials(hint, "%s: %s", operation, problem.Error())
		}
	}
	return nil
}
