package config

import (
	"reflect"

	"github.com/aws-collector/collector/config/internal/yamldoc"
)

// checkOutputKinds checks the options that name kinds.
func (d *decoder) checkOutputKinds(o *Output) {
	if o.Options == nil {
		return
	}
	options := reflect.ValueOf(o.Options).Elem()
	for _, f := range yamldoc.FieldsOf(options.Type()) {
		switch ptr := options.FieldByIndex(f.Index).Addr().Interface().(type) {
		case *string:
			if f.Names == "kinds" && *ptr != "" {
				d.checkKindPattern(ptr, *ptr)
			}
		case *[]string:
			for i := range *ptr {
				if f.Names == "kinds" {
					d.checkKindPattern(&(*ptr)[i], (*ptr)[i])
				}
			}
		}
	}
}

// checkStoreNeeded reports outputs that need a store if there is none.
func (d *decoder) checkStoreNeeded(w *document) {
	if w.Store.Type != "none" {
		return
	}
	for i := range w.Outputs {
		o := &w.Outputs[i]
		of, ok := o.Options.(interface {
			NeedsStore() (option, value string, needs bool)
		})
		p, fine := d.Checkable(o)
		if !ok || !fine {
			continue
		}
		switch option, value, needs := of.NeedsStore(); {
		case needs && option == "":
			d.Report(p, o.Type+" needs a store, but the store's type is none",
				"set another type of store, or remove this output")
		case needs:
			p.Path = yamldoc.JoinKey(p.Path, option)
			d.Report(p, value+" needs a store, but the store's type is none",
				"set another type of store, or remove "+option+": "+value)
		}
	}
}
