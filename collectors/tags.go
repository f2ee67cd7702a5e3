package collectors

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"

	"github.com/aws-collector/collector/collectors/internal/awsxml"
	"github.com/aws-collector/collector/collectors/internal/call"
	"github.com/aws-collector/collector/record"
)

// TagsBy is the operation that returns the tags of resources whose listing does not have them. It is called for the
// resources of each page before the page is taken from the pool, because it waits for the account's budget. So the
// response with the resources is kept in memory meanwhile: a kind with TagsBy has small pages (Max).
type TagsBy struct {
	Op    string // "DescribeTags"
	Param string // the wire name of the input for the names: "ResourceArns.member"; if Max is 1, of a single name
	Max   int    // names in one call
	Name  string // the member of the resource whose value is its name for Op: "LoadBalancerArn"

	// Of the response, as in [Kind]: the items, and the member with an item's name. Both are empty if the response has
	// nothing but the tags of the single name.
	Items, ID string
}

// maxTaggedBody limits the response that is kept in memory while tags are fetched. Load balancers take 2 KB each.
const maxTaggedBody = 32 << 20

// compileTags compiles the decoder of the responses of a kind's TagsBy; nil if it has none.
func (k *Kind) compileTags() (*awsxml.Program, error) {
	t := k.TagsBy
	switch {
	case t == nil:
		return nil, nil
	case t.ID == "":
		return awsxml.Compile(k.Service().format, awsxml.Spec{Op: t.Op, Items: t.Items, ConstID: "tags"})
	}
	return awsxml.Compile(k.Service().format, awsxml.Spec{Op: t.Op, Items: t.Items, ID: []string{t.ID}})
}

// tagsRequest is the request for the tags of at most TagsBy.Max resources, otherwise like that for the kind.
func (k *Kind) tagsRequest(list call.Request, names []string) call.Request {
	t := k.TagsBy
	list.Op, list.Max, list.Token, list.Params = t.Op, 0, "", make(map[string]string, len(names))
	for i, name := range names {
		key := t.Param
		if t.Max > 1 {
			key += "." + strconv.Itoa(i+1)
		}
		list.Params[key] = name
	}
	return list
}

// tagsOf are the tags of resources by the resource's name, or why it has no record.
type tagsOf map[string]struct {
	tags []awsxml.Tag
	err  error
}

func (t tagsOf) set(name string, tags []awsxml.Tag, err error) {
	e := t[name]
	e.tags, e.err = tags, err
	t[name] = e
}

// listTagged makes the calls of a page: the listing's, and those for the tags of what it lists. It returns the response
// of the listing.
func (g *listing) listTagged(ctx context.Context) (body []byte, tags tagsOf, err error) {
	var names []string
	err = g.lister.caller.Call(ctx, g.req, func(r io.Reader) error {
		if body, err = io.ReadAll(io.LimitReader(r, maxTaggedBody+1)); err != nil {
			return err
		}
		if len(body) > maxTaggedBody {
			return &record.Fault{Reason: record.BadAnswer, Err: fmt.Errorf("the response has more than %d bytes", maxTaggedBody)}
		}
		names = names[:0]
		o := g.decodeOptions
		o.Tags = func(name string) ([]awsxml.Tag, error) {
			names = append(names, name)
			return nil, nil
		}
		return g.lister.decodeAside(g.program, o, bytes.NewReader(body), func(*record.Page) error { return nil })
	})
	if err != nil {
		return nil, nil, err
	}
	tags = tagsOf{}
	for batch := range slices.Chunk(names, g.kind.TagsBy.Max) {
		if err := g.fetchTags(ctx, batch, tags); err != nil {
			return nil, nil, err
		}
	}
	return body, tags, nil
}

// lookUp is the [awsxml.Options].Tags of the second pass over a response.
func (g *listing) lookUp(tags tagsOf) func(string) ([]awsxml.Tag, error) {
	return func(name string) ([]awsxml.Tag, error) {
		if e, ok := tags[name]; ok {
			return e.tags, e.err
		}
		return nil, fmt.Errorf("%s returned no tags of %s", g.kind.TagsBy.Op, name)
	}
}

// fetchTags adds the tags of the named resources. AWS refuses all names if one of them has vanished: then it asks for
// each half.
func (g *listing) fetchTags(ctx context.Context, names []string, to tagsOf) error {
	err := g.lister.caller.Call(ctx, g.kind.tagsRequest(g.req, names), func(r io.Reader) error {
		return g.lister.decodeAside(g.tagsProgram, g.decodeOptions, r, func(p *record.Page) error {
			return g.readTags(p, names, to)
		})
	})
	switch half := len(names) / 2; {
	case err == nil:
		g.creds.allowed(g.kind.actionOf(g.kind.TagsBy.Op))
		return nil
	case !record.IsNotFoundCode(record.CodeOf(err)):
		return err
	case half == 0:
		to.set(names[0], nil, awsxml.ErrVanished)
		return nil
	default:
		if err := g.fetchTags(ctx, names[:half], to); err != nil {
			return err
		}
		return g.fetchTags(ctx, names[half:], to)
	}
}

// readTags reads a response with the tags of the named resources.
func (g *listing) readTags(p *record.Page, names []string, to tagsOf) error {
	name := names[0]
	for v := range p.Views() {
		var tags map[string]string
		err := json.Unmarshal(v.Tags(), &tags)
		if err == nil && g.kind.TagsBy.ID != "" {
			name, err = record.Unquote(v.ID())
		}
		if err != nil {
			return err
		}
		sorted := make([]awsxml.Tag, 0, len(tags))
		for _, key := range slices.Sorted(maps.Keys(tags)) {
			sorted = append(sorted, awsxml.Tag{Key: key, Value: tags[key]})
		}
		to.set(name, sorted, nil)
	}
	aside := p.SetAside()
	for i, id := range aside.IDs {
		if g.kind.TagsBy.ID == "" {
			id = name
		}
		to.set(id, nil, fmt.Errorf("its tags: %s", aside.Causes[min(i, len(aside.Causes)-1)]))
	}
	g.stats.Unknown += p.Unknown()
	return nil
}

// decodeAside decodes a response into a page that does not come from the pool. use must not wait for anything.
func (l *Lister) decodeAside(
	prog *awsxml.Program, o awsxml.Options, r io.Reader, use func(*record.Page) error,
) error {
	p, _ := l.aside.Get().(*record.Page)
	if p == nil {
		p = new(record.Page)
	}
	defer l.aside.Put(p)
	if _, err := l.decode(prog, o, r, p); err != nil {
		return err
	}
	return use(p)
}
