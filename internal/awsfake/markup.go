package awsfake

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
)

// rewriteMarkup rewrites a document in legal markup that AWS does not use: text as CDATA, as character references or
// interrupted by comments; spaces in tags, attributes, processing instructions, empty elements with an end tag. If
// unknown is set, it leaves the text unchanged and adds members that no SDK knows to every item.
func rewriteMarkup(doc []byte, unknown bool) ([]byte, error) {
	d := xml.NewDecoder(bytes.NewReader(doc))
	var b bytes.Buffer
	n := 0
	for {
		tok, err := d.RawToken()
		if err == io.EOF {
			return b.Bytes(), nil
		}
		if err != nil {
			return nil, fmt.Errorf("awsfake: parse rendered document: %w", err)
		}
		switch t := tok.(type) {
		case xml.ProcInst:
			fmt.Fprintf(&b, "<?%s %s?>", t.Target, t.Inst)
		case xml.StartElement:
			b.WriteString("<" + t.Name.Local)
			for _, at := range t.Attr {
				fmt.Fprintf(&b, " %s=\"%s\"", at.Name.Local, at.Value)
			}
			if !unknown && t.Name.Local != "item" && len(t.Attr) == 0 {
				b.WriteString("\n  kind='a &gt; b' ")
			}
			b.WriteByte('>')
			if unknown && t.Name.Local == "item" {
				b.WriteString("<memberOf2031><deep>new &amp; nested</deep>" +
					"<listSet><item>1</item><item>2</item></listSet></memberOf2031><emptyOf2031/>")
			}
		case xml.EndElement:
			b.WriteString("</" + t.Name.Local + ">")
			if !unknown {
				b.WriteString("<!-- after <" + t.Name.Local + "> -->")
			}
		case xml.CharData:
			if unknown || len(bytes.TrimSpace(t)) == 0 {
				b.Write(appendEscaped(nil, string(t)))
				continue
			}
			n++
			writeUnusualText(&b, t, n%4)
		}
	}
}

// writeUnusualText writes a text in one of four forms.
func writeUnusualText(b *bytes.Buffer, t []byte, form int) {
	cdata := func(p []byte) {
		b.WriteString("<![CDATA[")
		b.Write(bytes.ReplaceAll(p, []byte("]]>"), []byte("]]]]><![CDATA[>")))
		b.WriteString("]]>")
	}
	half := 0
	for i := range string(t) { // a boundary between characters
		if i <= len(t)/2 {
			half = i
		}
	}
	switch form {
	case 0:
		cdata(t)
	case 1:
		for _, r := range string(t) {
			fmt.Fprintf(b, "&#x%x;", r)
		}
	case 2:
		b.Write(appendEscaped(nil, string(t[:half])))
		b.WriteString("<!-- in the middle -->")
		b.Write(appendEscaped(nil, string(t[half:])))
	default:
		b.Write(appendEscaped(nil, string(t[:half])))
		cdata(t[half:])
	}
}
