package importers

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// guanceKeys are the keys of an account in Guance's scripts and in boto3 scripts, with ours.
var guanceKeys = map[string]string{
	"ak_id": "ak_id", "access_key": "ak_id", "aws_access_key_id": "ak_id",
	"ak_secret": "ak_secret", "secret_key": "ak_secret", "aws_secret_access_key": "ak_secret",
	"session_token": "session_token", "aws_session_token": "session_token",
	"profile": "profile", "profile_name": "profile",
	"assume_role_arn": "assume_role_arn", "role_arn": "assume_role_arn",
	"role_session_name": "role_session_name", "external_id": "external_id",
	"account_id": "account_id", "role": "role", "name": "name",
	"serial_number": "serial_number", "token_code": "token_code",
}

// isAccount reports whether a dictionary is an account.
func isAccount(d pyDict) bool {
	for _, key := range []string{"ak_id", "access_key", "aws_access_key_id", "extra_tags", "assume_role_arn", "profile"} {
		if _, ok := d.get(key); ok {
			return true
		}
	}
	return false
}

var (
	// The collector of a service: import guance_aws_ec2__main as main.
	guanceImport = regexp.MustCompile(`(?m)^\s*import\s+guance_aws_(\w+?)__main(?:\s+as\s+(\w+))?`)
	// main.DataCollector(account, collector_configs
	guanceCall    = regexp.MustCompile(`(\w+)\.DataCollector\(\s*(\w+)\s*(?:,\s*(\w+))?([^\n]*)`)
	guanceCrontab = regexp.MustCompile(`fixed_crontab\s*=\s*['"]([^'"]+)['"]`)
	guanceKinds   = map[string]string{
		"ec2": "ec2_instance", "ebs": "ec2_volume", "eip": "ec2_address", "vpc": "ec2_vpc", "ami": "ec2_image",
		"natgateway": "ec2_nat_gateway", "nat_gateway": "ec2_nat_gateway", "sg": "ec2_security_group",
	}
)

const maxScript = 128 << 10

// readGuance makes a block of each account in a script. The script is read and not run.
func readGuance(b *builder, text []byte) error {
	if len(text) > maxScript {
		return fmt.Errorf("is longer than %d KiB, which no such script is", maxScript>>10)
	}
	source := string(text)
	variables := pyVariables(source)
	modules := map[string]string{}
	for _, m := range guanceImport.FindAllStringSubmatch(source, -1) {
		modules[m[1]] = m[1]
		if m[2] != "" {
			modules[m[2]] = m[1]
		}
	}
	if m := guanceCrontab.FindStringSubmatch(source); m != nil {
		b.out.Schedule = m[1]
	}
	calls := guanceCall.FindAllStringSubmatchIndex(source, -1)
	for _, m := range calls {
		part := func(i int) string {
			if m[2*i] < 0 {
				return ""
			}
			return source[m[2*i]:m[2*i+1]]
		}
		line := lineOf(source, m[0])
		kinds, ok := b.guanceService(line, modules[part(1)])
		if !ok {
			continue
		}
		if strings.Contains(part(4), "filters") {
			b.note(line, "filters", "every resource is collected; select with `collector list --where CONDITION`")
		}
		b.guanceAccounts(variables[part(2)], kinds, b.guanceRegions(variables[part(3)]))
	}
	if len(calls) == 0 { // another script
		regions := b.guanceRegions(variables["collector_configs"])
		for _, name := range slices.Sorted(maps.Keys(variables)) {
			b.guanceAccounts(variables[name], nil, regions)
		}
	}
	return nil
}

// guanceService returns the kinds of one of Guance's collectors.
func (b *builder) guanceService(line int, service string) (kinds []string, ok bool) {
	if service == "" {
		return nil, true
	}
	if kind, ok := guanceKinds[service]; ok {
		return []string{kind}, true
	}
	if kind, ok := b.kindPattern("ec2_" + service); ok {
		return []string{kind}, true
	}
	if strings.Contains(service, "cloudwatch") || strings.Contains(service, "monitor") {
		b.note(line, "guance_aws_"+service, "collector inventories resources and reads no CloudWatch metrics")
	} else {
		b.note(line, "guance_aws_"+service, onlyEC2)
	}
	return nil, false
}

// guanceRegions are the regions of collector_configs.
func (b *builder) guanceRegions(v pyValue) (regions []string) {
	d, ok := v.value.(pyDict)
	if !ok {
		return nil
	}
	for _, m := range d {
		if m.key != "regions" {
			b.note(m.line, "collector_configs."+m.key, "there is no such setting here")
			continue
		}
		regions = m.value.texts()
	}
	return regions
}

// guanceAccounts adds a dictionary, or those of a list.
func (b *builder) guanceAccounts(v pyValue, kinds, regions []string) {
	switch value := v.value.(type) {
	case []pyValue:
		for _, item := range value {
			b.guanceAccounts(item, kinds, regions)
		}
	case pyDict:
		if isAccount(value) {
			b.guanceAccount(value, kinds, regions)
		}
	}
}

func (b *builder) guanceAccount(d pyDict, kinds, regions []string) {
	a := block{Collect: newCollect(regions, kinds)}
	if tags, ok := d.get("extra_tags"); ok {
		if members, ok := tags.value.(pyDict); ok {
			a.ExtraTags = map[string]string{}
			for _, m := range members {
				a.ExtraTags[m.key] = m.value.text()
			}
		}
	}
	name, isComplete := a.ExtraTags["account_name"], true
	fields := map[string]*string{
		"ak_id": &a.AKID, "profile": &a.Profile, "assume_role_arn": &a.RoleARN, "role_session_name": &a.SessionName,
		"external_id": &a.ExternalID, "account_id": &a.AccountID, "role": &a.Role, "name": &a.Name,
		"serial_number": &a.SerialNumber,
	}
	secrets := map[string]*string{"ak_secret": &a.AKSecret, "session_token": &a.SessionToken, "token_code": &a.TokenCode}
	for _, m := range d {
		own := guanceKeys[m.key]
		switch {
		case m.key == "extra_tags":
		case m.key == "is_global":
			if m.value.value == false {
				a.Partition = "aws-cn"
			}
		case secrets[own] != nil:
			switch value := m.value.text(); {
			case m.value.isExpression():
				*secrets[own] = b.secret(m.line, name, own, fmt.Sprintf("the expression in line %d", m.line))
			case value != "":
				*secrets[own] = b.secret(m.line, name, own, value)
			}
		case fields[own] != nil:
			*fields[own] = m.value.text()
			if m.value.isExpression() {
				b.note(m.line, m.key,
					"it is an expression, and the script is not run; the block is left out if it signs in with it")
				isComplete = isComplete && own == "name"
			}
		default:
			b.note(m.line, "account."+m.key, "there is no such setting here")
		}
	}
	if a.TokenCode != "" {
		b.advise(0, "token_code", "a code works once; set totp_seed or token_command so that sessions renew themselves")
	}
	if isComplete {
		b.add(a)
	}
}

// lineOf is the line of an offset.
func lineOf(source string, offset int) int { return 1 + strings.Count(source[:offset], "\n") }
