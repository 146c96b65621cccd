package gatehouse_test

import (
	"testing"
	"time"

	"gatehouse"
)

// TestWindowBounds: every instant lies in exactly one window, and windows begin where the organization's calendar says.
func TestWindowBounds(t *testing.T) {
	zone := func(name string) *time.Location {
		l, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	for _, c := range []struct {
		window gatehouse.Window
		zone   string
		at     string
		start  string
		end    string
	}{
		{gatehouse.Window{Period: gatehouse.Daily}, "UTC", "2026-11-26T12:00:00Z", "2026-11-26T00:00:00Z", "2026-11-27T00:00:00Z"},
		{gatehouse.Window{Period: gatehouse.Daily}, "Europe/Berlin", "2026-10-25T12:00:00Z", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"},
		{gatehouse.Window{Period: gatehouse.Daily}, "America/Santiago", "2026-09-06T12:00:00Z", "2026-09-06T04:00:00Z", "2026-09-07T03:00:00Z"}, // this day has no midnight
		{gatehouse.Window{Period: gatehouse.Daily}, "America/Havana", "2026-11-01T12:00:00Z", "2026-11-01T04:00:00Z", "2026-11-02T05:00:00Z"},   // this one has two
		{gatehouse.Window{Period: gatehouse.Weekly}, "UTC", "2026-11-29T23:59:59Z", "2026-11-23T00:00:00Z", "2026-11-30T00:00:00Z"},
		{gatehouse.Window{Period: gatehouse.Weekly}, "UTC", "2026-11-23T00:00:00Z", "2026-11-23T00:00:00Z", "2026-11-30T00:00:00Z"},
		{gatehouse.Window{Period: gatehouse.Monthly}, "Asia/Tokyo", "2026-11-30T15:00:00Z", "2026-11-30T15:00:00Z", "2026-12-31T15:00:00Z"},
		{gatehouse.Window{Period: gatehouse.Monthly, StartDay: 26}, "UTC", "2026-01-25T00:00:00Z", "2025-12-26T00:00:00Z", "2026-01-26T00:00:00Z"},
		{gatehouse.Window{Period: gatehouse.Monthly, StartDay: 26}, "UTC", "2026-01-26T00:00:00Z", "2026-01-26T00:00:00Z", "2026-02-26T00:00:00Z"},
		{gatehouse.Window{Period: gatehouse.Quarterly}, "UTC", "2026-11-26T00:00:00Z", "2026-10-01T00:00:00Z", "2027-01-01T00:00:00Z"},
		{gatehouse.Window{Period: gatehouse.Quarterly, StartMonth: 2}, "UTC", "2026-01-15T00:00:00Z", "2025-11-01T00:00:00Z", "2026-02-01T00:00:00Z"},
		{gatehouse.Window{Period: gatehouse.Quarterly, StartMonth: 12, StartDay: 5}, "UTC", "2026-03-04T00:00:00Z", "2025-12-05T00:00:00Z", "2026-03-05T00:00:00Z"},
	} {
		at, err := time.Parse(time.RFC3339, c.at)
		if err != nil {
			t.Fatal(err)
		}
		start, end := c.window.Bounds(gatehouse.MillisOf(at), zone(c.zone))
		if got := start.Time().Format(time.RFC3339); got != c.start {
			t.Errorf("%v in %s at %s begins %s, want %s", c.window, c.zone, c.at, got, c.start)
		}
		if got := end.Time().Format(time.RFC3339); got != c.end {
			t.Errorf("%v in %s at %s ends %s, want %s", c.window, c.zone, c.at, got, c.end)
		}
		if next, _ := c.window.Bounds(end, zone(c.zone)); next != end {
			t.Errorf("%v in %s: the window after %s begins at %d, want %d", c.window, c.zone, c.at, next, end)
		}
		if _, before := c.window.Bounds(start-1, zone(c.zone)); before != start {
			t.Errorf("%v in %s: the window before %s ends at %d, want %d", c.window, c.zone, c.at, before, start)
		}
	}
	if start, end := (gatehouse.Window{Period: gatehouse.Total}).Bounds(5, time.UTC); start != 0 || end <= 1<<62 {
		t.Errorf("total: %d to %d", start, end)
	}
}
