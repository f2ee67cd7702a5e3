package parquet

import (
	"time"

	"github.com/aws-collector/collector/outputs/parquet/internal/format"
)

// A column describes one column to readers, and writes its value of a row.
type column[Row any] struct {
	format.Field
	write func(*format.Column, *Row)
}

func envelopeColumns() []column[Envelope] {
	type row = Envelope
	return []column[row]{
		text("kind", dictionary, func(r *row) string { return r.Kind }),
		text("id", 0, func(r *row) string { return r.ID }),
		text("name", nullable, func(r *row) string { return r.Name }),
		text("state", nullable|dictionary, func(r *row) string { return r.State }),
		text("type", nullable|dictionary, func(r *row) string { return r.Type }),
		text("account", dictionary, func(r *row) string { return r.Account }),
		text("account_id", dictionary, func(r *row) string { return r.AccountID }),
		text("partition", dictionary, func(r *row) string { return r.Partition }),
		text("region", dictionary, func(r *row) string { return r.Region }),
		tags("tags", 0, func(r *row) map[string]string { return r.Tags }),
		tags("extra_tags", dictionary, func(r *row) map[string]string { return r.ExtraTags }),
		text("run", dictionary, func(r *row) string { return r.Run }),
		timestamp("collected_at", nullable, func(r *row) time.Time { return r.CollectedAt }),
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
		timestamp("first_seen", 0, func(r *row) time.Time { return r.FirstSeen }),
		timestamp("state_since", 0, func(r *row) time.Time { return r.StateSince }),
		timestamp("valid_from", 0, func(r *row) time.Time { return r.ValidFrom }),
		timestamp("valid_to", nullable, func(r *row) time.Time { return r.ValidTo }),
		text("ended", nullable|dictionary, func(r *row) string { return r.Ended }),
		timestamp("last_seen", nullable, func(r *row) time.Time { return r.LastSeen }),
	}
}

func deliveryColumns() []column[Delivery] {
	type row = Delivery
	return []column[row]{
		text("change", nullable|dictionary, func(r *row) string { return r.Change }),
		timestamp("changed_at", nullable, func(r *row) time.Time { return r.ChangedAt }),
		text("ended", nullable|dictionary, func(r *row) string { return r.Ended }),
		text("changes", nullable, func(r *row) string { return r.Changes }),
		text("target", nullable|dictionary, func(r *row) string { return r.Target }),
		{format.Field{Name: "records", Type: format.Int64, Optional: true}, func(c *format.Column, r *row) {
			if r.Records == nil {
				c.Null()
				return
			}
			c.Int64(*r.Records)
		}},
	}
}

// columnFlags are options of a column.
type columnFlags uint8

const (
	nullable   columnFlags = 1 << iota // write "" and the zero time as NULL
	dictionary                         // few distinct values: store them in a dictionary
)

func newField(name string, typ format.Type, t columnFlags) format.Field {
	return format.Field{Name: name, Type: typ, Optional: t&nullable != 0, Dictionary: t&dictionary != 0}
}

func text[Row any](name string, t columnFlags, of func(*Row) string) column[Row] {
	return column[Row]{newField(name, format.String, t), func(c *format.Column, r *Row) {
		s := of(r)
		if s == "" && t&nullable != 0 {
			c.Null()
			return
		}
		c.Text(s)
	}}
}

func timestamp[Row any](name string, t columnFlags, of func(*Row) time.Time) column[Row] {
	return column[Row]{newField(name, format.Timestamp, t), func(c *format.Column, r *Row) {
		at := of(r)
		if at.IsZero() && t&nullable != 0 {
			c.Null()
			return
		}
		c.Int64(at.UnixMicro())
	}}
}

func tags[Row any](name string, t columnFlags, of func(*Row) map[string]string) column[Row] {
	return column[Row]{newField(name, format.Map, t), func(c *format.Column, r *Row) { c.Map(of(r)) }}
}
