package gatehouse

import (
	"slices"
	"strings"
)

// Group is a set of users of an organization, to whom a role is assigned at once.
type Group struct {
	ID           string
	Organization string
	Name         string // unique among an organization's groups
	CreatedAt    Millis
	RemovedAt    Millis
	Rev          int64
}

// GroupUser is a user's place in a group.
type GroupUser struct {
	Group        string
	User         string
	Organization string
	AddedAt      Millis
	RemovedAt    Millis
	Rev          int64
}

// AccessRole is a named set of permissions that somebody made. The predefined ones are [PredefinedRoles].
type AccessRole struct {
	ID           string
	Organization string
	Project      string // where it holds; empty: the organization
	Name         string // unique among the custom roles of a project, or of the organization
	Description  string
	Permissions  []string
	Predefined   bool // not stored
	CreatedAt    Millis
	RemovedAt    Millis
	Rev          int64
}

// RoleAssignment gives a role to a user, or to all users of a group, in the organization or in one project.
type RoleAssignment struct {
	ID           string
	Organization string
	Project      string // empty: the organization
	Role         string // id of an AccessRole, or of a predefined role
	User         string // exactly one of User and Group is set
	Group        string
	By           string // id of the user whose key made it, where there is one
	CreatedAt    Millis
	RemovedAt    Millis
	Rev          int64
}

// PrincipalID returns the id of the user or group.
func (a *RoleAssignment) PrincipalID() string { return a.User + a.Group }

// Level is where a permission or a role holds.
type Level uint8

// The levels.
const (
	OrganizationLevel Level = 1 << iota
	ProjectLevel
)

// ResourceType returns the level as OpenAI's roles name it.
func (l Level) ResourceType() string {
	if l == ProjectLevel {
		return "api.project"
	}
	return "api.organization"
}

// Area is a part of the API that permissions are about: api.AREA.read looks at it, api.AREA.write changes it, which includes looking.
type Area struct {
	Name   string
	Levels Level  // of the roles that may have its permissions
	Admin  bool   // of administration: an admin key needs it. Else a key that calls models does
	Only   string // "read" or "write" where there is no other, else empty
	About  string
}

// ModelRequest is the permission to call models.
const ModelRequest = "model.request"

// Permissions that stand for many.
const (
	ReadEverything  = "api.all.read"         // whatever ends in .read
	ManagementRead  = "api.management.read"  // what ends in .read of every area of administration but usage
	ManagementWrite = "api.management.write" // every area of administration but usage
)

// Areas is the closed list of areas. docs/roles.md shows it.
var Areas = []Area{
	{Name: "organization", Levels: OrganizationLevel, Admin: true, About: "what the organization as a whole has set, and its data retention"},
	{Name: "projects", Levels: OrganizationLevel | ProjectLevel, Admin: true, About: "projects"},
	{Name: "users", Levels: OrganizationLevel | ProjectLevel, Admin: true, About: "users, invites and members of projects"},
	{Name: "groups", Levels: OrganizationLevel | ProjectLevel, Admin: true, About: "groups, who is in them, and their place in projects"},
	{Name: "roles", Levels: OrganizationLevel | ProjectLevel, Admin: true, About: "roles and to whom they are assigned"},
	{Name: "api_keys", Levels: OrganizationLevel | ProjectLevel, Admin: true, About: "API keys and admin keys"},
	{Name: "service_accounts", Levels: OrganizationLevel | ProjectLevel, Admin: true, About: "service accounts, Azure-shaped resources, and their keys"},
	{Name: "certificates", Levels: OrganizationLevel | ProjectLevel, Admin: true, About: "client certificates and where they are demanded"},
	{Name: "policies", Levels: OrganizationLevel | ProjectLevel, Admin: true, About: "what projects may use: models, hosted tools, data retention"},
	{Name: "limits", Levels: OrganizationLevel | ProjectLevel, Admin: true, About: "rate limits"},
	{Name: "spend", Levels: OrganizationLevel | ProjectLevel, Admin: true, About: "budgets, spend limits and alerts, credits and prices"},
	{Name: "alerts", Levels: OrganizationLevel, Admin: true, About: "alerts, their rules and where they are sent"},
	{Name: "workload_identity", Levels: OrganizationLevel, Admin: true, About: "identity providers of workloads, and which of their tokens become which service account"},
	{Name: "external_keys", Levels: OrganizationLevel, Admin: true, About: "keys in cloud accounts of the organization's own"},
	{Name: "external_storage", Levels: OrganizationLevel, Admin: true, About: "storage in cloud accounts of the organization's own"},
	{Name: "routing", Levels: OrganizationLevel, Admin: true, About: "upstreams, deployments and sealed secrets"},
	{Name: "audit_logs", Levels: OrganizationLevel, Admin: true, Only: "read", About: "the audit log"},
	{Name: "usage", Levels: OrganizationLevel, Admin: true, Only: "read", About: "usage, costs, and the record of a request"},

	{Name: "agents", Levels: ProjectLevel, About: "agents and their sessions"},
	{Name: "assistants", Levels: ProjectLevel, About: "assistants"},
	{Name: "audio", Levels: ProjectLevel, About: "voices and consents"},
	{Name: "batches", Levels: ProjectLevel, About: "batches"},
	{Name: "chat", Levels: ProjectLevel, About: "chat"},
	{Name: "chat.completions", Levels: ProjectLevel, About: "stored chat completions"},
	{Name: "chatkit", Levels: ProjectLevel, About: "ChatKit"},
	{Name: "completions", Levels: ProjectLevel, Only: "read", About: "legacy completions"},
	{Name: "containers", Levels: ProjectLevel, About: "containers and their files"},
	{Name: "content_provenance_checks", Levels: ProjectLevel, About: "content provenance checks"},
	{Name: "conversations", Levels: ProjectLevel, About: "conversations"},
	{Name: "decisions", Levels: ProjectLevel, Only: "read", About: "decisions"},
	{Name: "embeddings", Levels: ProjectLevel, Only: "read", About: "embeddings"},
	{Name: "evals", Levels: ProjectLevel, About: "evals"},
	{Name: "files", Levels: ProjectLevel, About: "files"},
	{Name: "fine_tuning", Levels: ProjectLevel, About: "fine-tuning"},
	{Name: "images", Levels: ProjectLevel, About: "images"},
	{Name: "live", Levels: ProjectLevel, About: "live sessions"},
	{Name: "models", Levels: ProjectLevel, About: "the list of models, and fine-tuned ones"},
	{Name: "moderations", Levels: ProjectLevel, Only: "read", About: "moderations"},
	{Name: "operations", Levels: ProjectLevel, About: "operations of Azure"},
	{Name: "realtime", Levels: ProjectLevel, About: "realtime sessions and calls"},
	{Name: "realtimeapi", Levels: ProjectLevel, Only: "write", About: "realtime sessions of Azure"},
	{Name: "responses", Levels: ProjectLevel, About: "responses"},
	{Name: "safety", Levels: ProjectLevel, About: "safety"},
	{Name: "skills", Levels: ProjectLevel, About: "skills"},
	{Name: "threads", Levels: ProjectLevel, About: "threads, messages and runs"},
	{Name: "uploads", Levels: ProjectLevel, About: "uploads"},
	{Name: "vaults", Levels: ProjectLevel, About: "vaults"},
	{Name: "vector_stores", Levels: ProjectLevel, About: "vector stores"},
	{Name: "videos", Levels: ProjectLevel, About: "videos"},
	{Name: "webhook_endpoints", Levels: ProjectLevel, About: "webhook endpoints"},
	{Name: "webhook_event_types", Levels: ProjectLevel, Only: "read", About: "types of webhook events"},
}

// managed reports whether a permission is about an area that ManagementWrite stands for.
func managed(permission string) bool {
	area, ok := strings.CutPrefix(permission, "api.")
	if !ok {
		return false
	}
	if i := strings.LastIndexByte(area, '.'); i >= 0 {
		area = area[:i]
	}
	return administered[area]
}

// administered are the areas that ManagementRead and ManagementWrite stand for.
var administered = func() map[string]bool {
	m := map[string]bool{}
	for i := range Areas {
		if a := &Areas[i]; a.Admin && a.Name != "usage" {
			m[a.Name] = true
		}
	}
	return m
}()

// known are the levels of every permission that a role may have.
var known = func() map[string]Level {
	m := map[string]Level{ModelRequest: ProjectLevel, ReadEverything: OrganizationLevel | ProjectLevel, ManagementRead: OrganizationLevel, ManagementWrite: OrganizationLevel}
	for i := range Areas {
		a := &Areas[i]
		for _, kind := range []string{"read", "write"} {
			if a.Only == "" || a.Only == kind {
				m["api."+a.Name+"."+kind] = a.Levels
			}
		}
	}
	return m
}()

// PermissionLevels returns the levels of the roles that may have a permission, 0 for one that nobody knows.
func PermissionLevels(permission string) Level { return known[canonicalPermission(permission)] }

// Permitted reports whether a set of permissions, or of a key's scopes, covers what needs one. The rules, of which one must hold:
//
//   - the needed one is among them; "api.model.request" is another spelling of "model.request"
//   - it is "api.AREA.read" and "api.AREA.write" is among them: who may write an area may read it
//   - it ends in ".read" and "api.all.read" is among them
//   - its area is one of administration and "api.management.write" is among them, or it ends in ".read" and "api.management.read" is
//
// One that nobody knows covers what it names and nothing else; an empty need is covered by nothing, so that an operation whose scope
// was forgotten fails closed. It allocates nothing.
func Permitted(permissions []string, need string) bool {
	if need == "" {
		return false
	}
	need = canonicalPermission(need)
	base, reads := strings.CutSuffix(need, ".read")
	managed := managed(need)
	for _, p := range permissions {
		p = canonicalPermission(p)
		switch {
		case p == need,
			reads && p == ReadEverything,
			reads && len(p) == len(base)+len(".write") && strings.HasPrefix(p, base) && strings.HasSuffix(p, ".write"),
			managed && (p == ManagementWrite || reads && p == ManagementRead):
			return true
		}
	}
	return false
}

// Administration returns the permissions of administration, those that stand for one area, that roles of a level may have and that a set
// covers: what somebody with the set may do that calls of models never may. It is in order.
func Administration(l Level, permissions []string) []string {
	var list []string
	for p, levels := range known {
		if levels&l != 0 && Administrative(p) && p != ManagementRead && p != ManagementWrite && Permitted(permissions, p) {
			list = append(list, p)
		}
	}
	slices.Sort(list)
	return list
}

func canonicalPermission(p string) string {
	if p == "api."+ModelRequest {
		return ModelRequest
	}
	return p
}

// The ids of predefined roles. They are the same in every organization.
const (
	RoleIDOwner         = "role-api-organization-owner"
	RoleIDReader        = "role-api-organization-reader"
	RoleIDProjectOwner  = "role-api-project-owner"
	RoleIDProjectMember = "role-api-project-member"
	RoleIDProjectViewer = "role-api-project-viewer"
)

// PredefinedRoles are the roles that every organization and every project has, in the order in which lists show them.
var PredefinedRoles = map[Level][]AccessRole{
	OrganizationLevel: {
		{ID: RoleIDOwner, Name: "owner", Predefined: true, Description: "Administers the organization.", Permissions: []string{ManagementWrite, "api.usage.read"}},
		{ID: RoleIDReader, Name: "reader", Predefined: true, Description: "Belongs to the organization, and administers nothing.", Permissions: []string{}},
	},
	ProjectLevel: {
		{ID: RoleIDProjectOwner, Name: "owner", Predefined: true, Description: "Calls models and administers the project's members, service accounts and keys.", Permissions: projectPermissions()},
		{ID: RoleIDProjectMember, Name: "member", Predefined: true, Description: "Calls models and uses every product.", Permissions: memberPermissions()},
		{ID: RoleIDProjectViewer, Name: "viewer", Predefined: true, Description: "Looks at what the project has, and calls no models.", Permissions: []string{ReadEverything}},
	},
}

// memberPermissions are all that a project's calls may need.
func memberPermissions() []string {
	list := []string{ModelRequest}
	for i := range Areas {
		if a := &Areas[i]; !a.Admin {
			kind := a.Only
			if kind == "" {
				kind = "write"
			}
			list = append(list, "api."+a.Name+"."+kind)
		}
	}
	return list
}

// delegated are the areas of administration that a project's owner has in it. What restricts a project is not among them: its owner
// could else lift it.
var delegated = []string{"users", "groups", "roles", "api_keys", "service_accounts"}

func projectPermissions() []string {
	list := append(memberPermissions(), ReadEverything)
	for i := range Areas {
		a := &Areas[i]
		switch {
		case !a.Admin || a.Levels&ProjectLevel == 0:
		case slices.Contains(delegated, a.Name):
			list = append(list, "api."+a.Name+".write")
		default:
			list = append(list, "api."+a.Name+".read")
		}
	}
	return list
}

// predefinedByID are the predefined roles and where they hold.
var predefinedByID = func() map[string]predefined {
	m := map[string]predefined{}
	for level, list := range PredefinedRoles {
		for i := range list {
			m[list[i].ID] = predefined{&list[i], level}
		}
	}
	return m
}()

type predefined struct {
	role  *AccessRole
	level Level
}

// PredefinedRole returns a predefined role of a level by its id, nil for any other.
func PredefinedRole(l Level, id string) *AccessRole {
	if p := predefinedByID[id]; p.level == l {
		return p.role
	}
	return nil
}

// PredefinedNamed returns the predefined role of a level by its name, nil for none.
func PredefinedNamed(l Level, name Role) *AccessRole {
	list := PredefinedRoles[l]
	for i := range list {
		if list[i].Name == string(name) {
			return &list[i]
		}
	}
	return nil
}

// Administrative reports whether a permission is about an area of administration.
func Administrative(permission string) bool {
	switch permission {
	case "api.usage.read", ManagementRead, ManagementWrite:
		return true
	}
	return managed(permission)
}

// Invite asks somebody to join an organization, by a link that only they are given. Whoever has the link, and answers in time, becomes
// a user.
type Invite struct {
	ID           string
	Organization string
	Email        string
	Role         Role // in the organization
	Projects     []InviteProject
	Digest       string // SHA-256 of the token in the link, in hexadecimal
	By           string // id of the user whose key made it, where there is one
	CreatedAt    Millis
	ExpiresAt    Millis
	AcceptedAt   Millis
	AcceptedBy   string // id of the user they became
	RemovedAt    Millis
	Rev          int64
}

// InviteProject is a project that somebody becomes a member of.
type InviteProject struct {
	ID   string `json:"id"`
	Role Role   `json:"role"`
}

// Status returns pending, accepted or expired, in OpenAI's words.
func (v *Invite) Status(now Millis) string {
	switch {
	case v.AcceptedAt != 0:
		return "accepted"
	case now >= v.ExpiresAt:
		return "expired"
	}
	return "pending"
}
