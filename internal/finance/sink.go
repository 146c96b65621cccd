package finance

import (
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"gatehouse"
	"gatehouse/internal/finance/parquet"
)

// sink is a file that is being written.
type sink interface {
	row(cells []cell) error
	close() error
}

// csvSink writes RFC 4180 with \n at line ends, UTF-8 and no byte order mark. Nulls are empty.
type csvSink struct {
	w      *csv.Writer
	record []string
}

func newCSV(w io.Writer) (*csvSink, error) {
	s := &csvSink{w: csv.NewWriter(w), record: make([]string, len(columns))}
	for i := range columns {
		s.record[i] = columns[i].Name
	}
	return s, s.w.Write(s.record)
}

func (s *csvSink) row(cells []cell) error {
	for i := range cells {
		s.record[i] = format(&columns[i].Column, &cells[i])
	}
	return s.w.Write(s.record)
}

func (s *csvSink) close() error {
	s.w.Flush()
	return s.w.Error()
}

// format writes a cell as CSV has it: times in ISO 8601, decimals exactly and without needless zeros.
func format(c *parquet.Column, v *cell) string {
	switch {
	case v.null:
		return ""
	case c.Kind == parquet.String:
		return Defused(v.text)
	case c.Kind == parquet.Timestamp:
		return time.UnixMilli(v.n).UTC().Format(time.RFC3339)
	case c.Kind == parquet.Decimal:
		return decimal(v.n, c.Scale)
	}
	return strconv.FormatInt(v.n, 10)
}

// Defused returns a text that no spreadsheet takes for a formula: one that begins with =, +, -, @, a tab, a line end or a NUL, also
// after spaces or in their full-width forms, gets an apostrophe before it. What programs wrote and people named is free text, and a
// spreadsheet runs what looks like a formula.
func Defused(s string) string {
	switch first := strings.TrimLeft(s, " \u00a0\u3000\ufeff"); {
	case s == "":
		return s
	case first == "" || strings.ContainsAny(s[:1], "\t\r\n\x00"):
		return "'" + s
	default:
		for _, bad := range []string{"=", "+", "-", "@", "\t", "\r", "\n", "\x00", "＝", "＋", "－", "＠"} {
			if strings.HasPrefix(first, bad) {
				return "'" + s
			}
		}
	}
	return s
}

// decimal writes n / 10^scale exactly.
func decimal(n int64, scale int) string {
	if scale == 0 {
		return strconv.FormatInt(n, 10)
	}
	sign := ""
	u := uint64(n)
	if n < 0 {
		sign, u = "-", -u
	}
	digits := fmt.Sprintf("%0*d", scale+1, u)
	whole, frac := digits[:len(digits)-scale], strings.TrimRight(digits[len(digits)-scale:], "0")
	if frac == "" {
		return sign + whole
	}
	return sign + whole + "." + frac
}

// USD writes an amount exactly, without needless zeros.
func USD(n gatehouse.NanoUSD) string { return decimal(int64(n), moneyScale) }

// parquetSink writes Parquet.
type parquetSink struct{ w *parquet.Writer }

func newParquet(w io.Writer) parquetSink {
	described := make([]parquet.Column, len(columns))
	for i := range columns {
		described[i] = columns[i].Column
	}
	return parquetSink{parquet.NewWriter(w, described, [][2]string{{"FocusVersion", FocusVersion}, {"DataGenerator", "Gatehouse"}})}
}

func (s parquetSink) row(cells []cell) error {
	for i := range cells {
		switch {
		case cells[i].null:
			s.w.Null()
		case columns[i].Kind == parquet.String:
			s.w.String(cells[i].text)
		default:
			s.w.Int64(cells[i].n)
		}
	}
	return s.w.EndRow()
}

func (s parquetSink) close() error { return s.w.Close() }
