package gatehouse

// Organization is a tenant. Nothing crosses from one to another.
type Organization struct {
	ID             string
	Name           string
	DefaultProject string   // where a user's own key acts when the request names no project
	HeaderLabels   []string // labels that callers may send with a request, see LabelHeader
	Retention      Retention
	TimeZone       string        // the IANA name of the zone in which its days and months begin; empty: UTC
	DataRetention  DataRetention // empty: see RetentionOf
	Certificates   []string      // ids: who calls models must show a client certificate that one of them issued; empty: nobody need
	CreatedAt      Millis
	Rev            int64
}

// Project is where keys act and usage is counted. An archived project's keys stop at once, for good.
type Project struct {
	ID           string
	Organization string
	Name         string
	Labels       map[string]string
	Residency    string   // OpenAI's field, "GLOBAL" by default; a kind that names where data is processed pins like Region
	Region       string   // the region or geography its requests stay in; empty: what Residency says, "global": anywhere
	Upstream     string   // id of the upstream that calls without a model go to; empty: the only one the project can reach
	HeaderLabels []string // labels that its callers may send beside the organization's
	Policy       ProjectPolicy
	CreatedAt    Millis
	ArchivedAt   Millis
	Rev          int64
}

// Role is what a user may do, in OpenAI's words.
type Role string

// The roles: owner and reader in an organization; owner, member, viewer and none in a project.
const (
	RoleOwner  Role = "owner"
	RoleReader Role = "reader"
	RoleMember Role = "member"
	RoleViewer Role = "viewer"
	RoleNone   Role = "none"
)

// User is a person in an organization.
type User struct {
	ID           string
	Organization string
	Name         string
	Email        string
	Role         Role
	// TechnicalLevel and DeveloperPersona are what OpenAI's users say of themselves. Nothing looks at them.
	TechnicalLevel   string
	DeveloperPersona string
	CreatedAt        Millis
	RemovedAt        Millis
	Rev              int64
}

// ProjectUser is a user's membership in a project. A key that a user owns in a project works only while the membership stands.
type ProjectUser struct {
	Project   string
	User      string
	Role      Role
	AddedAt   Millis
	RemovedAt Millis
	Rev       int64
}

// ServiceAccount is a program's identity in one project. Removing it revokes its keys.
type ServiceAccount struct {
	ID           string
	Organization string
	Project      string
	Name         string
	Role         Role
	CreatedAt    Millis
	RemovedAt    Millis
	Rev          int64
}

// Resource is an Azure-shaped pair of keys over a project's deployments: KEY1 and KEY2, each made anew alone with the other
// untouched, so that a client can change over without a refused request. Its keys name it as their owner. Removing it revokes them.
type Resource struct {
	ID           string
	Organization string
	Project      string
	Name         string // unique among a project's resources
	Region       string // the region or geography that requests with its keys stay in, besides the project's own; empty: no further limit
	CreatedAt    Millis
	RemovedAt    Millis
	Rev          int64
}

// KeySlot is which of a Resource's two keys a key is.
type KeySlot int

// The slots, by Azure's names.
const (
	Key1 KeySlot = 1
	Key2 KeySlot = 2
)

// String returns the slot as Azure's API spells it, "" for what is no slot.
func (s KeySlot) String() string {
	switch s {
	case Key1:
		return "Key1"
	case Key2:
		return "Key2"
	}
	return ""
}

// Dialect is which wire a server speaks.
type Dialect string

// The dialects of upstreams.
const (
	OpenAI Dialect = "openai"
	Azure  Dialect = "azure"
	Mock   Dialect = "mock" // the built-in mock: OpenAI's wire, on this host
)

// Upstream is a provider account: where it is, what it speaks, and a reference to the credential it is called with. The
// credential goes to BaseURL's scheme, host and port and nowhere else.
type Upstream struct {
	ID           string
	Organization string
	Name         string
	Dialect      Dialect
	BaseURL      string // without a trailing slash; empty for Mock
	APIVersion   string // Azure: the dated api-version; empty: the v1 API
	Region       string
	// Credential is a secret reference such as env://OPENAI_API_KEY; empty: the upstream is called without one.
	Credential string
	// CredentialHeader is the header that carries the credential when it is not the dialect's own, e.g. Ocp-Apim-Subscription-Key.
	CredentialHeader string
	// Projects that this upstream's credential serves. A sole project may use what has no owner of its own in Gatehouse. Empty:
	// whichever projects its deployments reach.
	Projects []string
	// AllowPrivate lets this upstream's host resolve to loopback and private addresses; metadata addresses are refused always.
	AllowPrivate bool
	// HTTP2 speaks HTTP/2 to the server where it offers it, and over plain http at once. HTTP/1.1 is cheaper and the default.
	HTTP2 bool
	// Timeouts bound an attempt along every route here; what is 0 is the gateway's.
	Timeouts Timeouts
	// Served says, for each account of the provider that this upstream ever was (see Account), which project it could serve since it
	// was stored: its id, or ServedMany. It only grows, and stays when the upstream is removed, so that a project that has an account
	// to itself now is not taken for one that always had. The built-in mock has none.
	Served    map[string]string
	CreatedAt Millis
	RemovedAt Millis
	Rev       int64
}

// ServedMany stands in Upstream.Served for more than one project.
const ServedMany = "*"

// Account is what tells the provider's accounts apart: the credential, and of servers that need none the address.
func (u *Upstream) Account() string {
	if u.Credential != "" {
		return u.Credential
	}
	return u.BaseURL
}

// Route is one way to serve a deployment.
type Route struct {
	Upstream string `json:"upstream"`           // id
	Model    string `json:"model,omitempty"`    // the upstream's own name; empty: the name the caller used
	Weight   int    `json:"weight,omitempty"`   // share of the load among routes of one priority; 0 counts as 1
	Priority int    `json:"priority,omitempty"` // lower first; the next priority is tried when all of one failed
	// PricedAs is the name under which the table of prices has the model, where the upstream calls it by another: a deployment of
	// Azure, a model of one's own.
	PricedAs string `json:"priced_as,omitempty"`
	// Timeouts bound an attempt along this route; what is 0 is its upstream's.
	Timeouts Timeouts `json:"timeouts,omitzero"`
}

// Sticky is what keeps a deployment's requests on one route: those for which it is the same are tried on the routes of a priority
// in the same order, which follows from it and the weights and nothing else, on every node.
type Sticky string

// What a deployment may stick to. A request for which it is unknown takes the routes as they are drawn.
const (
	StickyNone           Sticky = ""                 // routes are drawn anew for every request
	StickyKey            Sticky = "key"              // the key it is made with
	StickyUser           Sticky = "user"             // whoever owns the key: a user, a service account, a resource
	StickyPromptCacheKey Sticky = "prompt_cache_key" // the body's field
)

// Deployment is a public model name that routes to upstream models.
type Deployment struct {
	ID           string
	Organization string
	Name         string   // what clients ask for; "*" serves every name no other deployment has
	Projects     []string // ids; empty: every project of the organization
	Routes       []Route
	Sticky       Sticky
	CreatedAt    Millis
	RemovedAt    Millis
	Rev          int64
}

// Serves reports whether the deployment may be used by a project.
func (d *Deployment) Serves(project string) bool {
	if len(d.Projects) == 0 {
		return true
	}
	for _, p := range d.Projects {
		if p == project {
			return true
		}
	}
	return false
}
