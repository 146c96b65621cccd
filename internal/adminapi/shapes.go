package adminapi

import (
	"gatehouse"
	"gatehouse/internal/admin"
)

// seconds is a point in time in unix seconds, null when it is not set.
func seconds(m gatehouse.Millis) *int64 {
	if m == 0 {
		return nil
	}
	s := m.Seconds()
	return &s
}

type deleted struct {
	Object      string `json:"object"`
	ID          string `json:"id"`
	Deleted     bool   `json:"deleted"`
	EffectiveBy *int64 `json:"effective_by,omitempty"` // with 202: when the deletion holds on every node
}

type project struct {
	ID            string            `json:"id"`
	Object        string            `json:"object"`
	Name          string            `json:"name"`
	CreatedAt     int64             `json:"created_at"`
	ArchivedAt    *int64            `json:"archived_at"`
	Status        string            `json:"status"`
	ExternalKeyID *string           `json:"external_key_id"`
	Residency     string            `json:"residency"`
	Labels        map[string]string `json:"labels,omitempty"`
	Region        string            `json:"region,omitempty"`
	HeaderLabels  []string          `json:"header_labels,omitempty"`
	EffectiveBy   *int64            `json:"effective_by,omitempty"`
}

func showProject(p *gatehouse.Project) (*project, string) {
	v := &project{ID: p.ID, Object: "organization.project", Name: p.Name, CreatedAt: p.CreatedAt.Seconds(), ArchivedAt: seconds(p.ArchivedAt), Status: "active", Residency: p.Residency, Labels: p.Labels, Region: p.Region, HeaderLabels: p.HeaderLabels}
	if p.ArchivedAt != 0 {
		v.Status = "archived"
	}
	return v, p.ID
}

type serviceAccount struct {
	Object      string         `json:"object"`
	ID          string         `json:"id"`
	Name        string         `json:"name"`
	Role        gatehouse.Role `json:"role"`
	CreatedAt   int64          `json:"created_at"`
	EffectiveBy *int64         `json:"effective_by,omitempty"`
}

func showServiceAccount(a *gatehouse.ServiceAccount) (*serviceAccount, string) {
	return &serviceAccount{Object: "organization.project.service_account", ID: a.ID, Name: a.Name, Role: a.Role, CreatedAt: a.CreatedAt.Seconds()}, a.ID
}

type serviceAccountKey struct {
	Object    string `json:"object"`
	ID        string `json:"id"`
	Name      string `json:"name"`
	Value     string `json:"value"`
	CreatedAt int64  `json:"created_at"`
	ExpiresAt *int64 `json:"expires_at"`
}

// showNewKey shows a service account's key once, with its text.
func showNewKey(k *admin.NewKey) *serviceAccountKey {
	return &serviceAccountKey{Object: "organization.project.service_account.api_key", ID: k.Key.ID, Name: k.Key.Name, Value: k.Value.Reveal(),
		CreatedAt: k.Key.CreatedAt.Seconds(), ExpiresAt: seconds(k.Key.ExpiresAt)}
}

type createdServiceAccount struct {
	serviceAccount
	APIKey *serviceAccountKey `json:"api_key"`
}

type owner struct {
	Type           string       `json:"type"`
	User           *ownerObject `json:"user,omitempty"`
	ServiceAccount *ownerObject `json:"service_account,omitempty"`
	Resource       *ownerObject `json:"resource,omitempty"`
}

type ownerObject struct {
	ID        string         `json:"id"`
	Email     *string        `json:"email,omitempty"`
	Name      string         `json:"name"`
	Role      gatehouse.Role `json:"role,omitempty"`
	CreatedAt int64          `json:"created_at"`
}

func showOwner(k *admin.KeyInfo) owner {
	if a := k.ServiceAccount; a != nil {
		return owner{Type: "service_account", ServiceAccount: &ownerObject{ID: a.ID, Name: a.Name, Role: a.Role, CreatedAt: a.CreatedAt.Seconds()}}
	}
	if r := k.Resource; r != nil {
		return owner{Type: "resource", Resource: &ownerObject{ID: r.ID, Name: r.Name, CreatedAt: r.CreatedAt.Seconds()}}
	}
	u := k.User
	return owner{Type: "user", User: &ownerObject{ID: u.ID, Email: &u.Email, Name: u.Name, Role: u.Role, CreatedAt: u.CreatedAt.Seconds()}}
}

type projectKey struct {
	Object             string   `json:"object"`
	ID                 string   `json:"id"`
	Name               string   `json:"name"`
	RedactedValue      string   `json:"redacted_value"`
	CreatedAt          int64    `json:"created_at"`
	LastUsedAt         *int64   `json:"last_used_at"`
	ExpiresAt          *int64   `json:"expires_at"`
	Scopes             []string `json:"scopes"`
	OwnerProjectAccess string   `json:"owner_project_access"`
	Owner              owner    `json:"owner"`
	EffectiveBy        *int64   `json:"effective_by,omitempty"`
}

func showProjectKey(k *admin.KeyInfo) (*projectKey, string) {
	v := &projectKey{Object: "organization.project.api_key", ID: k.Key.ID, Name: k.Key.Name, RedactedValue: k.Key.Redacted, CreatedAt: k.Key.CreatedAt.Seconds(),
		LastUsedAt: seconds(k.Key.LastUsedAt), ExpiresAt: seconds(k.Key.ExpiresAt), Scopes: nonNil(k.Key.Scopes), OwnerProjectAccess: access(k.OwnerActive), Owner: showOwner(k)}
	if r := k.Resource; r != nil {
		// OpenAI's owners are users and service accounts; a resource is a program's identity as well, and clients know that shape.
		v.Owner = owner{Type: "service_account", ServiceAccount: &ownerObject{ID: r.ID, Name: r.Name, Role: gatehouse.RoleMember, CreatedAt: r.CreatedAt.Seconds()}}
	}
	return v, k.Key.ID
}

func access(active bool) string {
	if active {
		return "active"
	}
	return "inactive"
}

func nonNil(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

type adminKey struct {
	Object        string         `json:"object"`
	ID            string         `json:"id"`
	Name          string         `json:"name"`
	RedactedValue string         `json:"redacted_value"`
	Value         string         `json:"value,omitempty"`
	CreatedAt     int64          `json:"created_at"`
	ExpiresAt     *int64         `json:"expires_at"`
	LastUsedAt    *int64         `json:"last_used_at"`
	Owner         *adminKeyOwner `json:"owner"`
}

type adminKeyOwner struct {
	Type      string         `json:"type"`
	Object    string         `json:"object"`
	ID        string         `json:"id"`
	Name      string         `json:"name"`
	CreatedAt int64          `json:"created_at"`
	Role      gatehouse.Role `json:"role"`
}

func showAdminKey(k *admin.KeyInfo) (*adminKey, string) {
	v := &adminKey{Object: "organization.admin_api_key", ID: k.Key.ID, Name: k.Key.Name, RedactedValue: k.Key.Redacted, CreatedAt: k.Key.CreatedAt.Seconds(),
		ExpiresAt: seconds(k.Key.ExpiresAt), LastUsedAt: seconds(k.Key.LastUsedAt)}
	if a := k.ServiceAccount; a != nil {
		v.Owner = &adminKeyOwner{Type: "service_account", Object: "organization.service_account", ID: a.ID, Name: a.Name, CreatedAt: a.CreatedAt.Seconds(), Role: a.Role}
	} else if u := k.User; u != nil {
		v.Owner = &adminKeyOwner{Type: "user", Object: "organization.user", ID: u.ID, Name: u.Name, CreatedAt: u.CreatedAt.Seconds(), Role: u.Role}
	}
	return v, k.Key.ID
}
