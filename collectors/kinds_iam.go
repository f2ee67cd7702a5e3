package collectors

// Users, roles, groups and policies are listed by GetAccountAuthorizationDetails, each by its own filter: the records
// have what grants access (inline policies, attached policies, memberships, boundaries) and the tags of users and
// roles, which ListUsers and ListRoles omit. In return, PasswordLastUsed of a user and MaxSessionDuration and
// Description of a role are missing, which only the other lists have.
//
// The id is what others refer to a resource by: the name of a user or a group, the ARN of a role or a policy. IAM's
// other lists omit the tags. Policy documents become JSON, as the AWS CLI prints them.
//
// Max is at most 1,000, of every list. Records with documents have tens of kilobytes, so their pages are smaller.
// https://docs.aws.amazon.com/IAM/latest/APIReference/API_GetAccountAuthorizationDetails.html
var iamKinds = []Kind{
	{Name: "iam_access_key", Op: "ListAccessKeys", Items: "AccessKeyMetadata", ID: "AccessKeyId", State: "Status",
		Max: 1000, Parent: "iam_user", ParentParam: "UserName"},
	{Name: "iam_account_alias", Op: "ListAccountAliases", ConstID: "account-alias", Max: 1000}, // there is at most one
	{Name: "iam_account_password_policy", Op: "GetAccountPasswordPolicy", Items: "PasswordPolicy",
		ConstID: "account-password-policy", AbsentCode: "NoSuchEntity"},
	{Name: "iam_account_summary", Op: "GetAccountSummary", ConstID: "account-summary"},
	{Name: "iam_group", Op: "GetAccountAuthorizationDetails", Items: "GroupDetailList", ID: "GroupName",
		NamedBy: "GroupName", Max: 100, Params: map[string]string{"Filter.member.1": "Group"},
		Documents: []string{"GroupPolicyList.PolicyDocument"}},
	{Name: "iam_instance_profile", Op: "ListInstanceProfiles", Items: "InstanceProfiles", ID: "Arn",
		NamedBy: "InstanceProfileName", Max: 1000, Volatile: []string{"Roles.RoleLastUsed"},
		Documents: []string{"Roles.AssumeRolePolicyDocument"}},
	{Name: "iam_mfa_device", Op: "ListMFADevices", Items: "MFADevices", ID: "SerialNumber", Max: 1000,
		Parent: "iam_user", ParentParam: "UserName"},
	{Name: "iam_open_id_connect_provider", Op: "ListOpenIDConnectProviders", Items: "OpenIDConnectProviderList",
		ID: "Arn"},
	{Name: "iam_policy", Op: "GetAccountAuthorizationDetails", Items: "Policies", ID: "Arn", NamedBy: "PolicyName",
		Max: 100, Params: map[string]string{"Filter.member.1": "LocalManagedPolicy"},
		Documents: []string{"PolicyVersionList.Document"}},
	{Name: "iam_role", Op: "GetAccountAuthorizationDetails", Items: "RoleDetailList", ID: "Arn", NamedBy: "RoleName",
		Max: 100, Params: map[string]string{"Filter.member.1": "Role"},
		Volatile: []string{"InstanceProfileList.Roles.RoleLastUsed", "RoleLastUsed"},
		Documents: []string{
			"AssumeRolePolicyDocument", "InstanceProfileList.Roles.AssumeRolePolicyDocument", "RolePolicyList.PolicyDocument",
		}},
	{Name: "iam_saml_provider", Op: "ListSAMLProviders", Items: "SAMLProviderList", ID: "Arn"},
	{Name: "iam_server_certificate", Op: "ListServerCertificates", Items: "ServerCertificateMetadataList", ID: "Arn",
		NamedBy: "ServerCertificateName", Max: 1000},
	{Name: "iam_service_specific_credential", Op: "ListServiceSpecificCredentials", Items: "ServiceSpecificCredentials",
		ID: "ServiceSpecificCredentialId", NamedBy: "ServiceUserName", State: "Status", Type: "ServiceName",
		Max: 1000, Params: map[string]string{"AllUsers": "true"}},
	{Name: "iam_signing_certificate", Op: "ListSigningCertificates", Items: "Certificates", ID: "CertificateId",
		State: "Status", Max: 1000, Parent: "iam_user", ParentParam: "UserName"},
	{Name: "iam_ssh_public_key", Op: "ListSSHPublicKeys", Items: "SSHPublicKeys", ID: "SSHPublicKeyId", State: "Status",
		Max: 1000, Parent: "iam_user", ParentParam: "UserName"},
	{Name: "iam_user", Op: "GetAccountAuthorizationDetails", Items: "UserDetailList", ID: "UserName",
		NamedBy: "UserName", Max: 100, Params: map[string]string{"Filter.member.1": "User"},
		Documents: []string{"UserPolicyList.PolicyDocument"}},
	{Name: "iam_virtual_mfa_device", Op: "ListVirtualMFADevices", Items: "VirtualMFADevices", ID: "SerialNumber",
		Max: 1000, Sensitive: []string{"Base32StringSeed", "QRCodePNG"}},
}

// iamHosts are the hosts of IAM by those of EC2 in a partition's default region, where another first word is not all
// that differs: IAM has one endpoint a partition.
var iamHosts = map[string]string{
	"ec2.us-east-1.amazonaws.com":      "iam.amazonaws.com",
	"ec2-fips.us-east-1.amazonaws.com": "iam-fips.amazonaws.com",
	"ec2.us-east-1.api.aws":            "iam.global.api.aws",
	"ec2-fips.us-east-1.api.aws":       "iam-fips.global.api.aws",

	"ec2-fips.cn-north-1.amazonaws.com.cn":             "iam-fips.amazonaws.com.cn",
	"ec2.cn-north-1.api.amazonwebservices.com.cn":      "iam.global.api.amazonwebservices.com.cn",
	"ec2-fips.cn-north-1.api.amazonwebservices.com.cn": "iam-fips.api.amazonwebservices.com.cn",

	"ec2-fips.eusc-de-east-1.amazonaws.eu":             "iam-fips.amazonaws.eu",
	"ec2.eusc-de-east-1.api.amazonwebservices.eu":      "iam.global.api.amazonwebservices.eu",
	"ec2-fips.eusc-de-east-1.api.amazonwebservices.eu": "iam-fips.api.amazonwebservices.eu",

	"ec2.us-iso-east-1.api.aws.ic.gov":      "iam.api.aws.ic.gov",
	"ec2-fips.us-iso-east-1.api.aws.ic.gov": "iam-fips.api.aws.ic.gov",

	"ec2.us-isob-east-1.api.aws.scloud":      "iam.api.aws.scloud",
	"ec2-fips.us-isob-east-1.api.aws.scloud": "iam-fips.api.aws.scloud",

	"ec2-fips.eu-isoe-west-1.cloud.adc-e.uk":         "iam-fips.cloud.adc-e.uk",
	"ec2.eu-isoe-west-1.api.cloud-aws.adc-e.uk":      "iam.api.cloud-aws.adc-e.uk",
	"ec2-fips.eu-isoe-west-1.api.cloud-aws.adc-e.uk": "iam-fips.api.cloud-aws.adc-e.uk",

	"ec2-fips.us-isof-south-1.csp.hci.ic.gov":     "iam-fips.csp.hci.ic.gov",
	"ec2.us-isof-south-1.api.aws.hci.ic.gov":      "iam.api.aws.hci.ic.gov",
	"ec2-fips.us-isof-south-1.api.aws.hci.ic.gov": "iam-fips.api.aws.hci.ic.gov",

	"ec2.us-gov-west-1.amazonaws.com": "iam.us-gov.amazonaws.com",
	"ec2.us-gov-west-1.api.aws":       "iam.us-gov.api.aws",
	"ec2-fips.us-gov-west-1.api.aws":  "iam.us-gov.api.aws",
}
