package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// ec2Answer returns the status and body for an action in a region; status 0 means the default answer.
type ec2Answer func(action, region, token string) (status int, body string)

func ec2Error(code, text string) (int, string) {
	return http.StatusUnauthorized, fmt.Sprintf(
		"<Response><Errors><Error><Code>%s</Code><Message>%s</Message></Error></Errors><RequestID>r</RequestID></Response>",
		code, text,
	)
}

func ec2Body(action, body string) (int, string) {
	return http.StatusOK, fmt.Sprintf(
		`<%[1]sResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">%[2]s</%[1]sResponse>`, action, body,
	)
}

func ec2Instances(token string, ids ...string) (int, string) {
	b := "<reservationSet>"
	for _, id := range ids {
		b += "<item><reservationId>r</reservationId><instancesSet>" +
			"<item><instanceId>" + id + "</instanceId></item></instancesSet></item>"
	}
	b += "</reservationSet>"
	if token != "" {
		b += "<nextToken>" + token + "</nextToken>"
	}
	return ec2Body("DescribeInstances", b)
}

var signedFor = regexp.MustCompile(`/\d{8}/([^/]+)/`)

// runWithEC2 serves EC2 and STS for one account. The rule may answer; otherwise there are two regions without
// resources.
func runWithEC2(t *testing.T, rule ec2Answer) []string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		action, region := r.FormValue("Action"), ""
		if m := signedFor.FindStringSubmatch(r.Header.Get("Authorization")); m != nil {
			region = m[1]
		}
		status, body := rule(action, region, r.FormValue("NextToken"))
		if status == 0 {
			switch action {
			case "GetCallerIdentity":
				status = http.StatusOK
				body = `<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">` +
					`<GetCallerIdentityResult><Arn>arn:aws:iam::111111111111:user/u</Arn><UserId>A</UserId>` +
					`<Account>111111111111</Account></GetCallerIdentityResult></GetCallerIdentityResponse>`
			case "DescribeRegions":
				status, body = ec2Body(
					action,
					"<regionInfo><item><regionName>us-east-1</regionName><optInStatus>opt-in-not-required</optInStatus></item>"+
						"<item><regionName>eu-west-1</regionName><optInStatus>opt-in-not-required</optInStatus></item>"+
						"<item><regionName>me-south-1</regionName><optInStatus>not-opted-in</optInStatus></item></regionInfo>",
				)
			default:
				status, body = ec2Body(action, "")
			}
		}
		w.Header().Set("Content-Type", "text/xml")
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}))
	t.Cleanup(s.Close)
	return []string{"AWS_ENDPOINT_URL=" + s.URL, "AWS_EC2_METADATA_DISABLED=true"}
}

const oneAccountConfig = "accounts: [{name: prod, ak_id: AKIAIOSFODNN7EXAMPLE, " +
	"ak_secret: wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY}]\n"

// A page with a duplicate, followed by a record without a name, is stored completely.
func TestDuplicateBeforeUnnamedRecord(t *testing.T) {
	t.Parallel()
	env := runWithEC2(t, func(action, region, token string) (int, string) {
		switch {
		case action != "DescribeInstances" || region != "us-east-1":
			return 0, ""
		case token != "":
			return ec2Instances("", "i-2", "i-3")
		}
		return ec2Instances("n", "i-1", "i-2")
	})
	dir := t.TempDir()
	config := filepath.Join(dir, "config.yaml")
	write(
		t,
		config,
		fmt.Sprintf(
			"data_dir: %s/data\ncollector_configs: {regions: [us-east-1], kinds: [ec2_instance]}\noutputs: [{type: stdout}]\n%s",
			dir, oneAccountConfig,
		),
	)
	stdout, stderr, code := runProcess(t, env, "run", "--once", "--config", config)
	if code != exitDone || strings.Contains(stderr, "panic") || strings.Count(stdout, `"kind":"ec2_instance"`) != 3 {
		t.Fatalf("exit %d\n%s\n%s", code, stdout, stderr)
	}
	stdout, stderr, code = runProcess(t, env, "list", "ec2_instance", "-o", "csv", "--config", config)
	if code != exitDone || strings.Count(stdout, "i-") != 3 {
		t.Errorf("stored: exit %d\n%s%s", code, stdout, stderr)
	}
}

// A state that is harmless for one region is a failure if every region has it. run and check print it with its hint.
func TestNoUsableRegion(t *testing.T) {
	t.Parallel()
	everywhere := func(code string) ec2Answer {
		return func(action, _, _ string) (int, string) {
			if action == "GetCallerIdentity" {
				return 0, ""
			}
			return ec2Error(code, "You are not subscribed to this service.")
		}
	}
	listings := func(code, regions string) ec2Answer {
		return func(action, region, _ string) (int, string) {
			if action == "GetCallerIdentity" || action == "DescribeRegions" || !strings.Contains(regions, region) {
				return 0, ""
			}
			return ec2Error(code, "You are not subscribed to this service.")
		}
	}
	const both, three = "us-east-1, eu-west-1", "us-east-1, eu-west-1, me-south-1"
	for _, c := range []struct {
		name, regions string
		args          []string
		rule          ec2Answer
		run, check    int
		says          string // expected in the output of both; "": no failure is printed
	}{
		{"not subscribed", both, nil, everywhere("OptInRequired"), exitFailed, exitFailed, "sign-up"},
		{"not subscribed, regions by a glob", `"*"`, nil, everywhere("OptInRequired"), exitFailed, exitFailed, "sign-up"},
		{
			"not verified", both, nil, everywhere("PendingVerification"), exitFailed, exitFailed,
			"hint: Wait until AWS has verified",
		},
		{"blocked", both, nil, everywhere("Blocked"), exitFailed, exitFailed, "unblocks an account"},
		{"no such API", both, nil, everywhere("UnsupportedOperation"), exitFailed, exitFailed, "endpoint"},
		{"every listing is refused", both, nil, listings("OptInRequired", both), exitFailed, exitFailed, "region_disabled"},
		{
			"blocked in one region", both, nil, listings("Blocked", "eu-west-1"), exitPartial, exitPartial,
			"unblocks an account",
		},
		{"one region among others", both, nil, listings("OptInRequired", "eu-west-1"), exitDone, exitDone, ""},
		{"one region that is named is not enabled", three, nil, listings("", "nowhere"), exitDone, exitDone, ""},
		{
			"none that is named is enabled", "me-south-1, af-south-1", nil, listings("", "nowhere"), exitFailed, exitFailed,
			"Enable the region for the account",
		},
		{
			"narrowed to one that is not enabled", three, []string{"--region", "me-south-1"}, listings("", "nowhere"),
			exitFailed, exitFailed, "Enable the region for the account",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			env := runWithEC2(t, c.rule)
			dir := t.TempDir()
			config := filepath.Join(dir, "config.yaml")
			write(
				t,
				config,
				fmt.Sprintf(
					"data_dir: %s/data\ncollector_configs: {regions: [%s], kinds: [ec2_instance, ec2_volume]}\n%s", dir,
					c.regions, oneAccountConfig,
				),
			)
			for _, command := range []struct {
				args []string
				code int
			}{
				{append([]string{"run", "--once", "--config", config}, c.args...), c.run},
				{append([]string{"check", "--config", config}, c.args...), c.check},
			} {
				stdout, stderr, code := runProcess(t, env, command.args...)
				failed := strings.Contains(stdout+stderr, "hint: ")
				if all := stdout + stderr; code != command.code || failed != (c.says != "") || !strings.Contains(all, c.says) {
					t.Errorf("%s: exit %d, want %d, and %q\n%s", command.args[0], code, command.code, c.says, all)
				}
			}
		})
	}
}
