package page

import (
	"cmp"
	"fmt"
	"html/template"
	"slices"
	"strings"

	"github.com/aws-collector/collector/inventory"
)

// A graphBox is a resource beside the one in the middle, or several of a kind.
type graphBox struct {
	kind, text, url  string
	from, to         bool // it points at the resource; the resource points at it
	several, missing bool
}

// The measures of the drawing.
const (
	maxBoxes    = 6 // on a side
	graphWidth  = 400
	boxWidth    = 118
	boxHeight   = 36
	boxPitch    = 48
	leftEdge    = 1 + boxWidth // of the arrows
	selfLeft    = (graphWidth - boxWidth) / 2
	selfRight   = selfLeft + boxWidth
	rightEdge   = graphWidth - 1 - boxWidth
	graphMargin = 18 // above the boxes, for the words
)

// relationGraph draws a resource between what it points at, on the left, and what points at it. The list of relations
// has all of it as text.
func relationGraph(res *inventory.Resource, related []relatedView) template.HTML {
	if len(related) == 0 {
		return ""
	}
	var left, right []relatedView
	for _, v := range related {
		if v.From {
			right = append(right, v)
		} else {
			left = append(left, v)
		}
	}
	boxes := [2][]graphBox{boxesOf(left), boxesOf(right)}
	height := graphMargin + boxPitch*max(len(boxes[0]), len(boxes[1])) - (boxPitch - boxHeight) + 1
	middle := graphMargin + (height-graphMargin)/2
	var b strings.Builder
	fmt.Fprintf(&b, `<svg class="graph" viewBox="0 0 %d %d" role="group" aria-label="Relations; the list below has them`+
		` as text">`, graphWidth, height)
	for side, words := range [2]string{"it points at", "point at it"} {
		if len(boxes[side]) > 0 {
			fmt.Fprintf(&b, `<text x="%d" y="11">%s</text>`, [2]int{1, rightEdge}[side], words)
		}
	}
	for side, all := range boxes {
		top := middle - (boxPitch*len(all)-(boxPitch-boxHeight))/2
		for i, box := range all {
			drawArrow(&b, side, top+boxPitch*i+boxHeight/2, middle, box)
		}
		for i, box := range all {
			drawBox(&b, [2]int{1, rightEdge}[side], top+boxPitch*i, box)
		}
	}
	self := graphBox{kind: kindName(res.Kind), text: res.ID}
	b.WriteString(`<g class="self">`)
	drawBox(&b, selfLeft, middle-boxHeight/2, self)
	b.WriteString("</g></svg>")
	return template.HTML(b.String()) //nolint:gosec // escaped where it is text from outside
}

// boxesOf returns the boxes of a side: one for each resource or, if these are too many, for each kind.
func boxesOf(related []relatedView) (boxes []graphBox) {
	for _, v := range related {
		box := graphBox{kind: kindName(v.Kind), text: v.ID, url: v.URL, from: v.From, to: v.To, missing: !v.Found}
		if i := slices.IndexFunc(boxes, func(b graphBox) bool { return b.kind == box.kind }); i >= 0 &&
			len(related) > maxBoxes {
			same := &boxes[i]
			same.several, same.from, same.to = true, same.from || box.from, same.to || box.to
			same.missing = same.missing && box.missing
			continue
		}
		boxes = append(boxes, box)
	}
	for i := range boxes {
		if boxes[i].several {
			n := 0
			for _, v := range related {
				if kindName(v.Kind) == boxes[i].kind {
					n++
				}
			}
			boxes[i].text, boxes[i].url = number(n)+" resources", "#h-related"
		}
	}
	if len(boxes) > maxBoxes {
		more := graphBox{
			kind: "and others", text: count(len(boxes)-maxBoxes+1, "kind"), url: "#h-related", from: boxes[0].from,
			to: boxes[0].to,
		}
		boxes = append(boxes[:maxBoxes-1], more)
	}
	return boxes
}

// drawArrow draws a line between a box and the middle, with a head where it points.
func drawArrow(b *strings.Builder, side, y, middle int, box graphBox) {
	x, self, out := leftEdge, selfLeft, 1
	if side == 1 {
		x, self, out = rightEdge, selfRight, -1
	}
	center := (x + self) / 2
	fmt.Fprintf(b, `<path d="M%d %dC%d %d %d %d %d %d"/>`, x, y, center, y, center, middle, self, middle)
	if box.to {
		fmt.Fprintf(b, `<path class="head" d="M%d %dl%d -3v6z"/>`, x, y, 5*out)
	}
	if box.from {
		fmt.Fprintf(b, `<path class="head" d="M%d %dl%d -3v6z"/>`, self, middle, -5*out)
	}
}

func drawBox(b *strings.Builder, x, y int, box graphBox) {
	var inner strings.Builder
	fmt.Fprintf(&inner, `<rect x="%d" y="%d" width="%d" height="%d" rx="5"/><text x="%d" y="%d">%s</text>`+
		`<text class="id" x="%d" y="%d">%s</text>`, x, y, boxWidth, boxHeight, x+8, y+15, escape(shorten(box.kind, 18)),
		x+8, y+28, escape(middleOf(cmp.Or(box.text, "no id"), 15)))
	class := ""
	if box.missing {
		class = ` class="missing"`
	}
	if box.url == "" {
		fmt.Fprintf(b, "<g%s>%s</g>", class, inner.String())
		return
	}
	fmt.Fprintf(b, `<a href="%s"%s>%s</a>`, escape(box.url), class, inner.String())
}

// middleOf cuts the middle out of an id that is too long: it begins with its kind, and its end tells it from others.
func middleOf(s string, most int) string {
	r := []rune(s)
	if len(r) <= most {
		return s
	}
	tail := most / 3
	return string(r[:most-tail-1]) + "…" + string(r[len(r)-tail:])
}
