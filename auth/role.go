package auth

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/aws-sdk-go-v2/service/sts/types"

	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/record"
)

// Defaults of a role session. AWS's own default of 15 minutes is as long as a typical schedule's period.
const (
	defaultRoleSession = time.Hour
	maxChainedSession  = time.Hour // AWS's limit with temporary credentials: role chaining, MFA
	roleSessionName    = "collector"
)

// roleStep is one hop: AssumeRole with the credentials of the previous step.
// https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html
type roleStep struct {
	sts         stsClient
	region      string
	arn         string
	sessionName string // shown in CloudTrail
	duration    time.Duration
	options     *roleOptions // nil: none are set
	previous    Step

	issuedSession
}

// roleOptions are the settings that few roles have.
type roleOptions struct {
	externalID     string
	sourceIdentity string
	tags           []types.Tag
	policy         string
}

func newRole(client stsClient, region string, r config.Role, previous Step) *roleStep {
	s := &roleStep{
		sts:         client,
		region:      region,
		arn:         r.ARN,
		sessionName: r.SessionName,
		duration:    time.Duration(r.Duration),
		previous:    previous,
	}
	if r.ExternalID != "" || r.SourceIdentity != "" || r.SessionPolicy != "" || len(r.SessionTags) > 0 {
		s.options = &roleOptions{externalID: r.ExternalID, sourceIdentity: r.SourceIdentity, policy: r.SessionPolicy}
		for _, k := range slices.Sorted(maps.Keys(r.SessionTags)) {
			s.options.tags = append(s.options.tags, types.Tag{Key: aws.String(k), Value: aws.String(r.SessionTags[k])})
		}
	}
	if s.sessionName == "" {
		s.sessionName = roleSessionName
	}
	if s.duration == 0 {
		s.duration = defaultRoleSession
	}
	return s
}

func (s *roleStep) Name() string { return "role " + s.arn }

func (s *roleStep) Key() string {
	key := fmt.Sprintf("role %q %q %s %s", s.arn, s.sessionName, s.duration, s.region)
	if m := s.options; m != nil {
		key += fmt.Sprintf(" %q %q %q", m.externalID, m.sourceIdentity, m.policy)
		for _, t := range m.tags {
			key += fmt.Sprintf(" %q=%q", *t.Key, *t.Value)
		}
	}
	return key
}

func (*roleStep) revocable() {}

func (s *roleStep) Retrieve(ctx context.Context, prev Provider) (aws.Credentials, error) {
	var out aws.Credentials
	assume := func(c aws.Credentials) (err error) {
		out, err = s.sts.assumeRole(ctx, s.region, c, s.input(c), &s.issuedSession)
		return err
	}
	c, err := callWithRenewal(ctx, prev, assume)
	if record.ReasonOf(err) == record.AccessDenied {
		if other, ok := prev.Renew(ctx, c); ok {
			c, err = other, assume(other)
		}
	}
	if err != nil {
		return aws.Credentials{}, explain(err, errorContext{
			operation:  "assume role " + s.arn,
			signer:     s.previous.Name(),
			role:       s.arn,
			region:     s.region,
			chained:    c.SessionToken != "",
			externalID: s.options != nil && s.options.externalID != "",
			creds:      c,
		})
	}
	return out, nil
}

func (s *roleStep) input(c aws.Credentials) *sts.AssumeRoleInput {
	d := s.duration
	if c.SessionToken != "" {
		d = min(d, maxChainedSession)
	}
	in := &sts.AssumeRoleInput{
		RoleArn:         aws.String(s.arn),
		RoleSessionName: aws.String(s.sessionName),
		DurationSeconds: aws.Int32(int32(d / time.Second)),
	}
	m := s.options
	if m == nil {
		return in
	}
	in.Tags = m.tags
	if m.sourceIdentity != "" {
		in.SourceIdentity = aws.String(m.sourceIdentity)
	}
	if m.policy != "" {
		in.Policy = aws.String(m.policy)
	}
	if m.externalID != "" {
		in.ExternalId = aws.String(m.externalID)
	}
	return in
}
