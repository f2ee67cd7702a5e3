package outputs

import (
	"errors"
	"fmt"
	"strconv"
)

// A Clash is what is wrong with an output because of those beside it.
type Conflict struct {
	Index   int    // of the spec
	Option  string // where it can be mended; "": in the whole output
	Err     error
	Warning bool // it works, and may not after an edit of the file
}

// Conflicts reports all that is wrong with outputs beside each other. It opens none.
func Conflicts(types []Type, specs []Spec) []Conflict {
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

// An arrangement is an output's place among the others of its configuration.
type resolved struct {
	name    string
	key     string // what can be open only once; "": nothing
	err     error
	option  string // of err
	warning error  // of the option name
}

// resolve gives each output its name: as it says, else its type, with a number from the second on.
func resolve(types []Type, specs []Spec) []resolved {
	all := make([]resolved, len(specs))
	names, keys, nameless, count := map[string]bool{}, map[string]Spec{}, map[string]bool{}, map[string]int{}
	for i, sp := range specs {
		a, t := &all[i], findType(types, sp.Type)
		if t.Open == nil && t.Serve == nil {
			a.err = errors.New("there is no such type of output")
			continue
		}
		name := configuredName(sp.Options)
		if name == "" && hasStateOnDisk(t, sp.Options) {
			if nameless[t.Name] {
				a.warning = fmt.Errorf("give each %s output a name of its own: what waits on disk for one is found by its name, and by the place of its block where it has none, "+
					"so it would go to another once blocks are moved or removed", t.Name)
			}
			nameless[t.Name] = true
		}
		if name == "" {
			name = t.Name
			for names[name] { // on from where the type's last one was counted to: there may be many
				count[t.Name] = max(count[t.Name], 1) + 1
				name = t.Name + "-" + strconv.Itoa(count[t.Name])
			}
		} else if names[name] {
			a.err, a.option = fmt.Errorf("two outputs are called %q", name), "name"
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
			a.err = fmt.Errorf("%v answers there already: give one of them another path", first)
		default:
			a.err = fmt.Errorf("it is the same as %v: two writers would mix their lines", first)
		}
	}
	return all
}

func findType(types []Type, name string) Type {
	for _, t := range types {
		if t.Name == name {
			return t
		}
	}
	return Type{}
}

func configuredName(options any) string {
	switch o := options.(type) {
	case interface{ common() *Common }:
		return o.common().Name
	case interface{ called() string }:
		return o.called()
	}
	return ""
}

// hasStateOnDisk reports whether something on disk is found by the output's name: its spool, or how far it was sent changes.
func hasStateOnDisk(t Type, options any) bool {
	o, ok := options.(interface{ common() *Common })
	return ok && t.Serve == nil && (o.common().hasSpool(t) || o.common().wantsChanges())
}
