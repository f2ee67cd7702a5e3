package house

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The rooms, and which others each may import. A room is a folder with what is below it, which may import one another.
// A new arrow is an edit here.
var allowedImports = map[string][]string{
	"record":             {},
	"secret":             {},
	"config":             {"record", "secret"},
	"auth":               {"config", "internal/statefile", "internal/userfile", "record", "secret"},
	"collectors":         {"record"},
	"outputs":            {"config", "internal/filelock", "internal/printable", "internal/statefile", "internal/userfile", "inventory", "record", "secret"}, // of inventory the words: conditions, changes; no database
	"policy":             {"record"},                                                                                                                        // ARNs are a partition's; which actions a kind needs comes in, so that it builds without the catalogue
	"runner":             {"internal/statefile", "record"},
	"inventory":          {"internal/statefile", "record"}, // its drivers too: rules and databases know resources, and not who lists them
	"web":                {"internal/printable", "record"},
	"internal/awsfake":   {"record"},
	"internal/filelock":  {},
	"internal/printable": {}, // text of others, made safe to show
	"internal/statefile": {}, // files of data_dir are read and replaced in one way
	"internal/userfile":  {}, // files that a person names are read in one way
	"internal/house":     {},
	"internal/samebuild": {},
	"cmd/collector":      {"auth", "collectors", "config", "internal/awsfake", "internal/filelock", "internal/printable", "internal/statefile", "internal/userfile", "inventory", "outputs", "policy", "record", "runner", "secret", "web"},
	"bench":              {"internal/awsfake"}, // it measures the program from outside
}

// What tests may import besides: the AWS that they run against, and words to describe what they see.
var allowedInTests = []string{"record", "secret", "internal/awsfake", "internal/samebuild"}

// What tests of a room may import besides, each with its reason.
var allowedInTestsOf = map[string][]string{
	"bench": {"auth", "collectors", "inventory", "outputs", "web"}, // so that what they link was compiled for the other tests
}

// Modules that one room alone imports, so that changing one is a matter of one room. The paths below a module belong to it.
var restrictedModules = []struct {
	module string
	users  []string // packages and what is below them
	tests  []string // packages whose tests may, too
	why    string
}{
	{
		module: "github.com/aws/aws-sdk-go-v2/service/ec2",
		users:  []string{"collectors/internal/ec2call", "collectors/internal/ec2xml/gen", "bench/sdktypes"},
		tests:  []string{"collectors/internal/ec2xml", "collectors/internal/ec2call"},
		why:    "it compiles for minutes and links 20 MB: one package calls it, a generator reads its types, and a benchmark is what we are measured against",
	},
	{module: "github.com/aws/aws-sdk-go-v2/config", users: []string{"auth"}, why: "credentials are found in one place"},
	{module: "github.com/aws/aws-sdk-go-v2/credentials", users: []string{"auth"}, tests: []string{"internal/awsfake"}, why: "credentials are made in one place"},
	{module: "github.com/aws/aws-sdk-go-v2/feature/ec2/imds", users: []string{"auth"}, tests: []string{"internal/awsfake"}, why: "credentials are found in one place"},
	{module: "github.com/aws/aws-sdk-go-v2/service/iam", users: []string{"auth"}, why: "whose key it is, and how old, is asked where sessions are opened"},
	{module: "github.com/aws/aws-sdk-go-v2/service/organizations", users: []string{"auth"}, why: "who belongs to an organization is found out where sessions are opened"},
	{module: "github.com/aws/aws-sdk-go-v2/service/sts", users: []string{"auth"}, tests: []string{"internal/awsfake"}, why: "sessions are opened in one place"},
	{module: "github.com/aws/aws-sdk-go-v2/service/sso", users: []string{"auth"}, tests: []string{"internal/awsfake"}, why: "sessions are opened in one place"},
	{module: "github.com/aws/aws-sdk-go-v2/service/ssooidc", users: []string{"auth"}, tests: []string{"internal/awsfake"}, why: "sessions are opened in one place"},
	{module: "github.com/aws/aws-sdk-go-v2/service/s3", users: []string{"outputs"}, why: "it links megabytes, and one output needs it; its credentials come from auth"},
	{module: "github.com/twmb/franz-go", users: []string{"outputs"}, why: "it links megabytes, and one output needs it"},
	{module: "gopkg.in/yaml.v3", users: []string{"config"}, why: "its traps are known in one place"},
	{module: "github.com/parquet-go/parquet-go", tests: []string{"outputs", "cmd/collector"}, why: "it links 5 MB; what we write we write ourselves, and it reads it back"},
	{module: "modernc.org/sqlite", users: []string{"inventory/sqlite", "bench/sdktypes"}, why: "a database is a driver's; a benchmark stores as plainly as one would without"},
	{module: "github.com/jackc/pgx/v5", users: []string{"inventory/postgres"}, why: "a database is a driver's"},
	{module: "github.com/spf13/cobra", users: []string{"cmd/collector"}, why: "the command line is one room's"},
	{module: "github.com/fsnotify/fsnotify", users: []string{"cmd/collector"}, why: "config does no I/O"},
	{module: "github.com/prometheus/exporter-toolkit", users: []string{"web"}, why: "there is one listener"},
}

func below(path, folder string) bool { return path == folder || strings.HasPrefix(path, folder+"/") }

func component(path string) string {
	for name := range allowedImports {
		if below(path, name) {
			return name
		}
	}
	return ""
}

// ownPath strips the module from an import of ours.
func ownPath(path string) (string, bool) { return strings.CutPrefix(path, module+"/") }

func TestImportMap(t *testing.T) {
	for _, p := range packages(t) {
		from := component(p.path())
		if from == "" {
			t.Errorf("%s is in no room: add it to rooms, with what it may import", p.path())
			continue
		}
		for _, i := range p.Imports {
			if path, ok := ownPath(i); ok && component(path) != from && !slices.Contains(allowedImports[from], component(path)) {
				t.Errorf("%s imports %s; %s may import %v", p.path(), path, from, allowedImports[from])
			}
		}
		may := slices.Concat(allowedImports[from], allowedInTests, allowedInTestsOf[from])
		for _, i := range p.importsOfTests() {
			if path, ok := ownPath(i); ok && component(path) != from && !slices.Contains(may, component(path)) {
				t.Errorf("tests of %s import %s; they may import %v", p.path(), path, may)
			}
		}
	}
}

func TestRestrictedModules(t *testing.T) {
	for _, p := range packages(t) {
		in := func(folders []string) bool {
			return slices.ContainsFunc(folders, func(f string) bool { return below(p.path(), f) })
		}
		for _, d := range restrictedModules {
			of := func(i string) bool { return below(i, d.module) }
			if slices.ContainsFunc(p.Imports, of) && !in(d.users) {
				t.Errorf("%s imports %s, which is %v's: %s", p.path(), d.module, d.users, d.why)
			}
			if slices.ContainsFunc(p.importsOfTests(), of) && !in(d.users) && !in(d.tests) {
				t.Errorf("tests of %s import %s, which is %v's: %s", p.path(), d.module, d.users, d.why)
			}
		}
	}
}

// A door that nobody goes through is a rule about a world that is gone.
func TestRestrictedModulesAreImported(t *testing.T) {
	later := []string{"service/sso", "service/ssooidc", "feature/ec2/imds"} // reached through the SDK's config
	for _, d := range restrictedModules {
		used := slices.ContainsFunc(packages(t), func(p pkg) bool {
			imports := p.Imports
			if len(d.users) == 0 { // only tests may
				imports = p.importsOfTests()
			}
			return slices.ContainsFunc(imports, func(i string) bool { return below(i, d.module) })
		})
		if !used && !slices.ContainsFunc(later, func(s string) bool { return strings.HasSuffix(d.module, s) }) {
			t.Errorf("nobody imports %s: take it out of doors", d.module)
		}
	}
}

// The rooms that are worked on most must build and test in a second: none of them reaches service/ec2, not in its tests
// and not through somebody else.
func TestQuickPackagesReachNoEC2(t *testing.T) {
	for _, name := range []string{"record", "secret", "config", "auth", "outputs", "policy", "runner", "inventory", "web", "internal/awsfake"} {
		out, err := goList("-deps", "-test", "-f", "{{.ImportPath}}", module+"/"+name)
		if err != nil {
			t.Error(err)
			continue
		}
		for _, dep := range strings.Fields(string(out)) {
			if below(dep, "github.com/aws/aws-sdk-go-v2/service/ec2") {
				t.Errorf("%s, or a test of it, reaches %s; go list -deps -test shows how", name, dep)
			}
		}
	}
}

// A test that builds a program by itself compiles, on a machine that is busy with the other tests, everything a second time.
func TestOneBuild(t *testing.T) {
	builds := regexp.MustCompile(`"go",\s*"(build|run|install|test)"`)
	for path, text := range files(t) {
		if strings.HasSuffix(path, "_test.go") && builds.Match(text) {
			t.Errorf("%s runs %s: internal/samebuild builds with the flags of the test", path, builds.Find(text))
		}
	}
}
