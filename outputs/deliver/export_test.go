package deliver

import (
	"context"

	"github.com/aws-collector/collector/outputs"
)

// OpenSpool opens a spool in front of out, as a set does. The returned function waits until out has everything.
func OpenSpool(name string, o outputs.Spool, d outputs.Deps, options any, out outputs.Output) (
	outputs.Output, func(context.Context), error) {
	s, err := openSpool(name, o.WithDefaults(), d)
	if err != nil {
		return nil, nil, err
	}
	s.applyConfig(fanOutput{name: name, typ: "test", options: options, spoolOptions: o.WithDefaults(), newInner: out})
	return s, func(ctx context.Context) { s.drain(ctx, true) }, nil
}
