package outputs

import "context"

// OpenSpool opens a spool in front of out, as a set does. The returned function waits until out has everything.
func OpenSpool(name string, o Spool, d Deps, options any, out Output) (Output, func(context.Context), error) {
	s, err := openSpool(name, o.withDefaults(), d)
	if err != nil {
		return nil, nil, err
	}
	s.applyConfig(fanOutput{name: name, typ: "test", options: options, spoolOptions: o.withDefaults(), newInner: out})
	return s, func(ctx context.Context) { s.drain(ctx, true) }, nil
}
