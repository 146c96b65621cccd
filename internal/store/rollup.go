package store

import (
	"cmp"
	"math/rand/v2"
	"slices"

	"gatehouse"
	"gatehouse/internal/store/sums"
)

// Sums is usage added up.
type Sums = sums.Sums

// The widths of sums, in milliseconds. Buckets begin at multiples of their width since 1970 in UTC.
const (
	minuteMillis = 60_000
	hourMillis   = 3_600_000
	dayMillis    = 86_400_000
)

// Sums are kept in pages (docs/adr: pages of sums). A row of rollup_pages holds sums of an organization's usage by minute, hour or day
// (width) that fall into one stretch of time (bucket, its begin): minutes into that of an hour, hours and days into their own. part
// tells pages of one stretch apart; all of them together are its sums. What one transaction wrote has one part, and page counts its
// pages.
//
// Recording adds a page of minutes. It is open: not part of the hours yet. FoldSums makes hours of what is open of the minutes, and days
// of what is open of the hours, and closes what it read in the same transaction. So the sums of any stretch of time are those of all
// pages of a width and of the open ones of the widths below, at every moment and however late usage arrives. Hours and days are kept a
// second time without the dimensions from keys on (keyless), for the reports that do not ask for them.
var insertRollupPages = insert{op: "record sums", columns: 9, sizes: oneRow,
	head: `INSERT INTO rollup_pages (organization, width, keyless, open, bucket, part, page, records, body) VALUES `}

// pageKey is where a page of sums is.
type pageKey struct {
	organization string
	width        int64
	keyless      bool
	open         bool
	bucket       int64
	part         int64
	page         int64
}

// newPart returns a number for what one transaction writes.
func newPart() int64 { return rand.Int64() }

// rollup adds usage that was not counted before, as it is stored, to the sums.
func (r *recorder) rollup(fresh []*gatehouse.Usage) error {
	type stretch struct {
		organization string
		hour         int64
	}
	builders := map[stretch]*sums.Builder{}
	var last stretch
	var to *sums.Builder
	for _, u := range fresh {
		s := stretch{u.Organization, floor(int64(u.At), hourMillis)}
		if to == nil || s != last {
			if to = builders[s]; to == nil {
				to = new(sums.Builder)
				builders[s] = to
			}
			last = s
		}
		to.Add(u, int((int64(u.At)-s.hour)/minuteMillis))
	}
	order := make([]stretch, 0, len(builders))
	for s := range builders {
		order = append(order, s)
	}
	slices.SortFunc(order, func(a, b stretch) int {
		return cmp.Or(cmp.Compare(a.organization, b.organization), cmp.Compare(a.hour, b.hour))
	})
	part := newPart()
	for _, s := range order {
		key := pageKey{organization: s.organization, width: minuteMillis, open: true, bucket: s.hour, part: part}
		pages := builders[s].Pages()
		err := insertRollupPages.rows(r, len(pages), func(args []any, i int) []any {
			key.page = int64(i)
			return appendPage(args, &key, &pages[i])
		}, nil)
		if err != nil {
			return err
		}
		r.sums++
	}
	return nil
}

func appendPage(args []any, k *pageKey, p *sums.Page) []any {
	return append(args, k.organization, k.width, truth(k.keyless), truth(k.open), k.bucket, k.part, k.page, int64(p.Records), p.Body)
}

// floor returns the largest multiple of width that is at most at.
func floor(at, width int64) int64 {
	rest := at % width
	if rest < 0 {
		rest += width
	}
	return at - rest
}
