package client

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"gatehouse"
)

// fileTimeout bounds what takes long: files that the server makes, and bills that it reads.
const fileTimeout = 30 * time.Minute

// csvBody is a file that is sent as it is read.
type csvBody struct{ io.Reader }

// ExportQuery says what to export.
type ExportQuery struct {
	Format                 string    // csv or parquet
	Since, Until           time.Time // zero: the 30 days before Until, up to the end of yesterday, UTC
	Hourly                 bool
	Projects, Keys, Models []string // ids and names; empty: all
	TimeZone               string   // of the billing periods; empty: the organization's
}

// Export writes usage and costs as a file with FOCUS columns. An error may come after a part of it was written: the part is not the
// whole.
func (c *Client) Export(ctx context.Context, e ExportQuery, w io.Writer) error {
	q := url.Values{"format": {e.Format}, "project_ids": e.Projects, "api_key_ids": e.Keys, "models": e.Models}
	if e.Hourly {
		q.Set("bucket_width", "1h")
	}
	since(q, e.Since, e.Until, e.TimeZone)
	return c.fetch(ctx, request{method: http.MethodGet, path: []string{"gatehouse", "v1", "usage", "export"}, query: q}, w)
}

func since(q url.Values, from, until time.Time, zone string) {
	if !from.IsZero() {
		q.Set("start_time", strconv.FormatInt(from.Unix(), 10))
	}
	if !until.IsZero() {
		q.Set("end_time", strconv.FormatInt(until.Unix(), 10))
	}
	if zone != "" {
		q.Set("time_zone", zone)
	}
}

// fetch makes one request and copies the body of a successful answer.
func (c *Client) fetch(ctx context.Context, r request, w io.Writer) error {
	ctx, stop := context.WithTimeout(ctx, fileTimeout)
	defer stop()
	req, err := c.build(ctx, r)
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }() // it was read, or nothing more of it matters
	if resp.StatusCode/100 != 2 {
		body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
		if err != nil {
			return fmt.Errorf("read the server's answer: %w", err)
		}
		return refusal(resp, body)
	}
	if _, err := io.Copy(w, resp.Body); err != nil {
		return fmt.Errorf("the file broke off: %w", err)
	}
	return nil
}

// ChargebackQuery says whose costs to charge to whom.
type ChargebackQuery struct {
	Month        string    // YYYY-MM; empty: the running month, or Since to Until
	Since, Until time.Time // zero: the month's
	By           []string  // project, key, user, model, cost_center, label:NAME; empty: cost_center and project
	Spread       bool      // divide what has no label among what has
	Projects     []string
	TimeZone     string // of the months; empty: the organization's
}

func (q *ChargebackQuery) values() url.Values {
	v := url.Values{"by": q.By, "project_ids": q.Projects}
	if q.Month != "" {
		v.Set("month", q.Month)
	}
	if q.Spread {
		v.Set("unlabelled", "spread")
	}
	since(v, q.Since, q.Until, q.TimeZone)
	return v
}

// Chargeback is the costs of months, divided. The totals of its charges add up to the costs exactly.
type Chargeback struct {
	Answer
	TimeZone string            `json:"time_zone"`
	By       []string          `json:"by"`
	Total    gatehouse.NanoUSD `json:"total_nano_usd"`
	Unpriced int64             `json:"unpriced_requests"`
	Charges  []Charge          `json:"data"`
}

// Charge is what one group is charged for one month.
type Charge struct {
	Month    string            `json:"month"`
	Groups   map[string]string `json:"groups"`
	Names    map[string]string `json:"names"`
	Requests int64             `json:"requests"`
	Unpriced int64             `json:"unpriced_requests"`
	Direct   gatehouse.NanoUSD `json:"direct_nano_usd"`
	Shared   gatehouse.NanoUSD `json:"shared_nano_usd"`
	Total    gatehouse.NanoUSD `json:"total_nano_usd"`
	Percent  float64           `json:"percent"`
}

// Chargeback divides costs.
func (c *Client) Chargeback(ctx context.Context, q ChargebackQuery) (*Chargeback, error) {
	return do[Chargeback](ctx, c, request{method: http.MethodGet, path: []string{"gatehouse", "v1", "chargeback"}, query: q.values()})
}

// ChargebackCSV writes the same as a file.
func (c *Client) ChargebackCSV(ctx context.Context, q ChargebackQuery, w io.Writer) error {
	v := q.values()
	v.Set("format", "csv")
	return c.fetch(ctx, request{method: http.MethodGet, path: []string{"gatehouse", "v1", "chargeback"}, query: v}, w)
}

// Forecast is what the running month will have cost.
type Forecast struct {
	Answer
	TimeZone  string         `json:"time_zone"`
	StartTime int64          `json:"start_time"`
	EndTime   int64          `json:"end_time"`
	Interval  float64        `json:"interval"`
	Total     ForecastLine   `json:"total"`
	Lines     []ForecastLine `json:"data"`
}

// ForecastLine is the forecast of everything, or of one project, model or key.
type ForecastLine struct {
	ID       string            `json:"id"`
	Name     string            `json:"name"`
	Spent    gatehouse.NanoUSD `json:"spent_nano_usd"`
	Expected gatehouse.NanoUSD `json:"expected_nano_usd"`
	Low      gatehouse.NanoUSD `json:"low_nano_usd"`
	High     gatehouse.NanoUSD `json:"high_nano_usd"`
	Unpriced int64             `json:"unpriced_requests"`
	Note     string            `json:"note"`
}

// ForecastQuery says what to forecast.
type ForecastQuery struct {
	By       string  // "", project, model or key
	Interval float64 // 0: 0.8
	Projects []string
	TimeZone string
}

// Forecast returns the forecast of the running month.
func (c *Client) Forecast(ctx context.Context, f ForecastQuery) (*Forecast, error) {
	q := url.Values{"project_ids": f.Projects}
	if f.By != "" {
		q.Set("group_by", f.By)
	}
	if f.Interval != 0 {
		q.Set("interval", strconv.FormatFloat(f.Interval, 'g', -1, 64))
	}
	since(q, time.Time{}, time.Time{}, f.TimeZone)
	return do[Forecast](ctx, c, request{method: http.MethodGet, path: []string{"gatehouse", "v1", "forecast"}, query: q})
}

// Trend is how costs moved.
type Trend struct {
	Answer
	TimeZone string       `json:"time_zone"`
	Period   string       `json:"period"`
	Steps    []TrendStep  `json:"data"`
	Movers   []TrendMover `json:"movers"`
}

// TrendStep is one day, week or month. Change is nil for the first and for one that is not over.
type TrendStep struct {
	StartTime int64              `json:"start_time"`
	EndTime   int64              `json:"end_time"`
	Cost      gatehouse.NanoUSD  `json:"cost_nano_usd"`
	Requests  int64              `json:"requests"`
	Complete  bool               `json:"complete"`
	Change    *gatehouse.NanoUSD `json:"change_nano_usd"`
	Percent   *float64           `json:"change_percent"`
}

// TrendMover is somebody whose costs changed from the last period but one to the last that is over.
type TrendMover struct {
	By     string            `json:"by"`
	ID     string            `json:"id"`
	Name   string            `json:"name"`
	Before gatehouse.NanoUSD `json:"before_nano_usd"`
	After  gatehouse.NanoUSD `json:"after_nano_usd"`
	Change gatehouse.NanoUSD `json:"change_nano_usd"`
}

// Trend returns the costs of the last count days, weeks or months.
func (c *Client) Trend(ctx context.Context, period string, count int, projects []string, zone string) (*Trend, error) {
	q := url.Values{"period": {period}, "count": {strconv.Itoa(count)}, "project_ids": projects}
	since(q, time.Time{}, time.Time{}, zone)
	return do[Trend](ctx, c, request{method: http.MethodGet, path: []string{"gatehouse", "v1", "trend"}, query: q})
}

// ReconcileQuery says which bill to compare with our books.
type ReconcileQuery struct {
	Upstream     string    // whose account the bill is for; for Azure, empty: every upstream of Azure
	AdminKey     string    // OpenAI: a secret reference of the server, never a secret
	Since, Until time.Time // midnights, UTC
	Tolerance    float64
	Projects     []string          // OpenAI: the provider's projects that Gatehouse's credentials are of
	Models       map[string]string // what a model of the bill is called here
	Resource     string            // Azure: a part of the resource's id
}

// Reconciliation is a bill beside our books: the variance, the provider's number less ours, by cause.
type Reconciliation struct {
	Answer
	Provider  string            `json:"provider"`
	Upstreams []string          `json:"upstreams"`
	StartTime int64             `json:"start_time"`
	EndTime   int64             `json:"end_time"`
	Ours      gatehouse.NanoUSD `json:"our_nano_usd"`
	Theirs    gatehouse.NanoUSD `json:"provider_nano_usd"`
	Variance  gatehouse.NanoUSD `json:"variance_nano_usd"`
	Tolerance float64           `json:"tolerance"`
	Within    bool              `json:"within_tolerance"`
	Causes    []struct {
		Cause  string            `json:"cause"`
		Amount gatehouse.NanoUSD `json:"amount_nano_usd"`
	} `json:"causes"`
	Lines []struct {
		Cause      string            `json:"cause"`
		Model      string            `json:"model"`
		Meter      string            `json:"meter"`
		Amount     gatehouse.NanoUSD `json:"amount_nano_usd"`
		Ours       int64             `json:"our_quantity"`
		Theirs     int64             `json:"provider_quantity"`
		OurPrice   string            `json:"our_usd_per_million"`
		TheirPrice string            `json:"provider_usd_per_million"`
		Text       string            `json:"provider_line"`
		Project    string            `json:"provider_project"`
	} `json:"lines"`
	Hints []string `json:"hints"`
}

// Reconcile has the server read OpenAI's own numbers and compares them.
func (c *Client) Reconcile(ctx context.Context, r ReconcileQuery) (*Reconciliation, error) {
	slow := *c
	slow.timeout = fileTimeout
	return do[Reconciliation](ctx, &slow, request{method: http.MethodPost, path: []string{"gatehouse", "v1", "reconcile"}, body: map[string]any{
		"upstream": r.Upstream, "admin_key": r.AdminKey, "start_time": r.Since.Unix(), "end_time": r.Until.Unix(), "tolerance": r.Tolerance,
		"provider_projects": append([]string{}, r.Projects...), "models": r.Models}})
}

// ReconcileAzure compares a cost export of Azure, which is sent as it is read.
func (c *Client) ReconcileAzure(ctx context.Context, r ReconcileQuery, export io.Reader) (*Reconciliation, error) {
	q := url.Values{"tolerance": {strconv.FormatFloat(r.Tolerance, 'g', -1, 64)}, "upstream": {r.Upstream}, "resource": {r.Resource}}
	for theirs, ours := range r.Models {
		q.Add("models", theirs+"="+ours)
	}
	since(q, r.Since, r.Until, "")
	slow := *c
	slow.timeout = fileTimeout
	return do[Reconciliation](ctx, &slow, request{method: http.MethodPost, path: []string{"gatehouse", "v1", "reconcile"}, query: q, body: csvBody{export}})
}
