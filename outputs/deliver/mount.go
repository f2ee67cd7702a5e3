package deliver

import (
	"errors"
	"net/http"

	"github.com/aws-collector/collector/outputs"
	"github.com/aws-collector/collector/record"
)

// errNoStore rejects an output that answers from the store if there is none.
var errNoStore = &record.Fault{
	Reason: record.Other, Hint: "Set store.type to sqlite or postgres, or remove this output.",
	Err: errors.New("answers from the store, but there is none"),
}

// A mountedOutput is a served output of a fan.
type mountedOutput struct {
	name    string
	handler http.Handler
}

// mount opens a served output and adds it to a fan. The caller holds s.configMu.
func (s *Set) mount(f *Fan, t outputs.Type, sp Spec, name string) error {
	if s.deps.Store == nil {
		return errNoStore
	}
	d := s.deps
	d.Log = newRedactor(sp.Hidden).wrapLogger(d.Log)
	o, err := t.Serve(name, sp.Options, d)
	if err != nil {
		return err
	}
	if f.mounted == nil {
		f.mounted = map[string]mountedOutput{}
	}
	f.mounted[o.Path] = mountedOutput{name, o.Handler}
	return nil
}

// reportMounted tells the observer which served outputs are up. The caller holds s.configMu.
func (s *Set) reportMounted(f *Fan) {
	for _, o := range f.mounted {
		if s.mounts[o.name]++; s.deps.Observer != nil {
			s.deps.Observer.OutputUp(o.name, true)
		}
	}
}

// unmount tells the observer which served outputs no fan has any more. The caller holds s.configMu.
func (s *Set) unmount(f *Fan) {
	for _, o := range f.mounted {
		if s.mounts[o.name]--; s.mounts[o.name] == 0 && s.deps.Observer != nil {
			s.deps.Observer.OutputClosed(o.name)
		}
	}
}

// Handlers returns the handlers of the served outputs by path.
func (f *Fan) Handlers() map[string]http.Handler {
	all := make(map[string]http.Handler, len(f.mounted))
	for path, o := range f.mounted {
		all[path] = o.handler
	}
	return all
}
