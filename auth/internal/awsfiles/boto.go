package awsfiles

import (
	"path/filepath"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// BotoKey reads a key from boto 2's files, as boto3 does: from BOTO_CONFIG if it is set, else from /etc/boto.cfg, then
// from ~/.boto; the first file with a key wins. A file that is missing or unreadable is skipped, as in boto3.
// https://boto3.amazonaws.com/v1/documentation/api/latest/guide/credentials.html#boto2-configuration-file
func (l *Source) BotoKey(getenv func(string) string) (aws.Credentials, error) {
	files := l.BotoFiles
	if files == nil && !l.Isolated {
		files = []string{"/etc/boto.cfg"}
		if home := getenv("HOME"); home != "" {
			files = append(files, filepath.Join(home, ".boto"))
		}
		if named := getenv("BOTO_CONFIG"); named != "" {
			files = []string{named}
		}
	}
	for _, file := range files {
		keys := botoCredentials(l.expandPath(file))
		id, secret := keys["aws_access_key_id"], keys["aws_secret_access_key"]
		switch {
		case id == "":
			continue
		case secret == "":
			return aws.Credentials{}, noCredentials(
				"Add aws_secret_access_key to that file, or remove aws_access_key_id from it.",
				"default chain: %s has aws_access_key_id without aws_secret_access_key", file)
		}
		return aws.Credentials{AccessKeyID: id, SecretAccessKey: secret, Source: "boto: " + file}, nil
	}
	return aws.Credentials{}, nil
}

// botoCredentials reads the section [Credentials] of an INI file: "name = value" or "name: value", in any case.
func botoCredentials(file string) map[string]string {
	text, err := readSharedFile(file)
	if err != nil {
		return nil
	}
	keys, inside := map[string]string{}, false
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || strings.ContainsAny(line[:1], "#;") {
			continue
		}
		if name, ok := strings.CutPrefix(line, "["); ok {
			name, _, _ = strings.Cut(name, "]")
			inside = name == "Credentials"
			continue
		}
		if i := strings.IndexAny(line, "=:"); inside && i > 0 {
			keys[strings.ToLower(strings.TrimSpace(line[:i]))] = strings.TrimSpace(line[i+1:])
		}
	}
	return keys
}
