package config

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/aws-collector/collector/record"
)

// AWS's formats: AccessKeyId, RoleSessionName, SerialNumber and TokenCode of
//
//	https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html
//
// and the role names of
//
//	https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
var (
	keyIDForm       = lengthPattern{regexp.MustCompile(`^\w+$`), 4, 128}
	sessionNameForm = lengthPattern{regexp.MustCompile(`^[\w+=,.@-]+$`), 2, 64}
	externalIDForm  = regexp.MustCompile(`^[\w+=,.@:/-]+$`)
	serialForm      = lengthPattern{regexp.MustCompile(`^[\w+=/:,.@-]+$`), 9, 256}
	codeForm        = regexp.MustCompile(`^[0-9]{6}$`)
	accountIDForm   = regexp.MustCompile(`^[0-9]{12}$`)
	digitsOnly      = regexp.MustCompile(`^[0-9]+$`)
	roleNameForm    = lengthPattern{regexp.MustCompile(`^[\w+=,.@-]+$`), 1, 64}
)

// A lengthPattern is a regular expression with a length limit. A repetition such as {9,256} in the expression would be
// compiled into 256 copies.
type lengthPattern struct {
	expr           *regexp.Regexp
	minLen, maxLen int // characters
}

// MatchString is like [regexp.Regexp.MatchString].
func (f lengthPattern) MatchString(s string) bool {
	n := utf8.RuneCountInString(s)
	return f.minLen <= n && n <= f.maxLen && f.expr.MatchString(s)
}

// checkAccount checks an account block.
func (d *decoder) checkAccount(a *Account, f *File, loc *time.Location) {
	own := d.positions[a]
	if own.state != valid {
		return
	}
	if d.isSet(&a.Timezone) {
		loc = d.checkTimezone(&a.Timezone)
	}
	d.checkSchedule(&a.Schedule, a.Schedule, loc)
	d.checkCollect(&a.Collect, loc)
	d.checkSignIn(&a.SignIn)
	d.checkExtraTags(&a.ExtraTags)
	d.checkAccountName(a)
	d.checkOnePartition(&a.SignIn, &a.Collect, f, own)
}

// checkSignIn checks how an account signs in.
func (d *decoder) checkSignIn(a *SignIn) {
	d.checkAccessKey(a)
	d.warnUnusedCredentials(a)
	d.checkShorthand(a)
	d.checkRoles(a)
	d.checkRequireRole(a)
	d.checkMFA(a)
	d.checkAccountID(a)
	d.checkPartition(a)
}

// checkAccessKey checks ak_id, ak_secret and session_token.
func (d *decoder) checkAccessKey(a *SignIn) {
	id, hasID := d.positions[&a.AKID]
	sec, hasSecret := d.positions[&a.AKSecret]
	token, hasToken := d.positions[&a.SessionToken]
	switch {
	case hasID && !hasSecret:
		d.report(id, "ak_id is set without ak_secret", "add ak_secret, or remove ak_id")
	case hasSecret && !hasID:
		d.report(sec, "ak_secret is set without ak_id", "add ak_id, or remove ak_secret")
	case hasToken && !hasID:
		d.report(token, "session_token is set without ak_id and ak_secret", "add them, or remove session_token")
	}
	if !hasID || id.state != valid {
		return
	}
	kind := strings.ToUpper(a.AKID[:min(4, len(a.AKID))])
	switch {
	case slices.Contains([]string{"AIDA", "AROA", "AGPA", "AIPA", "ANPA", "ASCA"}, kind):
		d.report(id, "is the unique id of a user, a role or another IAM resource, not the id of an access key",
			"write an id that begins with AKIA or ASIA")
	case !keyIDForm.MatchString(a.AKID):
		d.report(id, "is not the id of an access key, which has only letters and digits",
			"check that ak_id and ak_secret are not swapped")
	case (kind == "AKIA" || kind == "ASIA") && len(a.AKID) != 20:
		d.report(id, "has "+quantity(len(a.AKID), "character")+", but an access key's id has 20", "copy it again")
	case kind == "ASIA" && !hasToken:
		d.report(id, "is a temporary key, which needs a session_token",
			"add session_token, or use a long-lived key (AKIA...)")
	case kind == "AKIA" && hasToken:
		d.report(token, "does not belong to ak_id, which is a long-lived key",
			"remove session_token, or use the temporary key (ASIA...) that it came with")
	}
}

// warnUnusedCredentials warns of credentials that another key overrides: profile wins over ak_id, ak_id over
// credential_source.
func (d *decoder) warnUnusedCredentials(a *SignIn) {
	profile := d.isSet(&a.Profile)
	if p, ok := d.positions[&a.AKID]; ok && profile {
		d.warn(p, "is not used: profile wins", "remove one of them")
	}
	if p, ok := d.positions[&a.CredentialSource]; ok && (profile || d.isSet(&a.AKID)) {
		winner := "ak_id"
		if profile {
			winner = "profile"
		}
		d.warn(p, "is not used: "+winner+" wins", "remove one of them")
	}
}

// checkAccountID checks the id and compares it with the role's account.
func (d *decoder) checkAccountID(a *SignIn) {
	p, ok := d.checkable(&a.AccountID)
	if !ok {
		return
	}
	id := a.AccountID
	if !d.checkAccountIDFormat(p, id) {
		return
	}
	last := &a.ARN
	if n := len(a.Roles); n > 0 {
		last = &a.Roles[n-1].ARN
	}
	if _, ok := d.checkable(last); !ok {
		return
	}
	if of := record.AccountOfARN(*last); accountIDForm.MatchString(of) && of != id {
		if from := d.positions[last].references; from != "" {
			of = "another account (" + from + ")"
		}
		d.report(p, d.show(p, id)+" is not the account of the role, which is in "+of,
			"set account_id to the account of the last role, which is the one that is collected")
	}
}

// checkAccountIDFormat checks the format of an account id.
func (d *decoder) checkAccountIDFormat(p position, id string) bool {
	switch {
	case accountIDForm.MatchString(id):
		return true
	case digitsOnly.MatchString(id) && len(id) < 12:
		remedy := "copy it again"
		if p.references == "" {
			remedy = "write it in quotes, with its leading zeros, as in " + strconv.Quote(strings.Repeat("0", 12-len(id))+id)
		}
		d.report(p, d.show(p, id)+" has "+quantity(len(id), "digit")+", but an account id has 12", remedy)
	default:
		d.report(p, d.show(p, id)+" is not an account id", "write 12 digits, without dashes")
	}
	return false
}

// knownAccountID returns the account that the block certainly signs in to: that of the last role, else account_id. It
// does not return an id that came from the environment, because callers show the id.
func (d *decoder) knownAccountID(a *SignIn) (string, bool) {
	last, set := any(&a.ARN), a.ARN
	if n := len(a.Roles); n > 0 {
		last, set = &a.Roles[n-1].ARN, a.Roles[n-1].ARN
	}
	if p, ok := d.checkable(last); ok && p.references == "" && accountIDForm.MatchString(record.AccountOfARN(set)) {
		return record.AccountOfARN(set), true
	}
	if p, ok := d.checkable(&a.AccountID); ok && p.references == "" && accountIDForm.MatchString(a.AccountID) {
		return a.AccountID, true
	}
	return "", false
}

// checkExtraTags checks extra_tags.
func (d *decoder) checkExtraTags(extra *map[string]string) {
	if p, ok := d.positions[mapEntry{extra, "cloud_provider"}]; ok {
		d.report(p, "cloud_provider is set by the program", "remove it")
	}
}

// maxNameLength is the maximum length of an account's name, in bytes.
const maxNameLength = 128

// checkAccountName checks the name. It appears in every record and metric, and --account matches it.
func (d *decoder) checkAccountName(a *Account) {
	name, at := a.Name, any(&a.Name)
	if !d.isSet(at) {
		name, at = a.ExtraTags["account_name"], mapEntry{&a.ExtraTags, "account_name"}
	}
	p, ok := d.checkable(at)
	if !ok {
		return
	}
	switch {
	case len(name) > maxNameLength:
		d.report(p, "the account's name has "+quantity(len(name), "byte"),
			"shorten it to at most "+strconv.Itoa(maxNameLength)+" bytes")
	case strings.ContainsFunc(name, unicode.IsControl) || strings.TrimSpace(name) != name:
		d.report(p, "the account's name contains a control character, or begins or ends with white space", "")
	case strings.HasPrefix(name, OrganizationPrefix):
		d.report(p, d.show(p, name)+" looks like the name of an organization block", "choose another name")
	case strings.HasPrefix(name, "!") || isGlob(name):
		d.report(p, d.show(p, name)+" looks like a pattern", "remove * and ?, and a ! at the beginning")
	}
}

// checkPartition checks partition and sts_region.
func (d *decoder) checkPartition(a *SignIn) {
	if p, ok := d.checkable(&a.Partition); ok {
		if text, remedy := d.partitionProblem(p, a.Partition); text != "" {
			d.report(p, text, remedy)
		}
	}
	p, ok := d.checkable(&a.STSRegion)
	if !ok {
		return
	}
	switch text, remedy, unknown := d.regionProblem(p, a.STSRegion); {
	case unknown:
		d.warn(p, text, newerRegion)
	case isGlob(a.STSRegion):
		d.report(p, "STS is called in one region", "write a name such as us-east-1")
	case text != "":
		d.report(p, text, remedy)
	}
}

func (d *decoder) partitionProblem(p position, id string) (text, remedy string) {
	ids := partitionIDs()
	if slices.Contains(ids, id) {
		return "", ""
	}
	remedy = "write " + joinOr(ids)
	if p.references != "" {
		return "the value of " + p.references + " is not a known partition", remedy
	}
	if m := nearest(id, ids); m != "" {
		remedy = "did you mean " + strconv.Quote(m) + "?"
	}
	return d.show(p, id) + " is not a known partition", remedy
}
