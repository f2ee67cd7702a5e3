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

// What a role session is where the block does not say. AWS's own default of 15 minutes is exactly a cron period.
const (
	roleSession     = time.Hour
	roleSessionName = "collector"
)

// roleStep is one hop: AssumeRole with the credentials before it.
// https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html
type roleStep struct {
	tokens   tokens
	region   string
	arn      string
	session  string // role session name: what CloudTrail shows
	external string
	duration time.Duration
	source   string // source identity
	tags     []types.Tag
	policy   string
	after    string // name of the step before
}

func newRole(t tokens, region string, r config.Role, after Step) *roleStep {
	s := &roleStep{
		tokens: t, region: region, arn: r.ARN, session: r.SessionName, external: r.ExternalID, duration: time.Duration(r.Duration),
		source: r.SourceIdentity, policy: r.SessionPolicy, after: after.Name(),
	}
	for _, k := range slices.Sorted(maps.Keys(r.SessionTags)) {
		s.tags = append(s.tags, types.Tag{Key: aws.String(k), Value: aws.String(r.SessionTags[k])})
	}
	if s.session == "" {
		s.session = roleSessionName
	}
	if s.duration == 0 {
		s.duration = roleSession
	}
	return s
}

func (s *roleStep) Name() string { return "role " + s.arn }

func (s *roleStep) Key() string {
	key := fmt.Sprintf("role %q %q %q %s %s %q %q", s.arn, s.session, s.external, s.duration, s.region, s.source, s.policy)
	for _, t := range s.tags {
		key += fmt.Sprintf(" %q=%q", *t.Key, *t.Value)
	}
	return key
}

func (*roleStep) revocable() {}

func (s *roleStep) Retrieve(ctx context.Context, prev Provider) (aws.Credentials, error) {
	var out aws.Credentials
	assume := func(c aws.Credentials) (err error) {
		out, err = s.tokens.assume(ctx, s.region, c, s.input(c))
		return err
	}
	c, err := ask(ctx, prev, assume)
	if record.ReasonOf(err) == record.AccessDenied {
		if other, ok := prev.Anew(ctx, c); ok {
			c, err = other, assume(other)
		}
	}
	if err != nil {
		return aws.Credentials{}, explain(err, clues{
			doing: "assume role " + s.arn, signer: s.after, role: s.arn, region: s.region, hops: c.SessionToken != "", extID: s.external != "", used: c,
		})
	}
	return out, nil
}

func (s *roleStep) input(c aws.Credentials) *sts.AssumeRoleInput {
	d := s.duration
	if c.SessionToken != "" {
		d = min(d, roleSession) // AWS refuses more to temporary credentials: role chaining, MFA
	}
	in := &sts.AssumeRoleInput{RoleArn: aws.String(s.arn), RoleSessionName: aws.String(s.session), DurationSeconds: aws.Int32(int32(d / time.Second)), Tags: s.tags}
	if s.source != "" {
		in.SourceIdentity = aws.String(s.source)
	}
	if s.policy != "" {
		in.Policy = aws.String(s.policy)
	}
	if s.external != "" {
		in.ExternalId = aws.String(s.external)
	}
	return in
}
