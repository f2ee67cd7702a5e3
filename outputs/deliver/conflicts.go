package deliver

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/aws-collector/collector/outputs"
)

// A Conflict is an error in one output that another output of the configuration causes.
type Conflict struct {
	Index   int    // of the spec
	Option  string // that fixes it; "" if no single option does
	Err     error
	Warning bool // works now, but may break when the file is edited
}

// Conflicts returns all conflicts between outputs. It opens none.
func Conflicts(types []outputs.Type, specs []Spec) []Conflict {
	var all []Conflict
	for i, p := range resolve(types, specs) {
		if p.err != nil {
			all = append(all, Conflict{Index: i, Option: p.option, Err: newRedactor(specs[i].Hidden).redactError(p.err)})
		}
		if p.warning != nil {
			all = append(all, Conflict{Index: i, Option: "name", Err: p.warning, Warning: true})
		}
	}
	return all
}

// A resolved output has its final name and key, or a conflict.
type resolved struct {
	name    string
	key     string // what can be open only once; "" if nothing is
	err     error
	option  string // that err is about
	warning error  // about the option name
}

// resolve names each output: the configured name, else its type, with a number from the second one on.
func resolve(types []outputs.Type, specs []Spec) []resolved {
	all := make([]resolved, len(specs))
	names, keys, nameless, count := map[string]bool{}, map[string]Spec{}, map[string]bool{}, map[string]int{}
	for i, sp := range specs {
		a, t := &all[i], findType(types, sp.Type)
		if t.Open == nil && t.Serve == nil {
			a.err = errors.New("unknown output type")
			continue
		}
		name := configuredName(sp.Options)
		if name == "" && hasStateOnDisk(t, sp.Options) {
			if nameless[t.Name] {
				a.warning = fmt.Errorf("set name in each %s output: without it, spools and change cursors are matched "+
					"by the order of the blocks, and get mixed up when a block moves", t.Name)
			}
			nameless[t.Name] = true
		}
		if name == "" {
			name = t.Name
			for names[name] { // continues at the type's last number: there may be many outputs
				count[t.Name] = max(count[t.Name], 1) + 1
				name = t.Name + "-" + strconv.Itoa(count[t.Name])
			}
		} else if names[name] {
			a.err, a.option = fmt.Errorf("two outputs are named %q", name), "name"
			continue
		}
		names[name], a.name = true, name
		if t.Key == nil {
			continue
		}
		a.key = t.Key(sp.Options)
		first, taken := keys[a.key]
		switch {
		case a.key == "":
		case !taken:
			keys[a.key] = sp
		case t.Serve != nil:
			a.option = "path"
			a.err = fmt.Errorf("already used by %v; set another path", first)
		default:
			a.err = fmt.Errorf("writes to the same place as %v: two writers would mix their lines", first)
		}
	}
	return all
}

func findType(types []outputs.Type, name string) outputs.Type {
	for _, t := range types {
		if t.Name == name {
			return t
		}
	}
	return outputs.Type{}
}

func configuredName(options any) string {
	if c := outputs.CommonOf(options); c != nil {
		return c.Name
	}
	if o, ok := options.(interface{ OutputName() string }); ok {
		return o.OutputName()
	}
	return ""
}

// hasStateOnDisk reports whether the output has files that are found by its name: a spool or a change cursor.
func hasStateOnDisk(t outputs.Type, options any) bool {
	c := outputs.CommonOf(options)
	return c != nil && t.Serve == nil && (c.HasSpool(t) || c.WantsChanges())
}
