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

// The forms that AWS asks for: AccessKeyId, RoleSessionName, SerialNumber and TokenCode of
// https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html, role names of
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html.
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

// A form is which characters a text is made of, and how many. {9,256} in the expression would be compiled into 256 of it.
type lengthPattern struct {
	expr           *regexp.Regexp
	minLen, maxLen int // characters
}

// MatchString is [regexp.Regexp.MatchString].
func (f lengthPattern) MatchString(s string) bool {
	n := utf8.RuneCountInString(s)
	return f.minLen <= n && n <= f.maxLen && f.expr.MatchString(s)
}

// checkAccount judges a block.
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

// checkSignIn judges how an account is entered.
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

// checkAccessKey judges ak_id, ak_secret and session_token.
func (d *decoder) checkAccessKey(a *SignIn) {
	id, hasID := d.positions[&a.AKID]
	sec, hasSecret := d.positions[&a.AKSecret]
	token, hasToken := d.positions[&a.SessionToken]
	switch {
	case hasID && !hasSecret:
		d.report(id, "ak_id stands without ak_secret", "add ak_secret, or remove ak_id")
	case hasSecret && !hasID:
		d.report(sec, "ak_secret stands without ak_id", "add ak_id, or remove ak_secret")
	case hasToken && !hasID:
		d.report(token, "session_token stands without ak_id and ak_secret", "add them, or remove session_token")
	}
	if !hasID || id.state != valid {
		return
	}
	kind := strings.ToUpper(a.AKID[:min(4, len(a.AKID))])
	switch {
	case slices.Contains([]string{"AIDA", "AROA", "AGPA", "AIPA", "ANPA", "ASCA"}, kind):
		d.report(id, "is the unique id of a user, role or other thing, not the id of an access key", "want an id that begins with AKIA or ASIA")
	case !keyIDForm.MatchString(a.AKID):
		d.report(id, "is no id of an access key: it has letters and digits only", "are ak_id and ak_secret swapped?")
	case (kind == "AKIA" || kind == "ASIA") && len(a.AKID) != 20:
		d.report(id, "is "+quantity(len(a.AKID), "character")+" long, and an access key's id is 20", "copy it again")
	case kind == "ASIA" && !hasToken:
		d.report(id, "is a temporary key, which needs a session_token", "add session_token, or use a long-lived key (AKIA...)")
	case kind == "AKIA" && hasToken:
		d.report(token, "does not belong to ak_id, which is a long-lived key", "remove session_token, or use the temporary key (ASIA...) that it came with")
	}
}

// warnUnusedCredentials judges what stands beside each other: profile before key before credential_source.
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

// checkAccountID judges the id and holds it against the role's.
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
			of = "another account, by " + from
		}
		d.report(p, d.show(p, id)+" is not the account of the role, which is in "+of, "account_id is the account that is collected: the last role's")
	}
}

// checkAccountIDFormat judges an id by itself.
func (d *decoder) checkAccountIDFormat(p position, id string) bool {
	switch {
	case accountIDForm.MatchString(id):
		return true
	case digitsOnly.MatchString(id) && len(id) < 12:
		remedy := "copy it again"
		if p.references == "" {
			remedy = "was a leading zero lost? write it in quotes, as in " + strconv.Quote(strings.Repeat("0", 12-len(id))+id)
		}
		d.report(p, d.show(p, id)+" has "+quantity(len(id), "digit")+", and an account id has 12", remedy)
	default:
		d.report(p, d.show(p, id)+" is no account id", "want 12 digits, without dashes")
	}
	return false
}

// knownAccountID is the account that the block is sure to be: the last role's, else the one that account_id asks for. An id from the
// environment is not told, because it would be shown.
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

// checkExtraTags judges extra_tags.
func (d *decoder) checkExtraTags(extra *map[string]string) {
	if p, ok := d.positions[mapEntry{extra, "cloud_provider"}]; ok {
		d.report(p, "cloud_provider is set by the program", "remove it")
	}
}

// maxNameLength is the longest name of an account, in bytes.
const maxNameLength = 128

// checkAccountName judges what stands in every record and metric, and what --account matches.
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
		d.report(p, "an account's name is "+quantity(len(name), "byte")+" long", "the most is "+strconv.Itoa(maxNameLength))
	case strings.ContainsFunc(name, unicode.IsControl) || strings.TrimSpace(name) != name:
		d.report(p, "an account's name holds a control character, or white space at an end", "")
	case strings.HasPrefix(name, OrganizationPrefix):
		d.report(p, d.show(p, name)+" reads as the name of a block of organizations", "choose another")
	case strings.HasPrefix(name, "!") || isGlob(name):
		d.report(p, d.show(p, name)+" reads as a pattern", "a name holds no * and no ?, and does not begin with !")
	}
}

// checkPartition judges the key and sts_region.
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
		d.warn(p, text, "is it newer than this build?")
	case isGlob(a.STSRegion):
		d.report(p, "STS is asked in one region", "want a name such as us-east-1")
	case text != "":
		d.report(p, text, remedy)
	}
}

func (d *decoder) partitionProblem(p position, id string) (text, remedy string) {
	ids := partitionIDs()
	if slices.Contains(ids, id) {
		return "", ""
	}
	remedy = "want " + joinOr(ids)
	if p.references != "" {
		return "the value of " + p.references + " names a partition that is none", remedy
	}
	if m := nearest(id, ids); m != "" {
		remedy = "did you mean " + strconv.Quote(m) + "?"
	}
	return d.show(p, id) + " is no partition", remedy
}
