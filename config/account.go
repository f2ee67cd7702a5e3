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
	keyIDForm       = form{regexp.MustCompile(`^\w+$`), 4, 128}
	sessionNameForm = form{regexp.MustCompile(`^[\w+=,.@-]+$`), 2, 64}
	externalIDForm  = regexp.MustCompile(`^[\w+=,.@:/-]+$`)
	serialForm      = form{regexp.MustCompile(`^[\w+=/:,.@-]+$`), 9, 256}
	codeForm        = regexp.MustCompile(`^[0-9]{6}$`)
	accountIDForm   = regexp.MustCompile(`^[0-9]{12}$`)
	digits          = regexp.MustCompile(`^[0-9]+$`)
	roleNameForm    = form{regexp.MustCompile(`^[\w+=,.@-]+$`), 1, 64}
)

// A form is which characters a text is made of, and how many. {9,256} in the expression would be compiled into 256 of it.
type form struct {
	made        *regexp.Regexp
	least, most int // characters
}

// MatchString is [regexp.Regexp.MatchString].
func (f form) MatchString(s string) bool {
	n := utf8.RuneCountInString(s)
	return f.least <= n && n <= f.most && f.made.MatchString(s)
}

// account judges a block.
func (d *decoder) account(a *Account, f *File, loc *time.Location) {
	own := d.places[a]
	if own.state != fine {
		return
	}
	if d.set(&a.Timezone) {
		loc = d.timezone(&a.Timezone)
	}
	d.schedule(&a.Schedule, a.Schedule, loc)
	d.collect(&a.Collect, loc)
	d.signIn(&a.SignIn)
	d.tags(&a.ExtraTags)
	d.accountName(a)
	d.onePartition(&a.SignIn, &a.Collect, f, own)
}

// signIn judges how an account is entered.
func (d *decoder) signIn(a *SignIn) {
	d.key(a)
	d.base(a)
	d.shorthand(a)
	d.roles(a)
	d.requireRole(a)
	d.mfa(a)
	d.accountID(a)
	d.partition(a)
}

// key judges ak_id, ak_secret and session_token.
func (d *decoder) key(a *SignIn) {
	id, hasID := d.places[&a.AKID]
	sec, hasSecret := d.places[&a.AKSecret]
	token, hasToken := d.places[&a.SessionToken]
	switch {
	case hasID && !hasSecret:
		d.report(id, "ak_id stands without ak_secret", "add ak_secret, or remove ak_id")
	case hasSecret && !hasID:
		d.report(sec, "ak_secret stands without ak_id", "add ak_id, or remove ak_secret")
	case hasToken && !hasID:
		d.report(token, "session_token stands without ak_id and ak_secret", "add them, or remove session_token")
	}
	if !hasID || id.state != fine {
		return
	}
	kind := strings.ToUpper(a.AKID[:min(4, len(a.AKID))])
	switch {
	case slices.Contains([]string{"AIDA", "AROA", "AGPA", "AIPA", "ANPA", "ASCA"}, kind):
		d.report(id, "is the unique id of a user, role or other thing, not the id of an access key", "want an id that begins with AKIA or ASIA")
	case !keyIDForm.MatchString(a.AKID):
		d.report(id, "is no id of an access key: it has letters and digits only", "are ak_id and ak_secret swapped?")
	case (kind == "AKIA" || kind == "ASIA") && len(a.AKID) != 20:
		d.report(id, "is "+count(len(a.AKID), "character")+" long, and an access key's id is 20", "copy it again")
	case kind == "ASIA" && !hasToken:
		d.report(id, "is a temporary key, which needs a session_token", "add session_token, or use a long-lived key (AKIA...)")
	case kind == "AKIA" && hasToken:
		d.report(token, "does not belong to ak_id, which is a long-lived key", "remove session_token, or use the temporary key (ASIA...) that it came with")
	}
}

// base judges what stands beside each other: profile before key before credential_source.
func (d *decoder) base(a *SignIn) {
	profile := d.set(&a.Profile)
	if p, ok := d.places[&a.AKID]; ok && profile {
		d.warn(p, "is not used: profile wins", "remove one of them")
	}
	if p, ok := d.places[&a.CredentialSource]; ok && (profile || d.set(&a.AKID)) {
		winner := "ak_id"
		if profile {
			winner = "profile"
		}
		d.warn(p, "is not used: "+winner+" wins", "remove one of them")
	}
}

// accountID judges the id and holds it against the role's.
func (d *decoder) accountID(a *SignIn) {
	p, ok := d.judged(&a.AccountID)
	if !ok {
		return
	}
	id := a.AccountID
	if !d.anAccountID(p, id) {
		return
	}
	last := &a.ARN
	if n := len(a.Roles); n > 0 {
		last = &a.Roles[n-1].ARN
	}
	if _, ok := d.judged(last); !ok {
		return
	}
	if of := record.AccountOfARN(*last); accountIDForm.MatchString(of) && of != id {
		if from := d.places[last].from; from != "" {
			of = "another account, by " + from
		}
		d.report(p, d.show(p, id)+" is not the account of the role, which is in "+of, "account_id is the account that is collected: the last role's")
	}
}

// anAccountID judges an id by itself.
func (d *decoder) anAccountID(p place, id string) bool {
	switch {
	case accountIDForm.MatchString(id):
		return true
	case digits.MatchString(id) && len(id) < 12:
		remedy := "copy it again"
		if p.from == "" {
			remedy = "was a leading zero lost? write it in quotes, as in " + strconv.Quote(strings.Repeat("0", 12-len(id))+id)
		}
		d.report(p, d.show(p, id)+" has "+count(len(id), "digit")+", and an account id has 12", remedy)
	default:
		d.report(p, d.show(p, id)+" is no account id", "want 12 digits, without dashes")
	}
	return false
}

// accountOf is the account that the block is sure to be: the last role's, else the one that account_id asks for. An id from the
// environment is not told, because it would be shown.
func (d *decoder) accountOf(a *SignIn) (string, bool) {
	last, set := any(&a.ARN), a.ARN
	if n := len(a.Roles); n > 0 {
		last, set = &a.Roles[n-1].ARN, a.Roles[n-1].ARN
	}
	if p, ok := d.judged(last); ok && p.from == "" && accountIDForm.MatchString(record.AccountOfARN(set)) {
		return record.AccountOfARN(set), true
	}
	if p, ok := d.judged(&a.AccountID); ok && p.from == "" && accountIDForm.MatchString(a.AccountID) {
		return a.AccountID, true
	}
	return "", false
}

// tags judges extra_tags.
func (d *decoder) tags(extra *map[string]string) {
	if p, ok := d.places[entry{extra, "cloud_provider"}]; ok {
		d.report(p, "cloud_provider is set by the program", "remove it")
	}
}

// maxName is the longest name of an account, in bytes.
const maxName = 128

// accountName judges what stands in every record and metric, and what --account matches.
func (d *decoder) accountName(a *Account) {
	name, at := a.Name, any(&a.Name)
	if !d.set(at) {
		name, at = a.ExtraTags["account_name"], entry{&a.ExtraTags, "account_name"}
	}
	p, ok := d.judged(at)
	if !ok {
		return
	}
	switch {
	case len(name) > maxName:
		d.report(p, "an account's name is "+count(len(name), "byte")+" long", "the most is "+strconv.Itoa(maxName))
	case strings.ContainsFunc(name, unicode.IsControl) || strings.TrimSpace(name) != name:
		d.report(p, "an account's name holds a control character, or white space at an end", "")
	case strings.HasPrefix(name, OrganizationPrefix):
		d.report(p, d.show(p, name)+" reads as the name of a block of organizations", "choose another")
	case strings.HasPrefix(name, "!") || isGlob(name):
		d.report(p, d.show(p, name)+" reads as a pattern", "a name holds no * and no ?, and does not begin with !")
	}
}

// partition judges the key and sts_region.
func (d *decoder) partition(a *SignIn) {
	if p, ok := d.judged(&a.Partition); ok {
		if text, remedy := d.knownPartition(p, a.Partition); text != "" {
			d.report(p, text, remedy)
		}
	}
	p, ok := d.judged(&a.STSRegion)
	if !ok {
		return
	}
	switch text, remedy, unknown := d.regionName(p, a.STSRegion); {
	case unknown:
		d.warn(p, text, "is it newer than this build?")
	case isGlob(a.STSRegion):
		d.report(p, "STS is asked in one region", "want a name such as us-east-1")
	case text != "":
		d.report(p, text, remedy)
	}
}

func (d *decoder) knownPartition(p place, id string) (text, remedy string) {
	ids := partitionIDs()
	if slices.Contains(ids, id) {
		return "", ""
	}
	remedy = "want " + either(ids)
	if p.from != "" {
		return "the value of " + p.from + " names a partition that is none", remedy
	}
	if m := nearest(id, ids); m != "" {
		remedy = "did you mean " + strconv.Quote(m) + "?"
	}
	return d.show(p, id) + " is no partition", remedy
}
