package house

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The components, and which others each may import. A component is a folder with all packages below it, which may
// import each other.
var allowedImports = map[string][]string{
	"record": {},
	"secret": {},
	"config": {"record", "secret"},
	"auth":   {"config", "internal/filelock", "internal/statefile", "internal/userfile", "record", "secret"},
	// Which accounts there are, as blocks for auth and as schedules for runner.
	"accounts":   {"auth", "config", "internal/statefile", "inventory", "record", "runner"},
	"collectors": {"record"},
	// Of inventory only conditions and changes, no database.
	"outputs": {
		"config", "internal/filelock", "internal/printable", "internal/statefile", "internal/userfile", "inventory",
		"record", "secret",
	},
	// For ARNs and account blocks. Its callers pass the actions of kinds, so it builds without the catalogue.
	"policy": {"config", "record"},
	"runner": {"internal/statefile", "inventory", "outputs", "record"}, // of outputs the contract
	"inventory": {
		"internal/statefile",
		"record",
	}, // with its drivers: they know resources, not how they are listed
	// Questions and answers, the same for the command line and the API.
	"query":                {"config", "inventory", "record", "runner"},
	"web":                  {"internal/printable", "inventory", "query", "record", "runner"},
	"internal/awsfake":     {"record"},
	"internal/datadir":     {"internal/filelock", "internal/statefile", "record"},
	"internal/filelock":    {"internal/statefile"},
	"internal/memorylimit": {},
	"internal/printable":   {}, // escapes untrusted text for display
	"internal/statefile":   {}, // reads and replaces files of data_dir
	"internal/userfile":    {}, // reads files that users name
	"internal/house":       {},
	"internal/samebuild":   {},
	"cmd/collector": {
		"accounts", "auth", "collectors", "config", "docs", "internal/awsfake", "internal/datadir", "internal/memorylimit",
		"internal/printable", "internal/statefile", "internal/userfile", "inventory", "outputs", "policy", "query",
		"record", "runner", "secret", "web",
	},
	"docs":  {},                                          // the pages, as texts
	"bench": {"internal/awsfake", "inventory", "record"}, // measures the program as a child process; fills its store
}

// What tests may import in addition: the fake AWS, types to describe results, and the documents that they check.
var allowedInTests = []string{"record", "secret", "internal/awsfake", "internal/samebuild", "docs"}

// What tests of a component may import in addition, each with its reason.
var allowedInTestsOf = map[string][]string{
	"bench": {
		"auth",
		"collectors",
		"inventory",
		"outputs",
		"web",
	}, // so that the packages of the collector are compiled before the test starts
	"docs": {"config", "outputs"}, // so that the documents show valid configurations
}

// Modules that only some packages may import, so that replacing one affects these packages only. A module includes the
// paths below it.
var restrictedModules = []struct {
	module string
	users  []string // packages, with all below them
	tests  []string // packages whose tests may import it, too
	reason string
}{
	{
		module: "github.com/aws/aws-sdk-go-v2/service/ec2",
		users:  []string{"collectors/internal/call", "collectors/internal/awsxml/gen", "bench/sdktypes"},
		tests:  []string{"collectors/internal/awsxml", "collectors/internal/call"},
		reason: "it takes minutes to compile and adds 20 MB: one package calls it, a generator reads its types, " +
			"a benchmark compares with it",
	},
	{
		module: "github.com/aws/aws-sdk-go-v2/config",
		users:  []string{"auth", "collectors/internal/call"},
		reason: "only auth looks for credentials, and only call for the settings of endpoints",
	},
	{
		module: "github.com/aws/aws-sdk-go-v2/credentials",
		users:  []string{"auth"},
		tests:  []string{"internal/awsfake"},
		reason: "only auth creates credentials",
	},
	{
		module: "github.com/aws/aws-sdk-go-v2/feature/ec2/imds",
		users:  []string{"auth"},
		tests:  []string{"internal/awsfake"},
		reason: "only auth looks for credentials",
	},
	{
		module: "github.com/aws/aws-sdk-go-v2/service/iam",
		users:  []string{"auth"},
		reason: "only auth asks for the owner and the age of keys",
	},
	{
		module: "github.com/aws/aws-sdk-go-v2/service/organizations",
		users:  []string{"auth"},
		reason: "only auth lists the members of organizations",
	},
	{
		module: "github.com/aws/aws-sdk-go-v2/service/sts",
		users:  []string{"auth"},
		tests:  []string{"internal/awsfake"},
		reason: "only auth opens sessions",
	},
	{
		module: "github.com/aws/aws-sdk-go-v2/service/sso",
		users:  []string{"auth"},
		tests:  []string{"internal/awsfake"},
		reason: "only auth opens sessions",
	},
	{
		module: "github.com/aws/aws-sdk-go-v2/service/ssooidc",
		users:  []string{"auth"},
		tests:  []string{"internal/awsfake"},
		reason: "only auth opens sessions",
	},
	{
		module: "github.com/aws/aws-sdk-go-v2/service/s3",
		users:  []string{"outputs"},
		reason: "it adds megabytes, and only one output needs it; its credentials come from auth",
	},
	{
		module: "github.com/twmb/franz-go",
		users:  []string{"outputs"},
		reason: "it adds megabytes, and only one output needs it",
	},
	{module: "gopkg.in/yaml.v3", users: []string{"config"}, reason: "only config handles its pitfalls"},
	{
		module: "github.com/parquet-go/parquet-go",
		users:  []string{"outputs/parquet"},
		tests:  []string{"outputs", "cmd/collector"},
		reason: "it adds megabytes, and one package knows how our files are written; tests read them",
	},
	{
		module: "modernc.org/sqlite",
		users:  []string{"inventory/sqlite", "bench/sdktypes"},
		reason: "only its driver uses a database; a benchmark compares with a plain store",
	},
	{
		module: "github.com/jackc/pgx/v5",
		users:  []string{"inventory/postgres", "runner/river"},
		reason: "only the store's driver and the engine that shares its database use it",
	},
	{module: "github.com/riverqueue/river", users: []string{"runner/river"}, reason: "only its engine knows River"},
	{module: "github.com/spf13/cobra", users: []string{"cmd/collector"}, reason: "only cmd/collector has a command line"},
	{module: "github.com/fsnotify/fsnotify", users: []string{"cmd/collector"}, reason: "config does no I/O"},
	{
		module: "github.com/modelcontextprotocol/go-sdk",
		users:  []string{"web/mcp"},
		reason: "it adds megabytes, and one package speaks its protocol",
	},
	{module: "github.com/prometheus/exporter-toolkit", users: []string{"web"}, reason: "only web listens"},
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

// ownPath returns the path of an import relative to the module, if it is in this module.
func ownPath(path string) (string, bool) { return strings.CutPrefix(path, module+"/") }

func TestImportMap(t *testing.T) {
	for _, p := range packages(t) {
		from := component(p.path())
		if from == "" {
			t.Errorf("%s is in no component: add it to allowedImports", p.path())
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

// A restricted module is imported only by the packages that may import it.
func TestRestrictedModules(t *testing.T) {
	for _, p := range packages(t) {
		in := func(folders []string) bool {
			return slices.ContainsFunc(folders, func(f string) bool { return below(p.path(), f) })
		}
		for _, d := range restrictedModules {
			of := func(i string) bool { return below(i, d.module) }
			if slices.ContainsFunc(p.Imports, of) && !in(d.users) {
				t.Errorf("%s imports %s, which only %v may import: %s", p.path(), d.module, d.users, d.reason)
			}
			if slices.ContainsFunc(p.importsOfTests(), of) && !in(d.users) && !in(d.tests) {
				t.Errorf("tests of %s import %s, which only %v may import: %s", p.path(), d.module, d.users, d.reason)
			}
		}
	}
}

// Each restriction is still needed.
func TestRestrictedModulesAreImported(t *testing.T) {
	indirect := []string{"service/sso", "service/ssooidc", "feature/ec2/imds"} // imported by the SDK's config
	for _, d := range restrictedModules {
		used := slices.ContainsFunc(packages(t), func(p pkg) bool {
			imports := p.Imports
			if len(d.users) == 0 { // only tests may import it
				imports = p.importsOfTests()
			}
			return slices.ContainsFunc(imports, func(i string) bool { return below(i, d.module) })
		})
		if !used && !slices.ContainsFunc(indirect, func(s string) bool { return strings.HasSuffix(d.module, s) }) {
			t.Errorf("no package imports %s: remove it from restrictedModules", d.module)
		}
	}
}

// The packages that change most must build and test in a second: neither they nor their tests may depend on
// service/ec2, directly or indirectly.
func TestQuickPackagesReachNoEC2(t *testing.T) {
	for _, name := range []string{
		"record", "secret", "config", "auth", "outputs", "policy", "query", "runner", "inventory", "web", "internal/awsfake",
	} {
		out, err := goList("-deps", "-test", "-f", "{{.ImportPath}}", module+"/"+name+"/...")
		if err != nil {
			t.Error(err)
			continue
		}
		for _, dep := range strings.Fields(string(out)) {
			if below(dep, "github.com/aws/aws-sdk-go-v2/service/ec2") {
				t.Errorf("%s or its tests depend on %s: run go list -deps -test", name, dep)
			}
		}
	}
}

// A test that runs the go command itself would compile everything a second time, with other flags.
func TestOneBuild(t *testing.T) {
	builds := regexp.MustCompile(`"go",\s*"(build|run|install|test)"`)
	for path, text := range files(t) {
		if strings.HasSuffix(path, "_test.go") && builds.Match(text) {
			t.Errorf("%s runs %s: use internal/samebuild, which builds with the flags of the test", path, builds.Find(text))
		}
	}
}
