package config

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/aws-collector/collector/config/internal/yamldoc"
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
	keyIDForm       = yamldoc.Pattern{Expr: regexp.MustCompile(`^\w+$`), Min: 4, Max: 128}
	sessionNameForm = yamldoc.Pattern{Expr: regexp.MustCompile(`^[\w+=,.@-]+$`), Min: 2, Max: 64}
	externalIDForm  = regexp.MustCompile(`^[\w+=,.@:/-]+$`)
	serialForm      = yamldoc.Pattern{Expr: regexp.MustCompile(`^[\w+=/:,.@-]+$`), Min: 9, Max: 256}
	codeForm        = regexp.MustCompile(`^[0-9]{6}$`)
	accountIDForm   = regexp.MustCompile(`^[0-9]{12}$`)
	digitsOnly      = regexp.MustCompile(`^[0-9]+$`)
	roleNameForm    = yamldoc.Pattern{Expr: regexp.MustCompile(`^[\w+=,.@-]+$`), Min: 1, Max: 64}
)

// checkAccount checks an account block.
func (d *decoder) checkAccount(a *Account, f *File, loc *time.Location) {
	own := d.At(a)
	if own.State != yamldoc.Valid {
		return
	}
	if d.IsSet(&a.Timezone) {
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
	id, hasID := d.Position(&a.AKID)
	sec, hasSecret := d.Position(&a.AKSecret)
	token, hasToken := d.Position(&a.SessionToken)
	switch {
	case hasID && !hasSecret:
		d.Report(id, "ak_id is set without ak_secret", "add ak_secret, or remove ak_id")
	case hasSecret && !hasID:
		d.Report(sec, "ak_secret is set without ak_id", "add ak_id, or remove ak_secret")
	case hasToken && !hasID:
		d.Report(token, "session_token is set without ak_id and ak_secret", "add them, or remove session_token")
	}
	if !hasID || id.State != yamldoc.Valid {
		return
	}
	kind := strings.ToUpper(a.AKID[:min(4, len(a.AKID))])
	switch {
	case slices.Contains([]string{"AIDA", "AROA", "AGPA", "AIPA", "ANPA", "ASCA"}, kind):
		d.Report(id, "is the unique id of a user, a role or another IAM resource, not the id of an access key",
			"write an id that begins with AKIA or ASIA")
	case !keyIDForm.MatchString(a.AKID):
		d.Report(id, "is not the id of an access key, which has only letters and digits",
			"check that ak_id and ak_secret are not swapped")
	case (kind == "AKIA" || kind == "ASIA") && len(a.AKID) != 20:
		d.Report(id, "has "+quantity(len(a.AKID), "character")+", but an access key's id has 20", "copy it again")
	case kind == "ASIA" && !hasToken:
		d.Report(id, "is a temporary key, which needs a session_token",
			"add session_token, or use a long-lived key (AKIA...)")
	case kind == "AKIA" && hasToken:
		d.Report(token, "does not belong to ak_id, which is a long-lived key",
			"remove session_token, or use the temporary key (ASIA...) that it came with")
	}
}

// warnUnusedCredentials warns of credentials that another key overrides: profile wins over ak_id, ak_id over
// credential_source.
func (d *decoder) warnUnusedCredentials(a *SignIn) {
	profile := d.IsSet(&a.Profile)
	if p, ok := d.Position(&a.AKID); ok && profile {
		d.Warn(p, "is not used: profile wins", "remove one of them")
	}
	if p, ok := d.Position(&a.CredentialSource); ok && (profile || d.IsSet(&a.AKID)) {
		winner := "ak_id"
		if profile {
			winner = "profile"
		}
		d.Warn(p, "is not used: "+winner+" wins", "remove one of them")
	}
}

// checkAccountID checks the id and compares it with the role's account.
func (d *decoder) checkAccountID(a *SignIn) {
	p, ok := d.Checkable(&a.AccountID)
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
	if _, ok := d.Checkable(last); !ok {
		return
	}
	if of := record.AccountOfARN(*last); accountIDForm.MatchString(of) && of != id {
		if from := d.At(last).References; from != "" {
			of = "another account (" + from + ")"
		}
		d.Report(p, d.Show(p, id)+" is not the account of the role, which is in "+of,
			"set account_id to the account of the last role, which is the one that is collected")
	}
}

// checkAccountIDFormat checks the format of an account id.
func (d *decoder) checkAccountIDFormat(p yamldoc.Position, id string) bool {
	switch {
	case accountIDForm.MatchString(id):
		return true
	case digitsOnly.MatchString(id) && len(id) < 12:
		remedy := "copy it again"
		if p.References == "" {
			remedy = "write it in quotes, with its leading zeros, as in " + strconv.Quote(strings.Repeat("0", 12-len(id))+id)
		}
		d.Report(p, d.Show(p, id)+" has "+quantity(len(id), "digit")+", but an account id has 12", remedy)
	default:
		d.Report(p, d.Show(p, id)+" is not an account id", "write 12 digits, without dashes")
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
	if p, ok := d.Checkable(last); ok && p.References == "" && accountIDForm.MatchString(record.AccountOfARN(set)) {
		return record.AccountOfARN(set), true
	}
	if p, ok := d.Checkable(&a.AccountID); ok && p.References == "" && accountIDForm.MatchString(a.AccountID) {
		return a.AccountID, true
	}
	return "", false
}

// checkExtraTags checks extra_tags.
func (d *decoder) checkExtraTags(extra *map[string]string) {
	if p, ok := d.Position(yamldoc.Entry(extra, "cloud_provider")); ok {
		d.Report(p, "cloud_provider is set by the program", "remove it")
	}
}

// maxNameLength is the maximum length of an account's name, in bytes.
const maxNameLength = 128

// checkAccountName checks the name. It appears in every record and metric, and --account matches it.
func (d *decoder) checkAccountName(a *Account) {
	name, at := a.Name, any(&a.Name)
	if !d.IsSet(at) {
		name, at = a.ExtraTags["account_name"], yamldoc.Entry(&a.ExtraTags, "account_name")
	}
	p, ok := d.Checkable(at)
	if !ok {
		return
	}
	switch {
	case len(name) > maxNameLength:
		d.Report(p, "the account's name has "+quantity(len(name), "byte"),
			"shorten it to at most "+strconv.Itoa(maxNameLength)+" bytes")
	case strings.ContainsFunc(name, unicode.IsControl) || strings.TrimSpace(name) != name:
		d.Report(p, "the account's name contains a control character, or begins or ends with white space", "")
	case strings.HasPrefix(name, OrganizationPrefix):
		d.Report(p, d.Show(p, name)+" looks like the name of an organization block", "choose another name")
	case strings.HasPrefix(name, "!") || isGlob(name):
		d.Report(p, d.Show(p, name)+" looks like a pattern", "remove * and ?, and a ! at the beginning")
	}
}

// checkPartition checks partition and sts_region.
func (d *decoder) checkPartition(a *SignIn) {
	if p, ok := d.Checkable(&a.Partition); ok {
		if text, remedy := d.partitionProblem(p, a.Partition); text != "" {
			d.Report(p, text, remedy)
		}
	}
	p, ok := d.Checkable(&a.STSRegion)
	if !ok {
		return
	}
	switch text, remedy, unknown := d.regionProblem(p, a.STSRegion); {
	case unknown:
		d.Warn(p, text, newerRegion)
	case isGlob(a.STSRegion):
		d.Report(p, "STS is called in one region", "write a name such as us-east-1")
	case text != "":
		d.Report(p, text, remedy)
	}
}

func (d *decoder) partitionProblem(p yamldoc.Position, id string) (text, remedy string) {
	ids := partitionIDs()
	if slices.Contains(ids, id) {
		return "", ""
	}
	remedy = "write " + yamldoc.JoinOr(ids)
	if p.References != "" {
		return "the value of " + p.References + " is not a known partition", remedy
	}
	if m := yamldoc.Nearest(id, ids); m != "" {
		remedy = "did you mean " + strconv.Quote(m) + "?"
	}
	return d.Show(p, id) + " is not a known partition", remedy
}
