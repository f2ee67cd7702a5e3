package awsfiles

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"reflect"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"

	"github.com/aws-collector/collector/auth/internal/fault"
	"github.com/aws-collector/collector/internal/userfile"
)

// A setting is an environment variable and a key of the shared files. The SDK stores both in fields of the same name,
// of its EnvConfig and its SharedConfig. If one setting is invalid, the SDK reads none at all.
type setting struct {
	field, variable, key string
}

// https://docs.aws.amazon.com/sdkref/latest/guide/settings-reference.html
var allSettings = []setting{
	{"Region", "", "region"}, // the SDK reads the variable before it can fail
	{"AppID", "", "sdk_ua_app_id"},
	{"CustomCABundle", "", "ca_bundle"},
	{"EnableEndpointDiscovery", "AWS_ENABLE_ENDPOINT_DISCOVERY", "endpoint_discovery_enabled"},
	{"S3UseARNRegion", "AWS_S3_USE_ARN_REGION", "s3_use_arn_region"},
	{"S3DisableMultiRegionAccessPoints", "AWS_S3_DISABLE_MULTIREGION_ACCESS_POINTS",
		"s3_disable_multiregion_access_points"},
	{"S3DisableExpressAuth", "AWS_S3_DISABLE_EXPRESS_SESSION_AUTH", "s3_disable_express_session_auth"},
	{"EC2IMDSEndpointMode", "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "ec2_metadata_service_endpoint_mode"},
	{"EC2IMDSEndpoint", "AWS_EC2_METADATA_SERVICE_ENDPOINT", "ec2_metadata_service_endpoint"},
	{"EC2IMDSv1Disabled", "AWS_EC2_METADATA_V1_DISABLED", "ec2_metadata_v1_disabled"},
	{"EC2IMDSClientEnableState", "AWS_EC2_METADATA_DISABLED", ""},
	{"UseDualStackEndpoint", "AWS_USE_DUALSTACK_ENDPOINT", "use_dualstack_endpoint"},
	{"UseFIPSEndpoint", "AWS_USE_FIPS_ENDPOINT", "use_fips_endpoint"},
	{"DefaultsMode", "AWS_DEFAULTS_MODE", "defaults_mode"},
	{"RetryMaxAttempts", "AWS_MAX_ATTEMPTS", "max_attempts"},
	{"RetryMode", "AWS_RETRY_MODE", "retry_mode"},
	{"IgnoreConfiguredEndpoints", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "ignore_configured_endpoint_urls"},
	{"BaseEndpoint", "AWS_ENDPOINT_URL", "endpoint_url"},
	{"DisableRequestCompression", "AWS_DISABLE_REQUEST_COMPRESSION", "disable_request_compression"},
	{"DisableClockSkewCorrection", "AWS_DISABLE_CLOCK_SKEW_CORRECTION", "disable_clock_skew_correction"},
	{"RequestMinCompressSizeBytes", "AWS_REQUEST_MIN_COMPRESSION_SIZE_BYTES", "request_min_compression_size_bytes"},
	{"AccountIDEndpointMode", "AWS_ACCOUNT_ID_ENDPOINT_MODE", "account_id_endpoint_mode"},
	{"RequestChecksumCalculation", "AWS_REQUEST_CHECKSUM_CALCULATION", "request_checksum_calculation"},
	{"ResponseChecksumValidation", "AWS_RESPONSE_CHECKSUM_VALIDATION", "response_checksum_validation"},
	{"AuthSchemePreference", "AWS_AUTH_SCHEME_PREFERENCE", "auth_scheme_preference"},
	{"RestrictFilePermissions", "AWS_RESTRICT_FILE_PERMISSIONS", ""},
}

// parse sets *target, which points to the setting's field. If text is invalid, it returns what the setting may be, and
// does not change the field.
func (setting) parse(target any, text string) (want string) {
	switch t := target.(type) {
	case *string:
		*t = text
	case *[]string:
		for id := range strings.SplitSeq(text, ",") {
			if id = strings.TrimSpace(id); id != "" {
				*t = append(*t, id)
			}
		}
	case *int:
		n, err := strconv.ParseInt(text, 0, 64)
		if err != nil {
			return "a whole number"
		}
		*t = int(n)
	case **int64:
		n, err := strconv.ParseInt(text, 0, 64)
		if err != nil || n < 0 || n > 10<<20 {
			return "a whole number up to 10485760"
		}
		*t = &n
	case **bool:
		b, ok := parseBool(text)
		if !ok {
			return "true or false"
		}
		*t = &b
	case *aws.RetryMode:
		if strings.EqualFold(text, "legacy") { // boto3's default; standard is the nearest mode
			text = string(aws.RetryModeStandard)
		}
		m, err := aws.ParseRetryMode(text)
		if err != nil {
			return "standard or adaptive"
		}
		*t = m
	case *aws.DefaultsMode:
		m := *t
		if !m.SetFromString(text) {
			return "standard, in-region, cross-region, mobile, auto or legacy"
		}
		*t = m
	case *imds.EndpointModeState:
		m := *t
		if m.SetFromString(text) != nil {
			return "IPv4 or IPv6"
		}
		*t = m
	default:
		return setEnum(target, text)
	}
	return ""
}

func parseBool(text string) (b, ok bool) {
	return strings.EqualFold(text, "true"), strings.EqualFold(text, "true") || strings.EqualFold(text, "false")
}

// setEnum is parse for the SDK's enumerations.
func setEnum(target any, text string) (want string) {
	switch t := target.(type) {
	case *aws.FIPSEndpointState:
		return setFromWords(t, text, []string{"true", "false"},
			aws.FIPSEndpointStateEnabled, aws.FIPSEndpointStateDisabled)
	case *aws.DualStackEndpointState:
		return setFromWords(t, text, []string{"true", "false"},
			aws.DualStackEndpointStateEnabled, aws.DualStackEndpointStateDisabled)
	case *imds.ClientEnableState: // AWS_EC2_METADATA_DISABLED
		return setFromWords(t, text, []string{"true", "false"}, imds.ClientDisabled, imds.ClientEnabled)
	case *aws.EndpointDiscoveryEnableState:
		return setFromWords(t, text, []string{"true", "false", "auto"},
			aws.EndpointDiscoveryEnabled, aws.EndpointDiscoveryDisabled, aws.EndpointDiscoveryAuto)
	case *aws.AccountIDEndpointMode:
		return setFromWords(t, text, []string{"preferred", "required", "disabled"},
			aws.AccountIDEndpointModePreferred, aws.AccountIDEndpointModeRequired, aws.AccountIDEndpointModeDisabled)
	case *aws.RequestChecksumCalculation:
		return setFromWords(t, text, []string{"when_supported", "when_required"},
			aws.RequestChecksumCalculationWhenSupported, aws.RequestChecksumCalculationWhenRequired)
	case *aws.ResponseChecksumValidation:
		return setFromWords(t, text, []string{"when_supported", "when_required"},
			aws.ResponseChecksumValidationWhenSupported, aws.ResponseChecksumValidationWhenRequired)
	case *aws.RestrictFilePermissions:
		return setFromWords(t, text, []string{"user_read_write", "unrestricted"},
			aws.RestrictFilePermissionsUserReadWrite, aws.RestrictFilePermissionsUnrestricted)
	}
	return "" // not reached: a test checks the types of all settings
}

func setFromWords[T any](target *T, text string, words []string, values ...T) (want string) {
	for i, word := range words {
		if strings.EqualFold(text, word) {
			*target = values[i]
			return ""
		}
	}
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

// fieldPointer returns a pointer to the named field of *of; nil: there is none.
func fieldPointer(of any, name string) any {
	f := reflect.ValueOf(of).Elem().FieldByName(name)
	if !f.IsValid() {
		return nil
	}
	return f.Addr().Interface()
}

// readEnvironment returns the SDK's settings from the environment, without the invalid ones.
func readEnvironment(getenv func(string) string) (awsconfig.EnvConfig, []Problem) {
	env, err := awsconfig.NewEnvConfig()
	if err == nil {
		return env, nil
	}
	var problems []Problem
	if getenv != nil {
		problems = readVariables(&env, getenv)
	}
	if problems == nil { // a newer SDK may refuse a variable that is not in allSettings
		problems = append(problems, Problem{Where: "environment",
			Text: "a variable of the AWS SDK has no valid value", failsSignIn: true})
	}
	return env, problems
}

// readVariables sets the fields that the SDK may not have reached.
func readVariables(env *awsconfig.EnvConfig, getenv func(string) string) (problems []Problem) {
	for _, s := range allSettings {
		if s.variable == "" {
			continue
		}
		to := fieldPointer(env, s.field)
		reflect.ValueOf(to).Elem().SetZero()
		text := getenv(s.variable)
		if text == "" {
			continue
		}
		if want := s.parse(to, text); want != "" && s.field != "EC2IMDSClientEnableState" { // any text but "true" means false
			problems = append(problems, Problem{Where: s.variable, Text: "must be " + want, failsSignIn: true})
		}
	}
	return problems
}

// Settings returns the SDK's settings of a profile that are valid.
func (s *Files) Settings(profile string) awsconfig.SharedConfig {
	c, _ := s.settingsOf(s.profiles[profile])
	return c
}

// settingsOf returns the SDK's settings from a profile, without the invalid ones, and without its credentials.
func (s *Files) settingsOf(p *Section) (awsconfig.SharedConfig, []Problem) {
	var c awsconfig.SharedConfig
	if p == nil {
		return c, nil
	}
	c.Profile, c.ServicesSectionName = p.name, p.Get("services")
	var problems []Problem
	for _, set := range allSettings {
		to := fieldPointer(&c, set.field)
		v, ok := p.lookup(set.key)
		if !ok || to == nil {
			continue
		}
		if want := set.parse(to, v.text); want != "" {
			problems = append(problems, Problem{Where: v.String(), Text: set.key + ": must be " + want,
				profile: p.name, failsSignIn: !isLenient(to, set.key)})
		}
	}
	if services := s.services[c.ServicesSectionName]; services != nil {
		c.Services.ServiceValues = map[string]map[string]string{}
		for name, v := range services.config {
			c.Services.ServiceValues[name] = v.nested
		}
	}
	return c, problems
}

// isLenient reports whether the SDK takes an invalid value in a file for false, so that it is no reason to fail.
func isLenient(target any, key string) bool {
	switch target.(type) {
	case **bool, *aws.FIPSEndpointState, *aws.DualStackEndpointState, *aws.EndpointDiscoveryEnableState:
		return !strings.HasPrefix(key, "disable_")
	}
	return false
}

// SettingProblems returns the invalid settings of a profile. A sign-in with the profile fails: otherwise a setting that
// its owner wants would have no effect.
func (s *Files) SettingProblems(profile string) []Problem {
	p := s.profiles[profile]
	if p == nil {
		return nil
	}
	c, problems := s.settingsOf(p)
	if c.CustomCABundle != "" {
		if _, err := ReadCABundle(c.CustomCABundle); err != nil {
			problems = append(problems, Problem{
				Where:       p.positionOfFirst("ca_bundle").String(),
				Text:        "ca_bundle: " + err.Error(),
				profile:     p.name,
				failsSignIn: true,
			})
		}
	}
	return append(problems, s.endpointProblems(p, c)...)
}

// endpointProblems returns the endpoints of a profile that have no effect: all accounts use the connections and the
// endpoints of the process, which are those of the environment and of AWS_PROFILE.
func (s *Files) endpointProblems(p *Section, own awsconfig.SharedConfig) (problems []Problem) {
	of := cmp.Or(s.source.Env.SharedConfigProfile, "default")
	ignored := cmp.Or(s.source.Env.IgnoreConfiguredEndpoints, own.IgnoreConfiguredEndpoints)
	if p.name == of || s.source.Isolated || aws.ToBool(ignored) || s.source.Env.BaseEndpoint != "" {
		return nil
	}
	process, _ := s.settingsOf(s.profiles[of])
	refuse := func(at position, name string) {
		problems = append(problems, Problem{
			Where: at.String(), profile: p.name, failsSignIn: true,
			Text: name + ": the program has one endpoint for all accounts, and profile " + p.name + " has another",
			Hint: "Set AWS_ENDPOINT_URL or AWS_PROFILE for the program, or remove the line.",
		})
	}
	if own.BaseEndpoint != process.BaseEndpoint && own.BaseEndpoint != "" {
		refuse(p.positionOfFirst("endpoint_url"), "endpoint_url")
	}
	for _, service := range []string{"sts", "ec2"} { // that each account calls
		mine := own.Services.ServiceValues[service]["endpoint_url"]
		if mine != "" && mine != process.Services.ServiceValues[service]["endpoint_url"] &&
			s.source.getenv("AWS_ENDPOINT_URL_"+strings.ToUpper(service)) == "" {
			refuse(p.positionOfFirst("services"), "services: endpoint_url of "+service)
		}
	}
	return problems
}

// Config makes the configuration of valid settings, as the SDK would.
func Config(env awsconfig.EnvConfig, file awsconfig.SharedConfig, client *awshttp.BuildableClient) aws.Config {
	cfg := aws.Config{
		HTTPClient:       client,
		Region:           cmp.Or(env.Region, file.Region),
		AppID:            cmp.Or(env.AppID, file.AppID),
		RetryMaxAttempts: cmp.Or(env.RetryMaxAttempts, file.RetryMaxAttempts),
		RetryMode:        cmp.Or(env.RetryMode, file.RetryMode),
		DefaultsMode:     cmp.Or(env.DefaultsMode, file.DefaultsMode, aws.DefaultsModeLegacy),
		AccountIDEndpointMode: cmp.Or(env.AccountIDEndpointMode, file.AccountIDEndpointMode,
			aws.AccountIDEndpointModePreferred),
		RequestChecksumCalculation: cmp.Or(env.RequestChecksumCalculation, file.RequestChecksumCalculation,
			aws.RequestChecksumCalculationWhenSupported),
		ResponseChecksumValidation: cmp.Or(env.ResponseChecksumValidation, file.ResponseChecksumValidation,
			aws.ResponseChecksumValidationWhenSupported),
		DisableRequestCompression: aws.ToBool(
			cmp.Or(env.DisableRequestCompression, file.DisableRequestCompression)),
		DisableClockSkewCorrection: aws.ToBool(
			cmp.Or(env.DisableClockSkewCorrection, file.DisableClockSkewCorrection)),
		RequestMinCompressSizeBytes: 10240,
		RestrictFilePermissions:     cmp.Or(env.RestrictFilePermissions, aws.RestrictFilePermissionsUserReadWrite),
		AuthSchemePreference:        env.AuthSchemePreference,
		ConfigSources:               []any{env, file},
	}
	if n := cmp.Or(env.RequestMinCompressSizeBytes, file.RequestMinCompressSizeBytes); n != nil {
		cfg.RequestMinCompressSizeBytes = *n
	}
	if len(cfg.AuthSchemePreference) == 0 {
		cfg.AuthSchemePreference = file.AuthSchemePreference
	}
	ignored := aws.ToBool(cmp.Or(env.IgnoreConfiguredEndpoints, file.IgnoreConfiguredEndpoints))
	if base := cmp.Or(env.BaseEndpoint, file.BaseEndpoint); base != "" && !ignored {
		cfg.BaseEndpoint = &base
	}
	return cfg
}

// maxCABundle is larger than the bundle of any system.
const maxCABundle = 8 << 20

// ReadCABundle reads a file of certificates. Its error names the file.
func ReadCABundle(file string) ([]byte, error) {
	b, err := userfile.Read(context.Background(), file, maxCABundle)
	if err != nil {
		return nil, errors.New(file + ": " + fault.FileCause(err))
	}
	if !x509.NewCertPool().AppendCertsFromPEM(b) {
		return nil, errors.New(file + ": no PEM certificate in it")
	}
	return b, nil
}

// WithCABundle trusts only the certificates of a bundle, as the SDK does.
func WithCABundle(c *awshttp.BuildableClient, pem []byte) *awshttp.BuildableClient {
	return c.WithTransportOptions(func(tr *http.Transport) {
		if tr.TLSClientConfig == nil {
			tr.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
		}
		tr.TLSClientConfig.RootCAs = x509.NewCertPool()
		tr.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem)
	})
}
