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
	duration time.Duration
	more     *roleMore // nil: none of it
	after    Step

	issued
}

// roleMore is what few roles ask for.
type roleMore struct {
	external string
	source   string // source identity
	tags     []types.Tag
	policy   string
}

func newRole(t tokens, region string, r config.Role, after Step) *roleStep {
	s := &roleStep{tokens: t, region: region, arn: r.ARN, session: r.SessionName, duration: time.Duration(r.Duration), after: after}
	if r.ExternalID != "" || r.SourceIdentity != "" || r.SessionPolicy != "" || len(r.SessionTags) > 0 {
		s.more = &roleMore{external: r.ExternalID, source: r.SourceIdentity, policy: r.SessionPolicy}
		for _, k := range slices.Sorted(maps.Keys(r.SessionTags)) {
			s.more.tags = append(s.more.tags, types.Tag{Key: aws.String(k), Value: aws.String(r.SessionTags[k])})
		}
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
	key := fmt.Sprintf("role %q %q %s %s", s.arn, s.session, s.duration, s.region)
	if m := s.more; m != nil {
		key += fmt.Sprintf(" %q %q %q", m.external, m.source, m.policy)
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
		out, err = s.tokens.assume(ctx, s.region, c, s.input(c), &s.issued)
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
			doing: "assume role " + s.arn, signer: s.after.Name(), role: s.arn, region: s.region, hops: c.SessionToken != "", extID: s.more != nil && s.more.external != "", used: c,
		})
	}
	return out, nil
}

func (s *roleStep) input(c aws.Credentials) *sts.AssumeRoleInput {
	d := s.duration
	if c.SessionToken != "" {
		d = min(d, roleSession) // AWS refuses more to temporary credentials: role chaining, MFA
	}
	in := &sts.AssumeRoleInput{RoleArn: aws.String(s.arn), RoleSessionName: aws.String(s.session), DurationSeconds: aws.Int32(int32(d / time.Second))}
	m := s.more
	if m == nil {
		return in
	}
	in.Tags = m.tags
	if m.source != "" {
		in.SourceIdentity = aws.String(m.source)
	}
	if m.policy != "" {
		in.Policy = aws.String(m.policy)
	}
	if m.external != "" {
		in.ExternalId = aws.String(m.external)
	}
	return in
}
