package parquet

import (
	"time"

	"github.com/aws-collector/collector/outputs/parquet/internal/format"
)

// A column is what a reader sees of it, and how a row is written to it.
type column[Row any] struct {
	format.Field
	write func(*format.Column, *Row)
}

func envelopeColumns() []column[Envelope] {
	type row = Envelope
	return []column[row]{
		text("kind", repeats, func(r *row) string { return r.Kind }),
		text("id", 0, func(r *row) string { return r.ID }),
		text("name", nullable, func(r *row) string { return r.Name }),
		text("state", nullable|repeats, func(r *row) string { return r.State }),
		text("type", nullable|repeats, func(r *row) string { return r.Type }),
		text("account", repeats, func(r *row) string { return r.Account }),
		text("account_id", repeats, func(r *row) string { return r.AccountID }),
		text("partition", repeats, func(r *row) string { return r.Partition }),
		text("region", repeats, func(r *row) string { return r.Region }),
		tags("tags", 0, func(r *row) map[string]string { return r.Tags }),
		tags("extra_tags", repeats, func(r *row) map[string]string { return r.ExtraTags }),
		text("run", repeats, func(r *row) string { return r.Run }),
		instant("collected_at", nullable, func(r *row) time.Time { return r.CollectedAt }),
		{format.Field{Name: "data", Type: format.JSON}, func(c *format.Column, r *row) {
			if r.Data == nil {
				c.JSON([]byte("null"))
				return
			}
			c.JSON(r.Data)
		}},
	}
}

func versionColumns() []column[Version] {
	type row = Version
	return []column[row]{
		instant("first_seen", 0, func(r *row) time.Time { return r.FirstSeen }),
		instant("state_since", 0, func(r *row) time.Time { return r.StateSince }),
		instant("valid_from", 0, func(r *row) time.Time { return r.ValidFrom }),
		instant("valid_to", nullable, func(r *row) time.Time { return r.ValidTo }),
		text("ended", nullable|repeats, func(r *row) string { return r.Ended }),
		instant("last_seen", nullable, func(r *row) time.Time { return r.LastSeen }),
	}
}

func deliveryColumns() []column[Delivery] {
	type row = Delivery
	return []column[row]{
		text("change", nullable|repeats, func(r *row) string { return r.Change }),
		instant("changed_at", nullable, func(r *row) time.Time { return r.ChangedAt }),
		text("ended", nullable|repeats, func(r *row) string { return r.Ended }),
		text("changes", nullable, func(r *row) string { return r.Changes }),
		text("target", nullable|repeats, func(r *row) string { return r.Target }),
		{format.Field{Name: "records", Type: format.Int64, Optional: true}, func(c *format.Column, r *row) {
			if r.Records == nil {
				c.Null()
				return
			}
			c.Int64(*r.Records)
		}},
	}
}

// A trait of a column.
type trait uint8

const (
	nullable trait = 1 << iota // "", or the zero time, is NULL
	repeats                    // few values are many rows': they are in a dictionary
)

func field(name string, typ format.Type, t trait) format.Field {
	return format.Field{Name: name, Type: typ, Optional: t&nullable != 0, Dictionary: t&repeats != 0}
}

func text[Row any](name string, t trait, of func(*Row) string) column[Row] {
	return column[Row]{field(name, format.String, t), func(c *format.Column, r *Row) {
		s := of(r)
		if s == "" && t&nullable != 0 {
			c.Null()
			return
		}
		c.Text(s)
	}}
}

func instant[Row any](name string, t trait, of func(*Row) time.Time) column[Row] {
	return column[Row]{field(name, format.Timestamp, t), func(c *format.Column, r *Row) {
		at := of(r)
		if at.IsZero() && t&nullable != 0 {
			c.Null()
			return
		}
		c.Int64(at.UnixMicro())
	}}
}

func tags[Row any](name string, t trait, of func(*Row) map[string]string) column[Row] {
	return column[Row]{field(name, format.Map, t), func(c *format.Column, r *Row) { c.Map(of(r)) }}
}
