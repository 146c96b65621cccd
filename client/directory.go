package client

import (
	"context"
	"iter"
	"net/http"
	"net/url"

	"gatehouse"
)

// Identity is who the client's key belongs to.
type Identity struct {
	Answer
	OrganizationID   string `json:"organization_id"`
	Organization     string `json:"organization"` // name
	DefaultProjectID string `json:"default_project_id"`
	KeyID            string `json:"key_id"`
	UserID           string `json:"user_id"`
}

// WhoAmI returns who the client's key belongs to.
func (c *Client) WhoAmI(ctx context.Context) (*Identity, error) {
	return do[Identity](ctx, c, request{method: http.MethodGet, path: []string{"gatehouse", "v1", "whoami"}})
}

// Project is where keys act and usage is counted. Times are unix seconds, 0 when unset.
type Project struct {
	Answer
	ID        string            `json:"id"`
	Name      string            `json:"name"`
	Status    string            `json:"status"` // active or archived
	Residency string            `json:"residency"`
	Labels    map[string]string `json:"labels"`
	Region    string            `json:"region"` // the region or geography its requests stay in; empty: what Residency says
	// HeaderLabels are names of labels that its callers may send beside the organization's, see gatehouse.LabelHeader.
	HeaderLabels []string `json:"header_labels"`
	CreatedAt    int64    `json:"created_at"`
	ArchivedAt   int64    `json:"archived_at"`
	EffectiveBy  int64    `json:"effective_by"` // as Deletion.EffectiveBy, after archiving or a change of region
}

// ProjectCreate is a new project.
type ProjectCreate struct {
	Name      string            `json:"name"`
	Residency string            `json:"residency,omitempty"` // OpenAI's field; empty: GLOBAL
	Labels    map[string]string `json:"labels,omitempty"`
	Region    string            `json:"region,omitempty"`
}

// ProjectUpdate changes the fields that are not nil.
type ProjectUpdate struct {
	Name     *string            `json:"name,omitempty"`
	Labels   *map[string]string `json:"labels,omitempty"`   // replaces all of them
	Upstream *string            `json:"upstream,omitempty"` // name of the upstream that calls without a model go to; "" for none
	Region   *string            `json:"region,omitempty"`   // "" leaves it to the residency, "global" is anywhere
	// HeaderLabels replaces all of them.
	HeaderLabels *[]string `json:"header_labels,omitempty"`
}

// Projects lists projects, oldest first.
func (c *Client) Projects(ctx context.Context, archived Archived) iter.Seq2[*Project, error] {
	q := url.Values{}
	if archived == WithArchived {
		q.Set("include_archived", "true")
	}
	return all[Project](ctx, c, q, "v1", "organization", "projects")
}

// Archived says whether a list of projects holds those that are archived.
type Archived bool

// The values of Archived.
const (
	WithoutArchived Archived = false
	WithArchived    Archived = true
)

// CreateProject creates a project.
func (c *Client) CreateProject(ctx context.Context, p ProjectCreate) (*Project, error) {
	return do[Project](ctx, c, request{method: http.MethodPost, path: []string{"v1", "organization", "projects"}, body: p})
}

// Project returns one project.
func (c *Client) Project(ctx context.Context, id string) (*Project, error) {
	return do[Project](ctx, c, request{method: http.MethodGet, path: []string{"v1", "organization", "projects", id}})
}

// UpdateProject changes a project.
func (c *Client) UpdateProject(ctx context.Context, id string, u ProjectUpdate) (*Project, error) {
	return do[Project](ctx, c, request{method: http.MethodPost, path: []string{"gatehouse", "v1", "projects", id}, body: u})
}

// ArchiveProject stops a project and every key in it, for good.
func (c *Client) ArchiveProject(ctx context.Context, id string) (*Project, error) {
	return do[Project](ctx, c, request{method: http.MethodPost, path: []string{"v1", "organization", "projects", id, "archive"}})
}

// User is a person in the organization.
type User struct {
	Answer
	ID      string         `json:"id"`
	Name    string         `json:"name"`
	Email   string         `json:"email"`
	Role    gatehouse.Role `json:"role"`
	AddedAt int64          `json:"added_at"` // unix seconds
	// LastUsedAt is when a key of theirs was last used, in unix seconds; 0: never.
	LastUsedAt int64 `json:"api_key_last_used_at"`
	Projects   struct {
		Data []UserProject `json:"data"`
	} `json:"projects"`
	EffectiveBy int64 `json:"effective_by"` // as Deletion.EffectiveBy
}

// UserProject is a project that a user is a member of.
type UserProject struct {
	ID   string         `json:"id"`
	Name string         `json:"name"`
	Role gatehouse.Role `json:"role"`
}

// UserCreate is a new user.
type UserCreate struct {
	Name  string         `json:"name"`
	Email string         `json:"email,omitempty"`
	Role  gatehouse.Role `json:"role,omitempty"` // owner or reader (default)
}

// Users lists the organization's users, oldest first.
func (c *Client) Users(ctx context.Context) iter.Seq2[*User, error] {
	return all[User](ctx, c, nil, "v1", "organization", "users")
}

// CreateUser adds a user to the organization.
func (c *Client) CreateUser(ctx context.Context, u UserCreate) (*User, error) {
	return do[User](ctx, c, request{method: http.MethodPost, path: []string{"gatehouse", "v1", "users"}, body: u})
}

// roleChange is the body of what gives a user a role.
type roleChange struct {
	UserID string         `json:"user_id,omitempty"`
	Role   gatehouse.Role `json:"role,omitempty"`
}

// User returns a user.
func (c *Client) User(ctx context.Context, id string) (*User, error) {
	return do[User](ctx, c, request{method: http.MethodGet, path: []string{"v1", "organization", "users", id}})
}

// UpdateUser changes a user's role in the organization.
func (c *Client) UpdateUser(ctx context.Context, id string, role gatehouse.Role) (*User, error) {
	return do[User](ctx, c, request{method: http.MethodPost, path: []string{"v1", "organization", "users", id}, body: roleChange{Role: role}})
}

// RemoveUser removes a user from the organization and from every project; their keys stop.
func (c *Client) RemoveUser(ctx context.Context, id string) (*Deletion, error) {
	return do[Deletion](ctx, c, request{method: http.MethodDelete, path: []string{"v1", "organization", "users", id}})
}

// Member is a user's membership in a project.
type Member struct {
	Answer
	UserID    string         `json:"id"`
	Name      string         `json:"name"`
	Email     string         `json:"email"`
	ProjectID string         `json:"project_id"`
	Role      gatehouse.Role `json:"role"`
	AddedAt   int64          `json:"added_at"` // unix seconds
}

// Members lists a project's members, oldest first.
func (c *Client) Members(ctx context.Context, project string) iter.Seq2[*Member, error] {
	return all[Member](ctx, c, nil, projectPath(project, "users")...)
}

// AddMember adds a user to a project; role is owner, member or viewer.
func (c *Client) AddMember(ctx context.Context, project, user string, role gatehouse.Role) (*Member, error) {
	return do[Member](ctx, c, request{method: http.MethodPost, path: projectPath(project, "users"), body: roleChange{user, role}})
}

// RemoveMember removes a user from a project; the keys they own there stop.
func (c *Client) RemoveMember(ctx context.Context, project, user string) (*Deletion, error) {
	return do[Deletion](ctx, c, request{method: http.MethodDelete, path: append(projectPath(project, "users"), user)})
}

// ServiceAccount is a program's identity in one project.
type ServiceAccount struct {
	Answer
	ID        string             `json:"id"`
	Name      string             `json:"name"`
	Role      gatehouse.Role     `json:"role"`
	CreatedAt int64              `json:"created_at"` // unix seconds
	APIKey    *ServiceAccountKey `json:"api_key"`    // only in the answer that creates the account with a key
}

// ServiceAccountKey is a key just created. Value exists in this answer and nowhere else.
type ServiceAccountKey struct {
	Answer
	ID        string `json:"id"`
	Name      string `json:"name"`
	Value     string `json:"value"`
	CreatedAt int64  `json:"created_at"` // unix seconds
	ExpiresAt int64  `json:"expires_at"` // unix seconds; 0: never
}

// ServiceAccountCreate is a new service account.
type ServiceAccountCreate struct {
	Name        string `json:"name"`
	AccountOnly bool   `json:"create_service_account_only,omitempty"` // without a key
	ExpiresIn   int64  `json:"expires_in_seconds,omitempty"`          // of its key; 0: never
}

// ServiceAccountUpdate changes the fields that are not nil.
type ServiceAccountUpdate struct {
	Name *string         `json:"name,omitempty"`
	Role *gatehouse.Role `json:"role,omitempty"`
}

// ServiceAccountKeyCreate is a new key of a service account.
type ServiceAccountKeyCreate struct {
	Name      string   `json:"name,omitempty"`
	Scopes    []string `json:"scopes,omitempty"`
	ExpiresIn int64    `json:"expires_in_seconds,omitempty"` // 0: never
}

func accounts(project string, rest ...string) []string {
	return append([]string{"v1", "organization", "projects", project, "service_accounts"}, rest...)
}

// ServiceAccounts lists a project's service accounts, oldest first.
func (c *Client) ServiceAccounts(ctx context.Context, project string) iter.Seq2[*ServiceAccount, error] {
	return all[ServiceAccount](ctx, c, nil, accounts(project)...)
}

// CreateServiceAccount creates a service account and, unless it says not to, a key of it.
func (c *Client) CreateServiceAccount(ctx context.Context, project string, a ServiceAccountCreate) (*ServiceAccount, error) {
	return do[ServiceAccount](ctx, c, request{method: http.MethodPost, path: accounts(project), body: a})
}

// UpdateServiceAccount changes a service account.
func (c *Client) UpdateServiceAccount(ctx context.Context, project, id string, u ServiceAccountUpdate) (*ServiceAccount, error) {
	return do[ServiceAccount](ctx, c, request{method: http.MethodPost, path: accounts(project, id), body: u})
}

// DeleteServiceAccount deletes a service account and revokes its keys.
func (c *Client) DeleteServiceAccount(ctx context.Context, project, id string) (*Deletion, error) {
	return do[Deletion](ctx, c, request{method: http.MethodDelete, path: accounts(project, id)})
}

// CreateServiceAccountKey creates one more key of a service account.
func (c *Client) CreateServiceAccountKey(ctx context.Context, project, id string, k ServiceAccountKeyCreate) (*ServiceAccountKey, error) {
	return do[ServiceAccountKey](ctx, c, request{method: http.MethodPost, path: accounts(project, id, "api_keys"), body: k})
}
