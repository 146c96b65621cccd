package gatehouse

import "time"

// AlertKind is what an alert is about. It decides which fields of an AlertRule count.
type AlertKind string

// The kinds of alerts.
const (
	AlertSpendSpike        AlertKind = "spend_spike"        // far more is spent in an hour than is usual at that time
	AlertErrorSpike        AlertKind = "error_spike"        // a far greater share of requests fails than is usual at that time
	AlertNewNetwork        AlertKind = "new_network"        // a key is used from a network it was not used from before
	AlertWakingKey         AlertKind = "waking_key"         // a key is used again that was not used for long
	AlertBudget            AlertKind = "budget"             // a budget has reached one of its percentages
	AlertSpend             AlertKind = "spend_alert"        // spending has reached the threshold of one of OpenAI's spend alerts
	AlertCredentialRefused AlertKind = "credential_refused" // an upstream refuses the credential it is called with
	AlertUnpriced          AlertKind = "unpriced_usage"     // a model without a price is used, so that its cost is not known
	AlertCreditsLow        AlertKind = "credits_low"        // what is left of prepaid credits is little
	AlertForecast          AlertKind = "forecast"           // a budget will not last to the end of its window
	AlertKeyCreated        AlertKind = "key_created"        // a key was made
	AlertKeyExpiring       AlertKind = "key_expiring"       // a key that is in use for longer expires soon
	AlertKeyRevoked        AlertKind = "key_revoked"        // a key was revoked
	AlertTest              AlertKind = "test"               // somebody asked whether a channel works
)

// AlertKinds lists the kinds that a rule may have.
var AlertKinds = []AlertKind{AlertSpendSpike, AlertErrorSpike, AlertNewNetwork, AlertWakingKey, AlertBudget, AlertSpend, AlertCredentialRefused,
	AlertUnpriced, AlertCreditsLow, AlertForecast, AlertKeyCreated, AlertKeyExpiring, AlertKeyRevoked}

// AlertSubject is what kind of thing an alert is about.
type AlertSubject string

// The subjects of alerts.
const (
	AboutKey          AlertSubject = "key"
	AboutProject      AlertSubject = "project"
	AboutModel        AlertSubject = "model" // a deployment as one project uses it; its id is project/deployment
	AboutUpstream     AlertSubject = "upstream"
	AboutBudget       AlertSubject = "budget"
	AboutOrganization AlertSubject = "organization"
	AboutChannel      AlertSubject = "alert_channel"
)

// AlertSuspend is what a rule stops when it finds something about a key. An admin key is never stopped.
type AlertSuspend string

// The actions of a rule.
const (
	SuspendNothing AlertSuspend = ""
	SuspendKey     AlertSuspend = "key"             // the key it is about
	SuspendOwner   AlertSuspend = "service_account" // every key of the service account that owns it; of any other owner the key alone
)

// AlertRule says what is looked for and who is told. What is 0 has the default of DefaultAlertRules.
type AlertRule struct {
	ID           string
	Organization string
	Name         string // unique among an organization's rules
	Kind         AlertKind
	Disabled     bool
	// Per is what is judged of spikes, each on its own: AboutKey, AboutProject, AboutModel. What one key explains of a project's or a
	// model's spike is told once, as the key's.
	Per      []AlertSubject `json:",omitempty"`
	Projects []string       `json:",omitempty"` // ids; empty: every project
	// MinCost is the least an hour must have cost to be a spike, and of credits how little is little.
	MinCost NanoUSD `json:",omitempty"`
	// MinErrors is the least number of errors in an hour that can be a spike.
	MinErrors int64 `json:",omitempty"`
	// Factor is how many times the baseline a spike is at least, in hundredths: 300 is three times.
	Factor int64 `json:",omitempty"`
	// Deviations is how many robust standard deviations over the baseline a spike is at least.
	Deviations int64 `json:",omitempty"`
	// Days is how long a key has slept that wakes; of keys that expire how long before; of new networks how long the first ones of a key are taken for usual; of spikes on
	// how many days there must have been something to compare with.
	Days int64 `json:",omitempty"`
	// QuietMillis is how long the rule says nothing more about a subject once it has.
	QuietMillis int64 `json:",omitempty"`
	// Channels are the ids of those that are told; empty: every channel the organization has. The log is told always.
	Channels  []string     `json:",omitempty"`
	Suspend   AlertSuspend `json:",omitempty"`
	CreatedAt Millis       `json:"-"`
	RemovedAt Millis       `json:"-"`
	Rev       int64        `json:"-"`
}

// Default reports whether a rule is one of DefaultAlertRules, which nobody wrote down.
func (r *AlertRule) Default() bool { return r.Rev == 0 }

// DefaultAlertRules returns the rules that an organization has without writing one down. A rule with the same name takes the place of
// one of them, so that it can be changed or disabled.
func DefaultAlertRules(organization string) []AlertRule {
	const day = 24 * int64(time.Hour/time.Millisecond)
	rules := []AlertRule{
		{Name: "spend-spike", Kind: AlertSpendSpike, Per: []AlertSubject{AboutKey, AboutProject, AboutModel}, MinCost: 5_000_000_000, Factor: 300, Deviations: 6, Days: 3, QuietMillis: day / 2},
		{Name: "error-spike", Kind: AlertErrorSpike, Per: []AlertSubject{AboutKey, AboutProject, AboutModel}, MinErrors: 50, Factor: 300, Deviations: 6, Days: 3, QuietMillis: day / 4},
		{Name: "new-network", Kind: AlertNewNetwork, Days: 7, QuietMillis: day, Disabled: true},
		{Name: "waking-key", Kind: AlertWakingKey, Days: 30, QuietMillis: day},
		{Name: "budget", Kind: AlertBudget},
		{Name: "spend-alert", Kind: AlertSpend},
		{Name: "credential-refused", Kind: AlertCredentialRefused, QuietMillis: day / 4},
		{Name: "unpriced-usage", Kind: AlertUnpriced, QuietMillis: 7 * day},
		{Name: "credits-low", Kind: AlertCreditsLow, MinCost: 10_000_000_000, QuietMillis: day},
		{Name: "forecast", Kind: AlertForecast, QuietMillis: 7 * day, Disabled: true},
		{Name: "key-created", Kind: AlertKeyCreated, Disabled: true},
		{Name: "key-expiring", Kind: AlertKeyExpiring, Days: 7},
		{Name: "key-revoked", Kind: AlertKeyRevoked, Disabled: true},
	}
	for i := range rules {
		rules[i].ID, rules[i].Organization = PrefixAlertRule+"default_"+rules[i].Name, organization
	}
	return rules
}

// ChannelKind is how a channel tells.
type ChannelKind string

// The kinds of channels.
const (
	ChannelWebhook ChannelKind = "webhook" // an HTTP POST signed as Standard Webhooks has it
	ChannelSlack   ChannelKind = "slack"   // Slack's incoming webhooks
	ChannelEmail   ChannelKind = "email"
)

// LogChannel is the channel that every organization has and that is told everything: this node's log.
const LogChannel = "log"

// AlertChannel is where alerts are sent.
type AlertChannel struct {
	ID           string
	Organization string
	Name         string // unique among an organization's channels
	Kind         ChannelKind
	Disabled     bool
	// URL is where a webhook is sent: https://..., or a secret reference to it. Of Slack it is always a reference, for whoever knows
	// the URL may write there.
	URL string `json:",omitempty"`
	// AllowPrivate lets the URL's host resolve to loopback and private addresses; metadata addresses are refused always.
	AllowPrivate bool `json:",omitempty"`
	// Secret is the sealed:// reference of what a webhook is signed with, and OldSecret of what it was signed with before, which goes
	// on signing beside it until OldUntil.
	Secret    string `json:",omitempty"`
	OldSecret string `json:",omitempty"`
	OldUntil  Millis `json:",omitempty"`
	// Recipients are addresses of email. SubjectPrefix begins each subject.
	Recipients    []string `json:",omitempty"`
	SubjectPrefix string   `json:",omitempty"`
	CreatedAt     Millis   `json:"-"`
	RemovedAt     Millis   `json:"-"`
	Rev           int64    `json:"-"`
}

// Alert is something that a rule found. It holds no secret, prompt or answer, and of a key only its id.
type Alert struct {
	ID           string       `json:"id"`
	Organization string       `json:"organization"`
	Rule         string       `json:"rule"` // its id
	RuleName     string       `json:"rule_name"`
	Kind         AlertKind    `json:"kind"`
	Subject      AlertSubject `json:"subject"`
	SubjectID    string       `json:"subject_id"`
	Project      string       `json:"project,omitempty"`
	Key          string       `json:"key,omitempty"`
	Model        string       `json:"model,omitempty"`
	At           Millis       `json:"at"` // when it was found
	// WindowStart and WindowEnd are the stretch of time that was looked at.
	WindowStart Millis `json:"window_start,omitempty"`
	WindowEnd   Millis `json:"window_end,omitempty"`
	// Observed is what was seen, Baseline what is usual, Threshold what it would have had to stay below; all in Unit.
	Unit      AlertUnit `json:"unit,omitempty"`
	Observed  int64     `json:"observed"`
	Baseline  int64     `json:"baseline"`
	Threshold int64     `json:"threshold"`
	Title     string    `json:"title"`  // one line
	Reason    string    `json:"reason"` // how the numbers came about, and what to do
	// Action is what came of the rule's Suspend: "", "pending", "suspended", or why nothing was suspended.
	Action         string `json:"action,omitempty"`
	AcknowledgedAt Millis `json:"acknowledged_at,omitempty"`
	AcknowledgedBy string `json:"acknowledged_by,omitempty"` // id of a key or user
}

// ActionPending is the Action of an alert whose key is still to be suspended.
const ActionPending = "pending"

// AlertUnit is what the numbers of an alert count.
type AlertUnit string

// The units of alerts.
const (
	UnitNanoUSD AlertUnit = "nano_usd"
	UnitPPM     AlertUnit = "ppm"   // errors of a million requests
	UnitCount   AlertUnit = "count" // of requests
	UnitPercent AlertUnit = "percent"
	UnitDays    AlertUnit = "days"
)

// DeliveryState is how far a delivery has come.
type DeliveryState string

// The states of a delivery.
const (
	DeliveryPending   DeliveryState = "pending"
	DeliveryDelivered DeliveryState = "delivered"
	DeliveryDead      DeliveryState = "dead" // given up; it can be sent again
)

// AlertDelivery is one alert on its way to one channel. It is delivered at least once, always with the same ID, by which a receiver
// knows what it has already.
type AlertDelivery struct {
	ID           string
	Organization string
	Alert        string
	Channel      string // its id, LogChannel, or the id of one of OpenAI's spend alerts
	State        DeliveryState
	Tries        int64
	NextAt       Millis
	Error        string // of the last try, without any part of a secret
	CreatedAt    Millis
	EndedAt      Millis
}

// The prefixes of what alerts are made of.
const (
	PrefixAlert         = "alrt_"
	PrefixAlertRule     = "alrule_"
	PrefixAlertChannel  = "alch_"
	PrefixAlertDelivery = "msg_"
)
