package importers

import (
	"errors"
	"slices"
	"strings"
)

// readAWSConfig makes a block of each profile. A profile signs in as the AWS CLI does with it, so no key or role is
// copied. https://docs.aws.amazon.com/cli/latest/userguide/cli-configure-files.html
func readAWSConfig(b *builder, text []byte) error {
	sections := iniSections(string(text))
	if len(sections) == 0 {
		return errors.New("has no section such as [profile NAME] or [NAME]")
	}
	sources := map[string]bool{} // profiles that another one takes its credentials from
	for _, s := range sections {
		if v, ok := s.values["source_profile"]; ok && v.text != s.profile {
			sources[v.text] = true
		}
	}
	for _, s := range sections {
		if s.profile == "" {
			continue
		}
		b.add(block{Name: s.profile, signIn: signIn{Profile: s.profile}})
		if sources[s.profile] {
			b.advise(s.line, "profile "+s.profile, "other profiles sign in with it; remove its block if its own account has "+
				"nothing to inventory")
		}
		if v, ok := s.values["mfa_serial"]; ok {
			b.advise(v.line, "mfa_serial of profile "+s.profile, `the device's codes need a source: set totp_seed or `+
				`token_command in its block, or run "collector login"`)
		}
		if v, ok := s.values["sso_session"]; ok {
			b.advise(v.line, "sso_session of profile "+s.profile, "run aws sso login --profile "+s.profile+
				" as the user that collector runs as")
		}
		if v, ok := s.values["region"]; ok {
			b.note(v.line, "region of profile "+s.profile, "collector lists every region that is enabled; set "+
				"collector_configs.regions for fewer")
		}
	}
	b.advise(0, "the profiles themselves", "collector reads them where it runs: copy the shared files to its user there, "+
		"or name them with AWS_CONFIG_FILE and AWS_SHARED_CREDENTIALS_FILE")
	return nil
}

// An iniSection is a section of a shared AWS file.
type iniSection struct {
	profile string // "" for another section, such as [sso-session NAME]
	line    int
	values  map[string]iniValue
}

type iniValue struct {
	text string
	line int
}

// iniSections reads sections leniently: what is not understood is left to the sign-in, which says what is wrong.
func iniSections(text string) (all []iniSection) {
	for i, line := range strings.Split(text, "\n") {
		trimmed := strings.TrimSpace(line)
		switch {
		case trimmed == "" || trimmed[0] == '#' || trimmed[0] == ';':
		case trimmed[0] == '[':
			header, _, _ := strings.Cut(trimmed[1:], "]")
			s := iniSection{line: i + 1, values: map[string]iniValue{}, profile: profileName(header)}
			same := slices.IndexFunc(all, func(o iniSection) bool { return s.profile != "" && o.profile == s.profile })
			if same >= 0 { // both files have it, one after the other
				s.values = all[same].values
				s.profile = ""
			}
			all = append(all, s)
		case len(all) == 0 || line[0] == ' ' || line[0] == '\t': // a nested setting
		default:
			key, value, _ := strings.Cut(trimmed, "=")
			all[len(all)-1].values[strings.ToLower(strings.TrimSpace(key))] = iniValue{strings.TrimSpace(value), i + 1}
		}
	}
	return all
}

// profileName is the profile of a section's header: [profile NAME] in a config file, [NAME] in a credentials file.
func profileName(header string) string {
	words := strings.Fields(header)
	switch {
	case len(words) == 1:
		return strings.Trim(words[0], `"'`)
	case len(words) > 1 && words[0] == "profile":
		return strings.Trim(strings.TrimSpace(strings.TrimSpace(header)[len("profile"):]), `"'`)
	}
	return ""
}
