package auth

import (
	"context"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/aws-collector/collector/auth/internal/fault"
	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/record"
)

// A Step makes credentials from those of the previous step. To add a way to sign in, add a file with a Step, and a line
// in [Sessions.plan].
type Step interface {
	// Name is for paths and errors; it holds no secret.
	Name() string
	// Key identifies the step. Blocks whose steps have equal keys, after equal previous steps, share the credentials. It
	// holds hashes of secrets, not secrets.
	Key() string
	// Retrieve makes new credentials. prev is nil for a base. It ends with ctx, has its own time-outs for calls, and its
	// error holds a [record.Fault]. Calls do not overlap; the result is cached until it must be renewed.
	Retrieve(ctx context.Context, prev Provider) (aws.Credentials, error)
}

// plan turns a block into steps, in order. It makes no calls; it may read a profile.
func (s *Sessions) plan(ctx context.Context, a config.Account) (steps []Step, region string, err error) {
	region = stsRegion(a)
	hops, serial := a.Hops(), a.SerialNumber
	switch {
	case a.Profile != "":
		if s.loader.opts.Isolated && s.loader.opts.ConfigFiles == nil && s.loader.opts.CredentialsFiles == nil {
			return nil, "", fault.New(record.NoCredentials, "Use `ak_id` and `ak_secret`, or a role.",
				"profile %s: shared files are not read in this mode", a.Profile)
		}
		files := s.loader.files.Read()
		if own := files.Settings(a.Profile).Region; a.STSRegion == "" && literalRegion(a) == "" && impliesNoPartition(a) {
			if _, known := record.PartitionOf(own); known {
				region = own
			}
		}
		mfa, err := readMFAProfile(files, a.Profile)
		if err != nil {
			return nil, "", err
		}
		if mfa == nil {
			steps = append(steps, s.profileStep(a.Profile, region))
			break
		}
		base := s.profileStep(a.Profile, region)
		base.ownRoles = true
		steps = append(steps, base)
		hops = append(mfa.roles, hops...)
		if serial == "" {
			serial = mfa.serial
		}
	case a.AKID != "" || !a.AKSecret.IsZero():
		steps = append(steps, &keyStep{a.AKID, a.AKSecret, a.SessionToken})
	case a.CredentialSource == "Environment":
		steps = append(steps, &envStep{s.getenv})
	case a.CredentialSource == "Ec2InstanceMetadata":
		steps = append(steps, s.instance.step)
	case a.CredentialSource == "EcsContainer":
		steps = append(steps, newContainerStep(s.loader, s.getenv))
	case a.CredentialSource != "":
		return nil, "", fault.New(record.NoCredentials,
			"Set `credential_source` to Environment, Ec2InstanceMetadata or EcsContainer.",
			"credential_source %q is unknown", a.CredentialSource)
	case s.loader.opts.Isolated:
		steps = append(steps, s.isolatedStep())
	default:
		steps = append(steps, s.profileStep("", region))
	}
	if serial != "" {
		codes, err := newCodeSource(a, s.commandEnv)
		if err != nil {
			return nil, "", err
		}
		steps = append(steps, &mfaStep{
			sts:       s.sts,
			store:     s.store,
			region:    region,
			serial:    serial,
			partition: PartitionOf(a),
			codes:     codes,
			duration:  orDefault(time.Duration(a.MFASessionDuration), defaultMFASession),
			signer:    steps[len(steps)-1].Name(),
			log:       s.log,
		})
	}
	for _, r := range hops {
		steps = append(steps, newRole(s.sts, region, r, steps[len(steps)-1]))
	}
	return steps, region, nil
}

func (s *Sessions) profileStep(name, region string) *sdkStep {
	return &sdkStep{
		profile: name, region: region, loader: s.loader, getenv: s.getenv, sts: s.sts, sso: s.sso, instance: s.instance,
	}
}

// isolatedStep is the default chain of a process that must not read its environment: the container's endpoint if one is
// set, else the instance role.
func (s *Sessions) isolatedStep() Step {
	if s.loader.opts.ContainerEndpoint != "" {
		return newContainerStep(s.loader, s.getenv)
	}
	return s.instance.step
}

// stsRegion is the STS region: `sts_region`, else the account's first literal region, else the partition's default; if
// the block implies no partition, plan prefers the region of its profile. It is never the global endpoint, whose tokens
// opt-in regions refuse.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_temp_enable-regions.html
func stsRegion(a config.Account) string {
	if a.STSRegion != "" {
		return a.STSRegion
	}
	if r := literalRegion(a); r != "" {
		return r
	}
	p, ok := record.PartitionNamed(PartitionOf(a))
	if !ok {
		p = record.Partitions[0]
	}
	return p.DefaultRegion
}

// literalRegion is the first region of the account that is not a glob; "": there is none.
func literalRegion(a config.Account) string {
	for _, r := range a.Collect.Regions {
		if r != "" && !strings.ContainsAny(r, "*?[]!{}") {
			return r
		}
	}
	return ""
}

// impliesNoPartition reports whether nothing in the block says in which partition it is, so that the region of its
// profile does, as in boto3.
func impliesNoPartition(a config.Account) bool {
	return a.Partition == "" && a.IsGlobal == nil && a.SerialNumber == "" && len(a.Hops()) == 0
}

// PartitionOf is the partition that the block names or implies.
func PartitionOf(a config.Account) string { return a.PartitionID() }

func orDefault(d, def time.Duration) time.Duration {
	if d == 0 {
		return def
	}
	return d
}
