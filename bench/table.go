package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// spread is the distribution of a figure over several runs.
type spread struct{ least, median, most float64 }

func spreadOf[T any](of []T, figure func(T) float64) spread {
	var all []float64
	for _, x := range of {
		all = append(all, figure(x))
	}
	if len(all) == 0 {
		return spread{}
	}
	slices.Sort(all)
	mid := all[len(all)/2]
	if len(all)%2 == 0 {
		mid = (all[len(all)/2-1] + mid) / 2
	}
	return spread{all[0], mid, all[len(all)-1]}
}

// percentile returns the smallest value that p percent of them do not exceed.
func percentile(of []float64, p int) float64 {
	if len(of) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(of))
	return sorted[max((len(sorted)*p+99)/100, 1)-1]
}

// format returns the median, and the extremes if they differ after rounding.
func (s spread) format(digits int) string {
	least, mid, most := formatNumber(s.least, digits), formatNumber(s.median, digits), formatNumber(s.most, digits)
	if least == most {
		return mid
	}
	return fmt.Sprintf("%s (%s–%s)", mid, least, most)
}

// formatNumber formats a number with commas between thousands.
func formatNumber(f float64, digits int) string {
	s := strconv.FormatFloat(f, 'f', digits, 64)
	whole, part, _ := strings.Cut(s, ".")
	for i := len(whole) - 3; i > 0 && whole[i-1] != '-'; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if part != "" {
		return whole + "." + part
	}
	return whole
}

func formatCount[T int | int64](n T) string { return formatNumber(float64(n), 0) }

func seconds(d time.Duration) float64 { return d.Seconds() }

func mebibytes(n int64) float64 { return float64(n) / (1 << 20) }

// A table is printed as aligned Markdown.
type table struct{ rows [][]string }

func newTable(head ...string) *table { return &table{[][]string{head}} }

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

func (t *table) print(w io.Writer) {
	width := make([]int, len(t.rows[0]))
	for _, row := range t.rows {
		for i, c := range row {
			width[i] = max(width[i], utf8.RuneCountInString(c), 3)
		}
	}
	for n, row := range t.rows {
		for i, c := range row {
			fill := strings.Repeat(" ", width[i]-utf8.RuneCountInString(c))
			if i == 0 {
				fmt.Fprintf(w, "| %s%s ", c, fill)
			} else {
				fmt.Fprintf(w, "| %s%s ", fill, c)
			}
		}
		fmt.Fprintln(w, "|")
		if n > 0 {
			continue
		}
		for i := range row {
			rule := strings.Repeat("-", width[i])
			if i > 0 {
				rule = rule[1:] + ":"
			}
			fmt.Fprintf(w, "| %s ", rule)
		}
		fmt.Fprintln(w, "|")
	}
	fmt.Fprintln(w)
}

// formatRatio formats a ÷ b.
func formatRatio(a, b float64) string { return formatNumber(a/cmp.Or(b, 1e-9), 1) + "×" }
