package finance

import (
	"encoding/json"
	"net/url"
	"strings"
	"time"

	"gatehouse"
	"gatehouse/internal/finance/parquet"
)

// FocusVersion is the version of the FinOps Open Cost and Usage Specification whose columns an export has.
const FocusVersion = "1.2"

// The scales of the decimals: costs and unit prices in nano-USD, priced quantities in millionths of a pricing unit.
const (
	moneyScale    = 9
	quantityScale = 6
)

// line is one charge: one meter of one group in one stretch of time.
type line struct {
	*Row
	Share
	org          *gatehouse.Organization
	project      *gatehouse.Project
	key          *gatehouse.Key
	upstream     *gatehouse.Upstream
	provider     string
	model        string // as it is priced
	labels       map[string]string
	first        bool // of its group: it alone counts the group's requests
	period, next gatehouse.Millis
}

// cell is one value: text, or a number of what the column counts in.
type cell struct {
	text string
	n    int64
	null bool
}

func text(s string) cell {
	if s == "" {
		return cell{null: true} // FOCUS has nulls and no empty texts
	}
	return cell{text: s}
}

func number(n int64) cell { return cell{n: n} }

func money(n gatehouse.NanoUSD) cell { return cell{n: int64(n)} }

func truth(b bool) cell {
	if b {
		return cell{text: "true"}
	}
	return cell{text: "false"}
}

type column struct {
	parquet.Column
	of func(*line) cell
}

func textColumn(name string, of func(*line) string) column {
	return column{parquet.Column{Name: name, Kind: parquet.String}, func(l *line) cell { return text(of(l)) }}
}

func fixed(name, value string) column {
	return textColumn(name, func(*line) string { return value })
}

func costColumn(name string) column {
	return column{parquet.Column{Name: name, Kind: parquet.Decimal, Scale: moneyScale, Required: true}, func(l *line) cell { return money(l.Cost()) }}
}

func priceColumn(name string) column {
	return column{parquet.Column{Name: name, Kind: parquet.Decimal, Scale: moneyScale}, func(l *line) cell {
		if l.UnitPrice == 0 {
			return cell{null: true}
		}
		return money(l.UnitPrice)
	}}
}

func timeColumn(name string, of func(*line) gatehouse.Millis) column {
	return column{parquet.Column{Name: name, Kind: parquet.Timestamp, Required: true}, func(l *line) cell { return number(int64(of(l))) }}
}

func countColumn(name string, of func(*line) int64) column {
	return column{parquet.Column{Name: name, Kind: parquet.Int64, Required: true}, func(l *line) cell { return number(of(l)) }}
}

// Cost is the charge's, not its whole group's.
func (l *line) Cost() gatehouse.NanoUSD { return l.Share.Cost }

// columns are the columns of an export, FOCUS's in alphabetical order and then our own, which begin with x_. What Gatehouse has no
// notion of (availability zones, commitment discounts, capacity reservations, a second currency) has no column.
var columns = []column{
	costColumn("BilledCost"),
	textColumn("BillingAccountId", func(l *line) string { return l.org.ID }),
	textColumn("BillingAccountName", func(l *line) string { return l.org.Name }),
	fixed("BillingAccountType", "Organization"),
	fixed("BillingCurrency", "USD"),
	timeColumn("BillingPeriodEnd", func(l *line) gatehouse.Millis { return l.next }),
	timeColumn("BillingPeriodStart", func(l *line) gatehouse.Millis { return l.period }),
	fixed("ChargeCategory", "Usage"),
	textColumn("ChargeClass", func(*line) string { return "" }),
	textColumn("ChargeDescription", (*line).description),
	fixed("ChargeFrequency", "Usage-Based"),
	timeColumn("ChargePeriodEnd", func(l *line) gatehouse.Millis { return l.End }),
	timeColumn("ChargePeriodStart", func(l *line) gatehouse.Millis { return l.Start }),
	{parquet.Column{Name: "ConsumedQuantity", Kind: parquet.Decimal, Required: true}, func(l *line) cell { return number(l.Quantity) }},
	textColumn("ConsumedUnit", func(l *line) string { return l.Meter.Unit }),
	costColumn("ContractedCost"),
	priceColumn("ContractedUnitPrice"),
	costColumn("EffectiveCost"),
	textColumn("InvoiceIssuerName", func(l *line) string { return l.provider }),
	costColumn("ListCost"),
	priceColumn("ListUnitPrice"),
	fixed("PricingCategory", "Standard"),
	{parquet.Column{Name: "PricingQuantity", Kind: parquet.Decimal, Scale: quantityScale, Required: true},
		func(l *line) cell { return number(l.Quantity * (million / l.Meter.Per)) }},
	textColumn("PricingUnit", func(l *line) string { return l.Meter.PricingUnit }),
	textColumn("ProviderName", func(l *line) string { return l.provider }),
	textColumn("PublisherName", func(l *line) string { return l.provider }),
	textColumn("RegionId", (*line).region),
	textColumn("RegionName", (*line).region),
	textColumn("ResourceId", func(l *line) string { return l.Key }),
	textColumn("ResourceName", func(l *line) string {
		if l.key == nil {
			return ""
		}
		return l.key.Name
	}),
	textColumn("ResourceType", func(l *line) string {
		if l.Key == "" {
			return ""
		}
		return "API Key"
	}),
	fixed("ServiceCategory", "AI and Machine Learning"),
	textColumn("ServiceName", func(l *line) string { return services[l.provider].orElse(l.provider) }),
	fixed("ServiceSubcategory", "Generative AI"),
	textColumn("SkuId", func(l *line) string { return l.sku() }),
	textColumn("SkuMeter", func(l *line) string { return l.Meter.Title }),
	textColumn("SkuPriceDetails", (*line).priceDetails),
	textColumn("SkuPriceId", func(l *line) string {
		id := l.sku()
		if tier := l.tier(); tier != "" {
			id += "/" + tier
		}
		if l.Batch {
			id += "/batch"
		}
		return id
	}),
	textColumn("SubAccountId", func(l *line) string { return l.Project }),
	textColumn("SubAccountName", func(l *line) string {
		if l.project == nil {
			return ""
		}
		return l.project.Name
	}),
	textColumn("SubAccountType", func(l *line) string {
		if l.Project == "" {
			return ""
		}
		return "Project"
	}),
	textColumn("Tags", func(l *line) string { return object(l.labels) }),
	{parquet.Column{Name: "x_Batch", Kind: parquet.String, Required: true}, func(l *line) cell { return truth(l.Batch) }},
	textColumn("x_Confidence", func(l *line) string { return string(l.Confidence) }),
	textColumn("x_CostCenter", func(l *line) string { return l.labels[CostCenter] }),
	textColumn("x_Deployment", func(l *line) string { return l.Model }),
	textColumn("x_Product", func(l *line) string { return l.Product }),
	countColumn("x_Requests", func(l *line) int64 { return l.counted(l.Requests) }),
	textColumn("x_ServiceAccountId", func(l *line) string { return l.ServiceAccount }),
	textColumn("x_ServiceTier", func(l *line) string { return l.ServiceTier }),
	countColumn("x_UnpricedRequests", func(l *line) int64 { return l.counted(l.Unpriced) }),
	textColumn("x_UpstreamName", func(l *line) string { return l.Upstream }),
	textColumn("x_UserId", func(l *line) string { return l.User }),
}

// counted returns a group's count on its first charge and 0 on the others, so that a sum over charges is right.
func (l *line) counted(n int64) int64 {
	if l.first {
		return n
	}
	return 0
}

func (l *line) description() string {
	s := l.model + " " + strings.ToLower(l.Meter.Title)
	if tier := l.tier(); tier != "" {
		s += ", " + tier
	}
	if l.Batch {
		s += ", batch"
	}
	if l.Unpriced == l.Requests && l.Requests > 0 {
		s += ", price unknown"
	}
	return strings.TrimSpace(s)
}

// tier is the service tier where it has prices of its own: the standard one is sold under several names.
func (l *line) tier() string {
	switch l.ServiceTier {
	case "default", "standard", "auto":
		return ""
	}
	return l.ServiceTier
}

func (l *line) region() string {
	if l.upstream == nil {
		return ""
	}
	return l.upstream.Region
}

func (l *line) sku() string { return l.provider + "/" + l.model + "/" + l.Meter.Name }

func (l *line) priceDetails() string {
	details := map[string]string{"x_Model": l.model, "x_Meter": l.Meter.Name}
	if tier := l.tier(); tier != "" {
		details["x_ServiceTier"] = tier
	}
	if l.Batch {
		details["x_Batch"] = "true"
	}
	return object(details)
}

// object writes a JSON object with its names in order, "" when there are none.
func object(values map[string]string) string {
	if len(values) == 0 {
		return ""
	}
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(values); err != nil {
		panic(err) // texts always encode
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// service is what a provider calls what it sells.
type service string

func (s service) orElse(name string) string {
	if s == "" {
		return name
	}
	return string(s)
}

// The providers that are known by name.
const (
	providerOpenAI    = "OpenAI"
	providerMicrosoft = "Microsoft"
	providerMock      = "Gatehouse Mock"
)

var services = map[string]service{providerOpenAI: "OpenAI API", providerMicrosoft: "Azure OpenAI Service"}

// providerOf returns who bills for an upstream: OpenAI, Microsoft, and for any other server of OpenAI's API the upstream's own name.
// Where the upstream is not known any more its name stands for it.
func providerOf(u *gatehouse.Upstream, name string) string {
	switch {
	case u == nil && name == "":
		return "Gatehouse"
	case u == nil:
		return name
	case u.Dialect == gatehouse.Azure:
		return providerMicrosoft
	case u.Dialect == gatehouse.Mock:
		return providerMock
	}
	if base, err := url.Parse(u.BaseURL); err == nil && (base.Hostname() == "openai.com" || strings.HasSuffix(base.Hostname(), ".openai.com")) {
		return providerOpenAI
	}
	return u.Name
}

// month returns the billing period that a time lies in: a calendar month in a zone.
func month(at gatehouse.Millis, zone *time.Location) (start, end gatehouse.Millis) {
	return gatehouse.Window{Period: gatehouse.Monthly}.Bounds(at, zone)
}
