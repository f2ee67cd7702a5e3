package awsfiles

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
)

// cleanEnv removes AWS's variables and sets an empty home directory.
func cleanEnv(t *testing.T) {
	t.Helper()
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, "AWS_") {
			t.Setenv(name, "")
		}
	}
	t.Setenv("HOME", t.TempDir())
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// someSettings has, for each key of a shared file, a valid value that is not the SDK's default.
var someSettings = map[string]string{
	"region":                               "eu-west-1",
	"sdk_ua_app_id":                        "app",
	"ca_bundle":                            "",
	"ec2_metadata_service_endpoint":        "http://127.0.0.1:1",
	"endpoint_url":                         "http://127.0.0.1:2",
	"auth_scheme_preference":               "sigv4a, sigv4",
	"endpoint_discovery_enabled":           "true",
	"s3_use_arn_region":                    "true",
	"s3_disable_multiregion_access_points": "true",
	"s3_disable_express_session_auth":      "true",
	"ec2_metadata_service_endpoint_mode":   "IPv6",
	"ec2_metadata_v1_disabled":             "true",
	"use_dualstack_endpoint":               "true",
	"use_fips_endpoint":                    "TRUE",
	"defaults_mode":                        "in-region",
	"max_attempts":                         "7",
	"retry_mode":                           "adaptive",
	"ignore_configured_endpoint_urls":      "false",
	"disable_request_compression":          "true",
	"disable_clock_skew_correction":        "true",
	"request_min_compression_size_bytes":   "99",
	"account_id_endpoint_mode":             "required",
	"request_checksum_calculation":         "when_required",
	"response_checksum_validation":         "when_required",
	"":                                     "true", // AWS_EC2_METADATA_DISABLED
}

var noKey = map[string]string{
	"AWS_EC2_METADATA_DISABLED":     "true",
	"AWS_RESTRICT_FILE_PERMISSIONS": "unrestricted",
}

func valueOf(t *testing.T, s setting) (good string) {
	v, ok := someSettings[s.key]
	if s.key == "" {
		v, ok = noKey[s.variable]
	}
	if !ok {
		t.Errorf("no value for %+v", s)
	}
	return v
}

// TestSettings: our lenient parser reads each setting as the SDK does. A new setting of a newer SDK fails here.
func TestSettings(t *testing.T) {
	cleanEnv(t)
	var file strings.Builder
	file.WriteString("[default]\n")
	for _, s := range allSettings {
		good := valueOf(t, s)
		if s.variable != "" {
			t.Setenv(s.variable, good)
		}
		if s.key != "" && good != "" {
			file.WriteString(s.key + " = " + good + "\n")
		}
	}
	path := write(t, "config", file.String()+"services = s\n[services s]\nsts =\n  endpoint_url = http://127.0.0.1:3\n")

	want, err := awsconfig.NewEnvConfig()
	if err != nil {
		t.Fatal(err)
	}
	got := want
	for _, s := range allSettings {
		if s.variable != "" {
			reflect.ValueOf(&got).Elem().FieldByName(s.field).SetZero()
		}
	}
	if problems := readVariables(&got, os.Getenv); problems != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("environment %v:\n%+v, want\n%+v", problems, got, want)
	}
	l := &Source{Options: Options{ConfigFiles: []string{path}, CredentialsFiles: []string{}}}
	files := l.Read()
	ours, problems := files.settingsOf(files.profiles["default"])
	theirs, err := awsconfig.LoadSharedConfigProfile(t.Context(), "default", func(o *awsconfig.LoadSharedConfigOptions) {
		o.ConfigFiles, o.CredentialsFiles = []string{path}, []string{}
	})
	theirs.Credentials.Source = ""
	if err != nil || problems != nil || !reflect.DeepEqual(ours, theirs) {
		t.Errorf("file %v, %v:\n%+v, want\n%+v", problems, err, ours, theirs)
	}

	known := []string{
		"Credentials", "ContainerCredentialsEndpoint", "ContainerCredentialsRelativePath",
		"ContainerAuthorizationToken", "SharedConfigProfile", "SharedCredentialsFile", "SharedConfigFile",
		"WebIdentityTokenFilePath", "RoleARN", "RoleSessionName", "Profile", "CredentialSource", "CredentialProcess",
		"WebIdentityTokenFile", "SSOSessionName", "SSOSession", "SSORegion", "SSOStartURL",
		"SSOAccountID", "SSORoleName", "ExternalID", "MFASerial", "RoleDurationSeconds", "SourceProfileName", "Source",
		"Services", "ServicesSectionName", "LoginSession",
	}
	for _, s := range allSettings {
		known = append(known, s.field)
	}
	for _, of := range []reflect.Type{reflect.TypeFor[awsconfig.EnvConfig](), reflect.TypeFor[awsconfig.SharedConfig]()} {
		for i := range of.NumField() {
			if name := of.Field(i).Name; !slices.Contains(known, name) {
				t.Errorf("%s.%s is a setting that allSettings does not have", of, name)
			}
		}
	}
}

// TestSDKConfig: a configuration of valid settings equals the SDK's own.
func TestSDKConfig(t *testing.T) {
	for _, by := range []string{"nothing", "environment", "file"} {
		t.Run(by, func(t *testing.T) {
			cleanEnv(t)
			path := filepath.Join(t.TempDir(), "config")
			text := "[default]\n"
			for _, s := range allSettings {
				good := valueOf(t, s)
				if by == "environment" && s.variable != "" {
					t.Setenv(s.variable, good)
				}
				if by == "file" && s.key != "" && good != "" {
					text += s.key + " = " + good + "\n"
				}
			}
			if by == "environment" {
				t.Setenv("AWS_REGION", "ap-south-1")
				t.Setenv("AWS_SDK_UA_APP_ID", "env")
			}
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			t.Setenv("AWS_CONFIG_FILE", path)
			client := awshttp.NewBuildableClient()
			want, err := awsconfig.LoadDefaultConfig(t.Context(), awsconfig.WithHTTPClient(client),
				awsconfig.WithCredentialsProvider(aws.AnonymousCredentials{}))
			if err != nil {
				t.Fatal(err)
			}
			env, _ := readEnvironment(os.Getenv)
			files := (&Source{Env: env}).Read()
			settings, _ := files.settingsOf(files.profiles["default"])
			got := Config(env, settings, client)
			for i := range reflect.TypeFor[aws.Config]().NumField() {
				f := reflect.TypeFor[aws.Config]().Field(i)
				if slices.Contains([]string{"Credentials", "ConfigSources", "Logger", "HTTPClient",
					"BearerAuthTokenProvider", "Interceptors"}, f.Name) || !f.IsExported() {
					continue
				}
				if g, w := reflect.ValueOf(got).Field(i).Interface(),
					reflect.ValueOf(want).Field(i).Interface(); !reflect.DeepEqual(g, w) {
					t.Errorf("%s is %v, want %v", f.Name, g, w)
				}
			}
		})
	}
}
