package auth

import (
	"context"

	"github.com/aws-collector/collector/auth/internal/awsfiles"
)

// A Profile is a profile of the shared AWS files.
type Profile struct {
	Name      string
	NeedsCode bool  // its sign-in needs codes of an MFA device
	Err       error // why it leads to no credentials
}

// FindProfiles returns the profiles of the shared AWS files, by name. It makes no calls. With an error, a file could
// not be read, so that profiles may be missing.
func FindProfiles(o LoadOptions) (all []Profile, err error) {
	files := awsfiles.NewSource(o.filesOptions()).Read()
	for _, name := range files.ProfileNames() {
		mfa, err := readMFAProfile(files, name)
		all = append(all, Profile{name, mfa != nil, err})
	}
	return all, files.Unreadable()
}

// FindInstanceRole reports whether this machine is an EC2 instance with a role. It asks the instance metadata service,
// until ctx ends.
func (s *Sessions) FindInstanceRole(ctx context.Context) error {
	_, err := s.instance.Retrieve(ctx)
	return err
}
