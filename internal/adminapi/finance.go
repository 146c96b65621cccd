package adminapi

import (
	"context"
	"encoding/csv"
	"io"
	"net/url"
	"strconv"
	"strings"
	"time"

	"gatehouse"
	"gatehouse/internal/finance"
	"gatehouse/internal/store"
)

// reconcilePattern is the route of what takes longer than others.
const reconcilePattern = "POST /gatehouse/v1/reconcile"

// financeRoutes are what finance asks for: all of them are reads, with the scope of usage.
func (a *API) financeRoutes(on func(pattern, scope string, h handler)) {
	const own = "/gatehouse/v1"
	on("GET "+own+"/usage/export", usage, a.measured(a.exportUsage))
	on("GET "+own+"/chargeback", usage, a.measured(a.chargeback))
	on("GET "+own+"/forecast", usage, a.measured(a.forecast))
	on("GET "+own+"/trend", usage, a.measured(a.trend))
	on(reconcilePattern, usage, a.measured(a.reconcile))
}

// books returns the caller's books and the time zone of its months: the organization's, or the one the query names.
func (a *API) books(ctx context.Context, c *call) (*finance.Books, *time.Location, error) {
	// What has just ended is counted: the journal is in the database before it is asked.
	if err := a.cfg.Ledger.Flush(ctx); err != nil {
		return nil, nil, &gatehouse.Error{Kind: gatehouse.Unavailable, Message: "Usage cannot be read right now. Try again.", RetryAfterMillis: 1000, Err: err}
	}
	b := &finance.Books{DB: a.cfg.DB, Organization: c.who.Organization}
	if a.cfg.Price != nil {
		b.Price = a.cfg.Price(c.who.Organization)
	}
	name := c.URL.Query().Get("time_zone")
	if name == "" {
		err := a.cfg.DB.View(ctx, func(tx *store.Tx) error {
			org, err := tx.Organization(c.who.Organization)
			if err == nil {
				name = org.TimeZone
			}
			return err
		})
		if err != nil {
			return nil, nil, err
		}
	}
	zone, err := time.LoadLocation(name)
	if err != nil || name == "Local" {
		return nil, nil, gatehouse.InvalidParam("time_zone", "Invalid 'time_zone': %q is not the name of a zone, such as Europe/Vienna.", clip(name, 64))
	}
	return b, zone, nil
}

func filterOf(q url.Values) finance.Filter {
	return finance.Filter{Projects: many(q, "project_ids"), Keys: many(q, "api_key_ids"), Models: many(q, "models")}
}

// millis reads a time of a query in unix seconds.
func millis(q url.Values, name string, fallback gatehouse.Millis) (gatehouse.Millis, error) {
	n, err := integer(q, name, 0, maxTime, fallback.Seconds())
	return gatehouse.Millis(n * 1000), err
}

const dayMillis = 86_400_000

// exportUsage writes charges with FOCUS columns. Without end_time it ends with the last day, UTC, that is over: what was exported once
// stays as it is.
func (a *API) exportUsage(ctx context.Context, c *call) (any, error) {
	q := c.URL.Query()
	now := gatehouse.Millis(nowSeconds() * 1000)
	e := finance.ExportQuery{Format: finance.Format(q.Get("format")), Filter: filterOf(q)}
	if e.Format == "" {
		e.Format = finance.CSV
	}
	switch q.Get("bucket_width") {
	case "", "1d":
	case "1h":
		e.Hourly = true
	default:
		return nil, gatehouse.InvalidParam("bucket_width", "Invalid 'bucket_width': must be '1d' or '1h'.")
	}
	var err error
	if e.End, err = millis(q, "end_time", now/dayMillis*dayMillis); err != nil {
		return nil, err
	}
	if e.Start, err = millis(q, "start_time", max(e.End-30*dayMillis, 0)); err != nil {
		return nil, err
	}
	// Nothing was used in days to come: they are not looked through.
	e.End = min(e.End, max((now/dayMillis+1)*dayMillis, e.Start))
	if err := e.Check(); err != nil {
		return nil, err
	}
	b, zone, err := a.books(ctx, c)
	if err != nil {
		return nil, err
	}
	e.Zone = zone
	f := &file{contentType: "text/csv; charset=utf-8", header: map[string]string{"X-Focus-Version": finance.FocusVersion},
		write: func(ctx context.Context, w io.Writer) error { return b.Export(ctx, w, &e) }}
	if e.Format == finance.Parquet {
		f.contentType = "application/vnd.apache.parquet"
	}
	f.name = "focus-" + finance.FocusVersion + "-" + e.Start.Time().UTC().Format("20060102") + "-" + e.End.Time().UTC().Format("20060102") + "." + string(e.Format)
	return f, nil
}

// chargeLine is one charge as the API shows it.
type chargeLine struct {
	Month    string            `json:"month"` // YYYY-MM
	Groups   map[string]string `json:"groups"`
	Names    map[string]string `json:"names"`
	Requests int64             `json:"requests"`
	Unpriced int64             `json:"unpriced_requests"`
	Direct   int64             `json:"direct_nano_usd"`
	Shared   int64             `json:"shared_nano_usd"`
	Total    int64             `json:"total_nano_usd"`
	Percent  float64           `json:"percent"` // of its month
}

type chargebackAnswer struct {
	Object    string       `json:"object"`
	TimeZone  string       `json:"time_zone"`
	StartTime int64        `json:"start_time"`
	EndTime   int64        `json:"end_time"`
	By        []string     `json:"by"`
	Total     int64        `json:"total_nano_usd"`
	Unpriced  int64        `json:"unpriced_requests"`
	Data      []chargeLine `json:"data"`
}

// chargeback divides the costs of months. Without times it is the running month, with month=2026-11 that one.
func (a *API) chargeback(ctx context.Context, c *call) (any, error) {
	q := c.URL.Query()
	format := q.Get("format")
	if format != "" && format != "json" && format != "csv" {
		return nil, gatehouse.InvalidParam("format", "Invalid 'format': must be 'json' or 'csv'.")
	}
	b, zone, err := a.books(ctx, c)
	if err != nil {
		return nil, err
	}
	in := gatehouse.Millis(nowSeconds() * 1000)
	if text := q.Get("month"); text != "" {
		t, err := time.ParseInLocation("2006-01", text, zone)
		if err != nil || t.Year() < 1970 {
			return nil, gatehouse.InvalidParam("month", "Invalid 'month': must be YYYY-MM.")
		}
		in = gatehouse.MillisOf(t.AddDate(0, 0, 14))
	}
	start, end := gatehouse.Window{Period: gatehouse.Monthly}.Bounds(in, zone)
	cq := finance.ChargebackQuery{Zone: zone, By: fields(q, "by"), Filter: filterOf(q)}
	if cq.Start, err = millis(q, "start_time", start); err != nil {
		return nil, err
	}
	if cq.End, err = millis(q, "end_time", end); err != nil {
		return nil, err
	}
	if len(cq.By) == 0 {
		cq.By = []string{finance.ByCostCenter, finance.ByProject}
	}
	switch q.Get("unlabelled") {
	case "", "show":
	case "spread":
		cq.Spread = true
	default:
		return nil, gatehouse.InvalidParam("unlabelled", "Invalid 'unlabelled': must be 'show' or 'spread'.")
	}
	charges, err := b.Chargeback(ctx, &cq)
	if err != nil {
		return nil, err
	}
	answer := chargebackAnswer{Object: "gatehouse.chargeback", TimeZone: zone.String(), StartTime: cq.Start.Seconds(), EndTime: cq.End.Seconds(), By: cq.By, Data: []chargeLine{}}
	months := map[gatehouse.Millis]gatehouse.NanoUSD{}
	for i := range charges {
		months[charges[i].Month] += charges[i].Total()
	}
	for i := range charges {
		ch := &charges[i]
		l := chargeLine{Month: ch.Month.Time().In(zone).Format("2006-01"), Groups: map[string]string{}, Names: map[string]string{}, Requests: ch.Requests, Unpriced: ch.Unpriced,
			Direct: int64(ch.Direct), Shared: int64(ch.Shared), Total: int64(ch.Total())}
		for j, by := range cq.By {
			l.Groups[by], l.Names[by] = ch.Groups[j], ch.Names[j]
		}
		if sum := months[ch.Month]; sum != 0 {
			l.Percent = float64(int64(float64(ch.Total())/float64(sum)*10_000+0.5)) / 100
		}
		answer.Total += l.Total
		answer.Unpriced += l.Unpriced
		answer.Data = append(answer.Data, l)
	}
	if format == "csv" {
		return &file{contentType: "text/csv; charset=utf-8", name: "chargeback.csv", write: func(_ context.Context, w io.Writer) error { return chargebackCSV(w, &answer) }}, nil
	}
	return &answer, nil
}

// chargebackCSV writes charges as a table: a column for each group by id and by name, and amounts in USD, exactly.
func chargebackCSV(w io.Writer, a *chargebackAnswer) error {
	out := csv.NewWriter(w)
	header := []string{"month"}
	for _, by := range a.By {
		header = append(header, by, by+"_name")
	}
	if err := out.Write(append(header, "requests", "unpriced_requests", "direct_usd", "shared_usd", "total_usd")); err != nil {
		return err
	}
	for i := range a.Data {
		l := &a.Data[i]
		row := []string{l.Month}
		for _, by := range a.By {
			row = append(row, finance.Defused(l.Groups[by]), finance.Defused(l.Names[by]))
		}
		row = append(row, strconv.FormatInt(l.Requests, 10), strconv.FormatInt(l.Unpriced, 10), finance.USD(gatehouse.NanoUSD(l.Direct)), finance.USD(gatehouse.NanoUSD(l.Shared)),
			finance.USD(gatehouse.NanoUSD(l.Total)))
		if err := out.Write(row); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

// fields reads a list of a query whose values may also stand behind each other with commas.
func fields(q url.Values, name string) (out []string) {
	for _, v := range many(q, name) {
		for f := range strings.SplitSeq(v, ",") {
			if f = strings.TrimSpace(f); f != "" {
				out = append(out, f)
			}
		}
	}
	return out
}

type forecastLine struct {
	ID       string `json:"id,omitempty"`
	Name     string `json:"name,omitempty"`
	Spent    int64  `json:"spent_nano_usd"`
	Expected int64  `json:"expected_nano_usd"`
	Low      int64  `json:"low_nano_usd"`
	High     int64  `json:"high_nano_usd"`
	Unpriced int64  `json:"unpriced_requests"`
	Days     int    `json:"days_of_history"`
	Seasonal bool   `json:"seasonal"`
	Trend    bool   `json:"trend"`
	Note     string `json:"note,omitempty"`
}

func showForecast(f *finance.Forecast) forecastLine {
	return forecastLine{f.ID, f.Name, int64(f.Spent), int64(f.Expected), int64(f.Low), int64(f.High), f.Unpriced, f.Days, f.Seasonal, f.Trend, f.Note}
}

// forecast says what the running month will have cost.
func (a *API) forecast(ctx context.Context, c *call) (any, error) {
	q := c.URL.Query()
	b, zone, err := a.books(ctx, c)
	if err != nil {
		return nil, err
	}
	fq := finance.ForecastQuery{Now: gatehouse.Millis(nowSeconds() * 1000), Zone: zone, By: q.Get("group_by"), Level: 0.8, Filter: filterOf(q)}
	if text := q.Get("interval"); text != "" {
		if fq.Level, err = strconv.ParseFloat(text, 64); err != nil || fq.Level == 0 {
			return nil, gatehouse.InvalidParam("interval", "Invalid 'interval': must be between 0.5 and 0.99.")
		}
	}
	forecasts, err := b.Forecast(ctx, &fq)
	if err != nil {
		return nil, err
	}
	answer := struct {
		Object    string         `json:"object"`
		TimeZone  string         `json:"time_zone"`
		StartTime int64          `json:"start_time"`
		EndTime   int64          `json:"end_time"`
		Interval  float64        `json:"interval"`
		Total     forecastLine   `json:"total"`
		Data      []forecastLine `json:"data"`
	}{"gatehouse.forecast", zone.String(), forecasts[0].Start.Seconds(), forecasts[0].End.Seconds(), fq.Level, showForecast(&forecasts[0]), []forecastLine{}}
	for i := range forecasts[1:] {
		answer.Data = append(answer.Data, showForecast(&forecasts[i+1]))
	}
	return answer, nil
}

type trendStep struct {
	StartTime int64    `json:"start_time"`
	EndTime   int64    `json:"end_time"`
	Cost      int64    `json:"cost_nano_usd"`
	Requests  int64    `json:"requests"`
	Complete  bool     `json:"complete"`
	Change    *int64   `json:"change_nano_usd"`
	Percent   *float64 `json:"change_percent"`
}

type trendMover struct {
	By     string `json:"by"`
	ID     string `json:"id"`
	Name   string `json:"name"`
	Before int64  `json:"before_nano_usd"`
	After  int64  `json:"after_nano_usd"`
	Change int64  `json:"change_nano_usd"`
}

// trend shows how costs moved, and who moved them.
func (a *API) trend(ctx context.Context, c *call) (any, error) {
	q := c.URL.Query()
	b, zone, err := a.books(ctx, c)
	if err != nil {
		return nil, err
	}
	count, err := integer(q, "count", 1, 60, 14)
	if err != nil {
		return nil, err
	}
	tq := finance.TrendQuery{Now: gatehouse.Millis(nowSeconds() * 1000), Zone: zone, Period: gatehouse.Period(q.Get("period")), Count: int(count), Filter: filterOf(q)}
	if tq.Period == "" {
		tq.Period = gatehouse.Daily
	}
	steps, moved, err := b.Trend(ctx, &tq)
	if err != nil {
		return nil, err
	}
	answer := struct {
		Object   string       `json:"object"`
		TimeZone string       `json:"time_zone"`
		Period   string       `json:"period"`
		Data     []trendStep  `json:"data"`
		Movers   []trendMover `json:"movers"`
	}{"gatehouse.trend", zone.String(), string(tq.Period), []trendStep{}, []trendMover{}}
	for i, s := range steps {
		out := trendStep{StartTime: s.Start.Seconds(), EndTime: s.End.Seconds(), Cost: int64(s.Cost), Requests: s.Requests, Complete: s.Complete}
		if i > 0 && s.Complete { // what has just begun is no change
			change := int64(s.Cost - steps[i-1].Cost)
			out.Change = &change
			if was := steps[i-1].Cost; was != 0 {
				percent := float64(int64(float64(change)/float64(was)*1000)) / 10
				out.Percent = &percent
			}
		}
		answer.Data = append(answer.Data, out)
	}
	for i := range moved {
		m := &moved[i]
		answer.Movers = append(answer.Movers, trendMover{m.By, m.ID, m.Name, int64(m.Before), int64(m.After), int64(m.Change())})
	}
	return answer, nil
}
