package sdk

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"

	"gatehouse/gatehousetest"
)

// restricted is a key with restrictions that OpenAI's API cannot express.
type restricted struct {
	ID    string `json:"id"`
	Value string `json:"value"`
}

// newKey creates a key of the project's first user.
func newKey(t *testing.T, s *gatehousetest.Server, restrictions map[string]any) restricted {
	t.Helper()
	var users struct {
		Data []struct {
			ID string `json:"id"`
		} `json:"data"`
	}
	s.Admin(http.MethodGet, "/v1/organization/users", "", &users)
	restrictions["class"], restrictions["project_id"], restrictions["user_id"], restrictions["name"] = "project", s.ProjectID, users.Data[0].ID, "restricted"
	var key restricted
	s.Admin(http.MethodPost, "/gatehouse/v1/keys", encode(t, restrictions), &key)
	return key
}

func TestGoAdmin(t *testing.T) {
	s := gatehousetest.Start(t, gatehousetest.Options{})
	// Both headers come with admin calls too.
	c := client(s, option.WithOrganization(s.OrganizationID), option.WithProject(s.ProjectID))
	org := c.Admin.Organization
	ctx := t.Context()
	now := time.Now().Unix()
	call := func(key string) error {
		_, err := c.Chat.Completions.New(ctx, ask("gpt-4o"), option.WithAPIKey(key))
		return err
	}

	t.Run("projects", func(t *testing.T) {
		made := must[*openai.Project](t)(org.Projects.New(ctx, openai.AdminOrganizationProjectNewParams{Name: "Alpha"}))
		if made.Object != "organization.project" || made.Status != "active" || made.Name != "Alpha" || made.CreatedAt < now-5 || made.ArchivedAt != 0 {
			t.Errorf("project %s", made.RawJSON())
		}
		updated := must[*openai.Project](t)(org.Projects.Update(ctx, made.ID, openai.AdminOrganizationProjectUpdateParams{Name: openai.String("Beta")}))
		found := must[*openai.Project](t)(org.Projects.Get(ctx, made.ID))
		if updated.Name != "Beta" || found.Name != "Beta" {
			t.Errorf("updated %s, found %s", updated.RawJSON(), found.RawJSON())
		}
		account := must[*openai.AdminOrganizationProjectServiceAccountNewResponse](t)(org.Projects.ServiceAccounts.New(ctx, made.ID, openai.AdminOrganizationProjectServiceAccountNewParams{Name: "bot"}))
		inIt := []option.RequestOption{option.WithAPIKey(account.APIKey.Value), option.WithProject(made.ID)}
		if _, err := c.Chat.Completions.New(ctx, ask("gpt-4o"), inIt...); err != nil {
			t.Error(err)
		}
		archived := must[*openai.Project](t)(org.Projects.Archive(ctx, made.ID))
		if archived.Status != "archived" || archived.ArchivedAt < made.CreatedAt {
			t.Errorf("archived %s", archived.RawJSON())
		}
		_, err := c.Chat.Completions.New(ctx, ask("gpt-4o"), inIt...)
		failure{status: 401, code: "project_archived"}.check(t, s, err)
		for _, withArchived := range []bool{false, true} {
			list := org.Projects.ListAutoPaging(ctx, openai.AdminOrganizationProjectListParams{IncludeArchived: openai.Bool(withArchived)})
			all := pages(t, list.Next, list.Current, list.Err)
			if there := slices.ContainsFunc(all, func(p openai.Project) bool { return p.ID == made.ID }); there != withArchived {
				t.Errorf("include_archived=%v: listed %v", withArchived, there)
			}
		}
	})

	t.Run("service accounts", func(t *testing.T) {
		accounts := org.Projects.ServiceAccounts
		made := must[*openai.AdminOrganizationProjectServiceAccountNewResponse](t)(accounts.New(ctx, s.ProjectID, openai.AdminOrganizationProjectServiceAccountNewParams{Name: "robot"}))
		if !strings.HasPrefix(made.APIKey.Value, "sk-svcacct-gtk") || made.Role != "member" || made.APIKey.JSON.ExpiresAt.Raw() != "null" {
			t.Errorf("account %s", made.RawJSON())
		}
		bare := must[*openai.AdminOrganizationProjectServiceAccountNewResponse](t)(accounts.New(ctx, s.ProjectID, openai.AdminOrganizationProjectServiceAccountNewParams{Name: "bare", CreateServiceAccountOnly: openai.Bool(true)}))
		if bare.JSON.APIKey.Raw() != "null" {
			t.Errorf("account %s", bare.RawJSON())
		}
		if got := must[*openai.ProjectServiceAccount](t)(accounts.Update(ctx, s.ProjectID, made.ID, openai.AdminOrganizationProjectServiceAccountUpdateParams{Name: openai.String("droid")})); got.Name != "droid" {
			t.Errorf("updated %s", got.RawJSON())
		}
		if got := must[*openai.ProjectServiceAccount](t)(accounts.Get(ctx, s.ProjectID, made.ID)); got.Name != "droid" {
			t.Errorf("found %s", got.RawJSON())
		}
		second := must[*openai.AdminOrganizationProjectServiceAccountAPIKeyNewResponse](t)(accounts.APIKeys.New(ctx, s.ProjectID, made.ID, openai.AdminOrganizationProjectServiceAccountAPIKeyNewParams{
			Name: openai.String("second"), Scopes: []string{"model.request"}, ExpiresInSeconds: openai.Int(3600)}))
		if second.ExpiresAt < now+3595 {
			t.Errorf("key %s", second.RawJSON())
		}
		for _, key := range []string{made.APIKey.Value, second.Value} {
			if err := call(key); err != nil {
				t.Error(err)
			}
		}
		deleted := must[*openai.AdminOrganizationProjectAPIKeyDeleteResponse](t)(org.Projects.APIKeys.Delete(ctx, s.ProjectID, second.ID))
		if !deleted.Deleted || deleted.ID != second.ID {
			t.Errorf("deleted %s", deleted.RawJSON())
		}
		failure{status: 401, code: "api_key_revoked"}.check(t, s, call(second.Value))
		must[*openai.AdminOrganizationProjectServiceAccountDeleteResponse](t)(accounts.Delete(ctx, s.ProjectID, made.ID))
		failure{status: 401}.check(t, s, call(made.APIKey.Value))
	})

	t.Run("project keys", func(t *testing.T) {
		keys := org.Projects.APIKeys
		key := newKey(t, s, map[string]any{})
		found := must[*openai.ProjectAPIKey](t)(keys.Get(ctx, s.ProjectID, key.ID))
		if found.Owner.Type != "user" || found.Owner.User.ID == "" || found.OwnerProjectAccess != "active" || found.JSON.LastUsedAt.Raw() != "null" || strings.Contains(found.RawJSON(), key.Value) {
			t.Errorf("key %s", found.RawJSON())
		}
		must[*openai.ProjectAPIKey](t)(keys.Update(ctx, s.ProjectID, key.ID, openai.AdminOrganizationProjectAPIKeyUpdateParams{Scopes: []string{"api.all.read"}}))
		failure{status: 401, code: "missing_scope"}.check(t, s, call(key.Value))
		updated := must[*openai.ProjectAPIKey](t)(keys.Update(ctx, s.ProjectID, key.ID, openai.AdminOrganizationProjectAPIKeyUpdateParams{Scopes: []string{}, ExpiresInSeconds: 3600}))
		if updated.ExpiresAt < now+3595 {
			t.Errorf("updated %s", updated.RawJSON())
		}
		if err := call(key.Value); err != nil {
			t.Error(err)
		}
		for access, want := range map[openai.AdminOrganizationProjectAPIKeyListParamsOwnerProjectAccess]bool{"active": true, "any": true, "inactive": false} {
			list := keys.ListAutoPaging(ctx, s.ProjectID, openai.AdminOrganizationProjectAPIKeyListParams{OwnerProjectAccess: access})
			all := pages(t, list.Next, list.Current, list.Err)
			if got := slices.ContainsFunc(all, func(k openai.ProjectAPIKey) bool { return k.ID == key.ID }); got != want {
				t.Errorf("owner_project_access=%s: listed %v", access, got)
			}
		}
		must[*openai.AdminOrganizationProjectAPIKeyDeleteResponse](t)(keys.Delete(ctx, s.ProjectID, key.ID))
		failure{status: 401, code: "api_key_revoked"}.check(t, s, call(key.Value))
		_, err := keys.Get(ctx, s.ProjectID, key.ID)
		failure{status: 404}.check(t, s, err)
	})

	t.Run("admin keys", func(t *testing.T) {
		keys := org.AdminAPIKeys
		made := must[*openai.AdminOrganizationAdminAPIKeyNewResponse](t)(keys.New(ctx, openai.AdminOrganizationAdminAPIKeyNewParams{Name: "ci", ExpiresInSeconds: openai.Int(3600)}))
		if !strings.HasPrefix(made.Value, "sk-admin-gtk") || made.ExpiresAt < now+3595 {
			t.Errorf("key %s", made.RawJSON())
		}
		found := must[*openai.AdminAPIKey](t)(keys.Get(ctx, made.ID))
		if found.Name != "ci" || found.Owner.Type != "user" || strings.Contains(found.RawJSON(), made.Value) {
			t.Errorf("key %s", found.RawJSON())
		}
		with := option.WithAdminAPIKey(made.Value)
		if _, err := org.Projects.List(ctx, openai.AdminOrganizationProjectListParams{}, with); err != nil {
			t.Error(err)
		}
		must[*openai.AdminOrganizationAdminAPIKeyDeleteResponse](t)(keys.Delete(ctx, made.ID))
		_, err := org.Projects.List(ctx, openai.AdminOrganizationProjectListParams{}, with)
		failure{status: 401, code: "api_key_revoked"}.check(t, s, err)
	})

	t.Run("refusals", func(t *testing.T) {
		_, err := org.Projects.Get(ctx, "proj_nobodymadethis")
		failure{status: 404}.check(t, s, err)
		_, err = org.Projects.New(ctx, openai.AdminOrganizationProjectNewParams{Name: ""})
		failure{status: 400, code: "missing_required_parameter", param: "name"}.check(t, s, err)
		_, err = org.Projects.List(ctx, openai.AdminOrganizationProjectListParams{}, option.WithAdminAPIKey(s.APIKey))
		failure{status: 403, code: "missing_scope"}.check(t, s, err)
		_, err = org.Projects.List(ctx, openai.AdminOrganizationProjectListParams{Limit: openai.Int(101)})
		failure{status: 400, param: "limit"}.check(t, s, err)
	})
}

func TestGoPaging(t *testing.T) {
	s := gatehousetest.Start(t, gatehousetest.Options{})
	c := client(s)
	org := c.Admin.Organization
	ctx := t.Context()
	const count = 43
	var projects, accounts, keys, adminKeys []string
	for range count {
		projects = append(projects, must[*openai.Project](t)(org.Projects.New(ctx, openai.AdminOrganizationProjectNewParams{Name: "many"})).ID)
		account := must[*openai.AdminOrganizationProjectServiceAccountNewResponse](t)(org.Projects.ServiceAccounts.New(ctx, s.ProjectID, openai.AdminOrganizationProjectServiceAccountNewParams{Name: "many"}))
		accounts, keys = append(accounts, account.ID), append(keys, account.APIKey.ID)
		adminKeys = append(adminKeys, must[*openai.AdminOrganizationAdminAPIKeyNewResponse](t)(org.AdminAPIKeys.New(ctx, openai.AdminOrganizationAdminAPIKeyNewParams{Name: "many"})).ID)
	}
	lists := []struct {
		name string
		made []string
		list func(limit int64) []string
	}{
		{"projects", projects, func(limit int64) (ids []string) {
			l := org.Projects.ListAutoPaging(ctx, openai.AdminOrganizationProjectListParams{Limit: openai.Int(limit)})
			for _, e := range pages(t, l.Next, l.Current, l.Err) {
				ids = append(ids, e.ID)
			}
			return ids
		}},
		{"service accounts", accounts, func(limit int64) (ids []string) {
			l := org.Projects.ServiceAccounts.ListAutoPaging(ctx, s.ProjectID, openai.AdminOrganizationProjectServiceAccountListParams{Limit: openai.Int(limit)})
			for _, e := range pages(t, l.Next, l.Current, l.Err) {
				ids = append(ids, e.ID)
			}
			return ids
		}},
		{"project keys", keys, func(limit int64) (ids []string) {
			l := org.Projects.APIKeys.ListAutoPaging(ctx, s.ProjectID, openai.AdminOrganizationProjectAPIKeyListParams{Limit: openai.Int(limit), OwnerProjectAccess: "active"})
			for _, e := range pages(t, l.Next, l.Current, l.Err) {
				ids = append(ids, e.ID)
			}
			return ids
		}},
		{"admin keys", adminKeys, func(limit int64) (ids []string) {
			l := org.AdminAPIKeys.ListAutoPaging(ctx, openai.AdminOrganizationAdminAPIKeyListParams{Limit: openai.Int(limit), Order: "asc"})
			for _, e := range pages(t, l.Next, l.Current, l.Err) {
				ids = append(ids, e.ID)
			}
			return ids
		}},
	}
	for _, tt := range lists {
		t.Run(tt.name, func(t *testing.T) {
			all := tt.list(100)
			var made []string
			for _, id := range all {
				if slices.Contains(tt.made, id) {
					made = append(made, id)
				}
			}
			if !slices.Equal(made, tt.made) {
				t.Errorf("listed %d of the %d that were made, or in another order", len(made), len(tt.made))
			}
			for limit := int64(3); limit <= 7; limit++ {
				if got := tt.list(limit); !slices.Equal(got, all) {
					t.Errorf("pages of %d gave %d elements, one page gave %d", limit, len(got), len(all))
				}
			}
		})
	}
}

func TestGoUsage(t *testing.T) {
	s := gatehousetest.Start(t, gatehousetest.Options{})
	c := client(s)
	ctx := t.Context()
	start := time.Now().Unix() // of today alone, also just after midnight
	chat := must[*openai.ChatCompletion](t)(c.Chat.Completions.New(ctx, ask("gpt-4o")))
	made := must[*openai.CreateEmbeddingResponse](t)(c.Embeddings.New(ctx, openai.EmbeddingNewParams{Model: "text-embedding-3-small", Input: openai.EmbeddingNewParamsInputUnion{OfString: openai.String("one two three")}}))

	completions := must[*openai.AdminOrganizationUsageCompletionsResponse](t)(c.Admin.Organization.Usage.Completions(ctx, openai.AdminOrganizationUsageCompletionsParams{StartTime: start, GroupBy: []string{"model", "project_id"}, ProjectIDs: []string{s.ProjectID}}))
	if len(completions.Data) != 1 || len(completions.Data[0].Results) != 1 || completions.HasMore {
		t.Fatalf("usage %s", completions.RawJSON())
	}
	r := completions.Data[0].Results[0]
	if r.Object != "organization.usage.completions.result" || r.Model != "gpt-4o" || r.ProjectID != s.ProjectID || r.NumModelRequests != 1 || r.InputTokens != chat.Usage.PromptTokens || r.OutputTokens != chat.Usage.CompletionTokens {
		t.Errorf("usage %s, want %+v", completions.RawJSON(), chat.Usage)
	}
	embeddings := must[*openai.AdminOrganizationUsageEmbeddingsResponse](t)(c.Admin.Organization.Usage.Embeddings(ctx, openai.AdminOrganizationUsageEmbeddingsParams{StartTime: start}))
	if len(embeddings.Data) != 1 || len(embeddings.Data[0].Results) != 1 || embeddings.Data[0].Results[0].InputTokens != made.Usage.PromptTokens {
		t.Errorf("usage %s, want %+v", embeddings.RawJSON(), made.Usage)
	}
}

func TestGoAuditLogs(t *testing.T) {
	s := gatehousetest.Start(t, gatehousetest.Options{})
	c := client(s)
	org := c.Admin.Organization
	ctx := t.Context()
	made := must[*openai.Project](t)(org.Projects.New(ctx, openai.AdminOrganizationProjectNewParams{Name: "Watched"}))
	for range 10 {
		must[*openai.Project](t)(org.Projects.Update(ctx, made.ID, openai.AdminOrganizationProjectUpdateParams{Name: openai.String("Renamed")}))
	}
	pages := org.AuditLogs.ListAutoPaging(ctx, openai.AdminOrganizationAuditLogListParams{ProjectIDs: []string{made.ID}, Limit: openai.Int(3)})
	n := 0
	for pages.Next() {
		e := pages.Current()
		if e.Project.ID != made.ID || e.Actor.Type != "api_key" || !strings.HasPrefix(e.Actor.APIKey.User.ID, "user-") || e.EffectiveAt < time.Now().Unix()-60 {
			t.Errorf("entry %s", e.RawJSON())
		}
		if e.Type == "project.created" && (e.ProjectCreated.ID != made.ID || e.ProjectCreated.Data.Title != "Watched") {
			t.Errorf("created %s", e.RawJSON())
		}
		n++
	}
	if err := pages.Err(); err != nil || n != 11 {
		t.Errorf("%d entries, %v", n, err)
	}
	page, err := org.AuditLogs.List(ctx, openai.AdminOrganizationAuditLogListParams{ResourceIDs: []string{made.ID}, EventTypes: []string{"project.created"}})
	if err != nil || len(page.Data) != 1 {
		t.Errorf("%+v, %v", page, err)
	}
}

// TestGoProjectPolicy sets what a project may do through openai-go.
func TestGoProjectPolicy(t *testing.T) {
	s := gatehousetest.Start(t, gatehousetest.Options{})
	c := client(s)
	org, ctx := c.Admin.Organization, t.Context()
	models := must[*openai.ProjectModelPermissions](t)(org.Projects.ModelPermissions.Update(ctx, s.ProjectID, openai.AdminOrganizationProjectModelPermissionUpdateParams{Mode: "deny_list", ModelIDs: []string{"gpt-4o"}}))
	if models.Mode != "deny_list" || len(models.ModelIDs) != 1 || string(models.Object) != "project.model_permissions" {
		t.Errorf("%s", models.RawJSON())
	}
	if got := must[*openai.ProjectModelPermissions](t)(org.Projects.ModelPermissions.Get(ctx, s.ProjectID)); got.ModelIDs[0] != "gpt-4o" {
		t.Errorf("%s", got.RawJSON())
	}
	if got := must[*openai.ProjectModelPermissionsDeleted](t)(org.Projects.ModelPermissions.Delete(ctx, s.ProjectID)); !got.Deleted {
		t.Errorf("%s", got.RawJSON())
	}
	var deny openai.AdminOrganizationProjectHostedToolPermissionUpdateParams
	deny.SetExtraFields(map[string]any{"mcp": map[string]any{"enabled": false}}) // the SDK leaves out a tool whose every field is zero
	tools := must[*openai.ProjectHostedToolPermissions](t)(org.Projects.HostedToolPermissions.Update(ctx, s.ProjectID, deny))
	if tools.Mcp.Enabled || !tools.WebSearch.Enabled {
		t.Errorf("%s", tools.RawJSON())
	}
	if got := must[*openai.ProjectHostedToolPermissions](t)(org.Projects.HostedToolPermissions.Get(ctx, s.ProjectID)); got.Mcp.Enabled {
		t.Errorf("%s", got.RawJSON())
	}
	kept := must[*openai.ProjectDataRetention](t)(org.Projects.DataRetention.Update(ctx, s.ProjectID, openai.AdminOrganizationProjectDataRetentionUpdateParams{RetentionType: "none"}))
	if got := must[*openai.ProjectDataRetention](t)(org.Projects.DataRetention.Get(ctx, s.ProjectID)); kept.Type != "none" || got.Type != "none" {
		t.Errorf("%s %s", kept.RawJSON(), got.RawJSON())
	}
	all := must[*openai.OrganizationDataRetention](t)(org.DataRetention.Update(ctx, openai.AdminOrganizationDataRetentionUpdateParams{RetentionType: "zero_data_retention"}))
	if got := must[*openai.OrganizationDataRetention](t)(org.DataRetention.Get(ctx)); all.Type != "zero_data_retention" || got.Type != "zero_data_retention" {
		t.Errorf("%s %s", all.RawJSON(), got.RawJSON())
	}
}

// TestGoUsers lists, changes and removes users and members through openai-go.
func TestGoUsers(t *testing.T) {
	s := gatehousetest.Start(t, gatehousetest.Options{})
	c := client(s)
	org, ctx := c.Admin.Organization, t.Context()
	made := must[*openai.Project](t)(org.Projects.New(ctx, openai.AdminOrganizationProjectNewParams{Name: "Team"}))
	pages := org.Users.ListAutoPaging(ctx, openai.AdminOrganizationUserListParams{Limit: openai.Int(1)})
	var owner openai.OrganizationUser
	for pages.Next() {
		owner = pages.Current()
	}
	if err := pages.Err(); err != nil || owner.Role != "owner" || owner.User.ID != owner.ID || owner.AddedAt == 0 {
		t.Fatalf("%v %s", err, owner.RawJSON())
	}
	m := must[*openai.ProjectUser](t)(org.Projects.Users.New(ctx, made.ID, openai.AdminOrganizationProjectUserNewParams{UserID: openai.String(owner.ID), Role: "owner"}))
	if m.ID != owner.ID || m.Role != "owner" {
		t.Errorf("%s", m.RawJSON())
	}
	got := must[*openai.OrganizationUser](t)(org.Users.Get(ctx, owner.ID))
	if !slices.ContainsFunc(got.Projects.Data, func(p openai.OrganizationUserProjectsData) bool {
		return p.ID == made.ID && p.Name == "Team" && p.Role == "owner"
	}) {
		t.Errorf("%s", got.RawJSON())
	}
	if got := must[*openai.ProjectUser](t)(org.Projects.Users.Update(ctx, made.ID, owner.ID, openai.AdminOrganizationProjectUserUpdateParams{Role: openai.String("viewer")})); got.Role != "viewer" {
		t.Errorf("%s", got.RawJSON())
	}
	if got := must[*openai.ProjectUser](t)(org.Projects.Users.Get(ctx, made.ID, owner.ID)); got.Role != "viewer" {
		t.Errorf("%s", got.RawJSON())
	}
	if got := must[*openai.AdminOrganizationProjectUserDeleteResponse](t)(org.Projects.Users.Delete(ctx, made.ID, owner.ID)); !got.Deleted {
		t.Errorf("%s", got.RawJSON())
	}
	if page, err := org.Projects.Users.List(ctx, made.ID, openai.AdminOrganizationProjectUserListParams{}); err != nil || len(page.Data) != 0 {
		t.Errorf("%v %+v", err, page)
	}
	var guest struct{ ID string }
	s.Admin("POST", "/gatehouse/v1/users", `{"name":"Guest"}`, &guest)
	if got := must[*openai.OrganizationUser](t)(org.Users.Update(ctx, guest.ID, openai.AdminOrganizationUserUpdateParams{Role: openai.String("owner")})); got.Role != "owner" {
		t.Errorf("%s", got.RawJSON())
	}
	if got := must[*openai.AdminOrganizationUserDeleteResponse](t)(org.Users.Delete(ctx, guest.ID)); !got.Deleted {
		t.Errorf("%s", got.RawJSON())
	}
	_, err := org.Users.Update(ctx, owner.ID, openai.AdminOrganizationUserUpdateParams{Role: openai.String("reader")})
	var e *openai.Error
	if !errors.As(err, &e) || e.StatusCode != 409 || e.Code != "last_owner" {
		t.Errorf("the last owner became a reader: %v", err)
	}
	if _, err = org.Users.Delete(ctx, owner.ID); !errors.As(err, &e) || e.Code != "last_owner" {
		t.Errorf("the last owner was removed: %v", err)
	}
}

// TestGoCertificates stores, lists, puts into force and removes certificates, and sets service tiers, through openai-go.
func TestGoCertificates(t *testing.T) {
	s := gatehousetest.Start(t, gatehousetest.Options{})
	c := client(s)
	org, ctx := c.Admin.Organization, t.Context()
	var ids []string
	for _, name := range []string{"a", "b", "c"} {
		made := must[*openai.Certificate](t)(org.Certificates.New(ctx, openai.AdminOrganizationCertificateNewParams{Certificate: gatehousetest.NewAuthority(t, name).PEM, Name: openai.String(name)}))
		if made.Name != name || made.CertificateDetails.ExpiresAt == 0 {
			t.Error(made.RawJSON())
		}
		ids = append(ids, made.ID)
	}
	if got := must[*openai.Certificate](t)(org.Certificates.Get(ctx, ids[0], openai.AdminOrganizationCertificateGetParams{Include: []string{"content"}})); !strings.HasPrefix(got.CertificateDetails.Content, "-----BEGIN CERTIFICATE-----") {
		t.Error(got.RawJSON())
	}
	if got := must[*openai.Certificate](t)(org.Certificates.Update(ctx, ids[0], openai.AdminOrganizationCertificateUpdateParams{Name: openai.String("renamed")})); got.Name != "renamed" {
		t.Error(got.RawJSON())
	}
	var listed []string
	pages := org.Certificates.ListAutoPaging(ctx, openai.AdminOrganizationCertificateListParams{Limit: openai.Int(2), Order: "asc"})
	for pages.Next() {
		listed = append(listed, pages.Current().ID)
	}
	if err := pages.Err(); err != nil || !slices.Equal(listed, ids) {
		t.Errorf("listed %v, %v; want %v", listed, err, ids)
	}
	if on, err := org.Certificates.Activate(ctx, openai.AdminOrganizationCertificateActivateParams{CertificateIDs: ids[:2]}); err != nil || len(on.Data) != 2 || !on.Data[0].Active {
		t.Errorf("%v %+v", err, on)
	}
	if off, err := org.Certificates.Deactivate(ctx, openai.AdminOrganizationCertificateDeactivateParams{CertificateIDs: ids[:2]}); err != nil || len(off.Data) != 2 || off.Data[0].Active {
		t.Errorf("%v %+v", err, off)
	}
	project := org.Projects.Certificates
	if on, err := project.Activate(ctx, s.ProjectID, openai.AdminOrganizationProjectCertificateActivateParams{CertificateIDs: ids[2:]}); err != nil || len(on.Data) != 1 || !on.Data[0].Active {
		t.Errorf("%v %+v", err, on)
	}
	there := project.ListAutoPaging(ctx, s.ProjectID, openai.AdminOrganizationProjectCertificateListParams{Limit: openai.Int(1)})
	active := 0
	for there.Next() {
		if there.Current().Active {
			active++
		}
	}
	if err := there.Err(); err != nil || active != 1 {
		t.Errorf("%d are active in the project, %v", active, err)
	}
	if off, err := project.Deactivate(ctx, s.ProjectID, openai.AdminOrganizationProjectCertificateDeactivateParams{CertificateIDs: ids[2:]}); err != nil || len(off.Data) != 1 || off.Data[0].Active {
		t.Errorf("%v %+v", err, off)
	}
	for _, id := range ids {
		if d := must[*openai.AdminOrganizationCertificateDeleteResponse](t)(org.Certificates.Delete(ctx, id)); d.ID != id {
			t.Error(d.RawJSON())
		}
	}

	tiers := org.Projects.ServiceTierSettings
	if got, err := tiers.Update(ctx, s.ProjectID, openai.AdminOrganizationProjectServiceTierSettingUpdateParams{Default: "fast"}); err != nil || got.Default != "fast" {
		t.Errorf("%v %+v", err, got)
	}
	if got, err := tiers.Get(ctx, s.ProjectID); err != nil || got.Default != "fast" {
		t.Errorf("%v %+v", err, got)
	}
}

// TestGoFederation registers issuers of tokens and what becomes of their tokens through openai-go.
func TestGoFederation(t *testing.T) {
	s := gatehousetest.Start(t, gatehousetest.Options{})
	c := client(s)
	org, ctx := c.Admin.Organization, t.Context()
	providers := org.WorkloadIdentityProviders
	var ids []string
	for _, name := range []string{"a", "b", "c"} {
		made := must[*openai.WorkloadIdentityProvider](t)(providers.New(ctx, openai.AdminOrganizationWorkloadIdentityProviderNewParams{Name: name, Issuer: "https://" + name + ".example.com", Audience: "gatehouse"}))
		if made.Verification.Type != "discovery" || !made.Enabled || made.Issuer != "https://"+name+".example.com" {
			t.Error(made.RawJSON())
		}
		ids = append(ids, made.ID)
	}
	if got := must[*openai.WorkloadIdentityProvider](t)(providers.Update(ctx, ids[0], openai.AdminOrganizationWorkloadIdentityProviderUpdateParams{Enabled: openai.Bool(false)})); got.Enabled {
		t.Error(got.RawJSON())
	}
	if got := must[*openai.WorkloadIdentityProvider](t)(providers.Get(ctx, ids[0])); got.Enabled || got.Name != "a" {
		t.Error(got.RawJSON())
	}
	var listed []string
	pages := providers.ListAutoPaging(ctx, openai.AdminOrganizationWorkloadIdentityProviderListParams{Limit: openai.Int(2), Order: "asc"})
	for pages.Next() {
		listed = append(listed, pages.Current().ID)
	}
	if err := pages.Err(); err != nil || !slices.Equal(listed, ids) {
		t.Errorf("listed %v, %v; want %v", listed, err, ids)
	}
	account := must[*openai.AdminOrganizationProjectServiceAccountNewResponse](t)(org.Projects.ServiceAccounts.New(ctx, s.ProjectID, openai.AdminOrganizationProjectServiceAccountNewParams{Name: "robot"}))
	rules := providers.FederationRules
	type matcher = openai.AdminOrganizationWorkloadIdentityProviderFederationRuleNewParamsAttributeMatcherUnion
	rule := must[*openai.FederationRule](t)(rules.New(ctx, ids[1], openai.AdminOrganizationWorkloadIdentityProviderFederationRuleNewParams{ProjectID: s.ProjectID, ServiceAccountID: account.ID,
		AttributeMatchers: map[string]matcher{"sub": {OfString: openai.String("repo:acme/shop")}, "protected": {OfBool: openai.Bool(true)}}}))
	if rule.WorkloadIdentityProviderID != ids[1] || rule.Permissions.Type != "service_account_default" || rule.AttributeMatchers["sub"].OfString != "repo:acme/shop" {
		t.Error(rule.RawJSON())
	}
	if got := must[*openai.FederationRule](t)(rules.Update(ctx, ids[1], rule.ID, openai.AdminOrganizationWorkloadIdentityProviderFederationRuleUpdateParams{Name: openai.String("main")})); got.Name != "main" {
		t.Error(got.RawJSON())
	}
	if got := must[*openai.FederationRule](t)(rules.Get(ctx, ids[1], rule.ID)); got.Name != "main" {
		t.Error(got.RawJSON())
	}
	there := rules.ListAutoPaging(ctx, ids[1], openai.AdminOrganizationWorkloadIdentityProviderFederationRuleListParams{})
	n := 0
	for there.Next() {
		n++
	}
	if err := there.Err(); err != nil || n != 1 {
		t.Errorf("%d rules, %v", n, err)
	}
	if d := must[*openai.FederationRuleDeleted](t)(rules.Delete(ctx, ids[1], rule.ID)); !d.Deleted {
		t.Error(d.RawJSON())
	}
	if d := must[*openai.WorkloadIdentityProviderDeleted](t)(providers.Delete(ctx, ids[1])); !d.Deleted {
		t.Error(d.RawJSON())
	}
}

// TestGoExternals registers external keys and storage through openai-go.
func TestGoExternals(t *testing.T) {
	s := gatehousetest.Start(t, gatehousetest.Options{})
	c := client(s)
	org, ctx := c.Admin.Organization, t.Context()
	const role = "arn:aws:iam::123456789012:role/gatehouse"
	key := must[*openai.ExternalKey](t)(org.ExternalKeys.New(ctx, openai.AdminOrganizationExternalKeyNewParams{OfAws: &openai.AdminOrganizationExternalKeyNewParamsBodyAws{Name: "kms", RoleArn: role, KmsArn: "arn:aws:kms:eu-west-1:123456789012:key/k", ExternalID: "e"}}))
	if got := must[*openai.ExternalKey](t)(org.ExternalKeys.Get(ctx, key.ID)); got.RoleArn != role || got.Type != "aws" {
		t.Error(got.RawJSON())
	}
	if page, err := org.ExternalKeys.List(ctx, openai.AdminOrganizationExternalKeyListParams{}); err != nil || len(page.Data) != 1 {
		t.Errorf("%v %+v", err, page)
	}
	if got := must[*openai.AdminOrganizationExternalKeyValidateResponse](t)(org.ExternalKeys.Validate(ctx, key.ID)); got.Status != "failed" {
		t.Error(got.RawJSON())
	}
	if got := must[*openai.ExternalKey](t)(org.ExternalKeys.Delete(ctx, key.ID)); got.ID != key.ID {
		t.Error(got.RawJSON())
	}
	made := must[*openai.ExternalStorageConfiguration](t)(org.ExternalStorage.New(ctx, openai.AdminOrganizationExternalStorageNewParams{ProjectID: s.ProjectID,
		Provider: openai.AdminOrganizationExternalStorageNewParamsProviderUnion{OfAws: &openai.AdminOrganizationExternalStorageNewParamsProviderAws{Bucket: "b", RoleArn: role}}}))
	if got := must[*openai.ExternalStorageConfiguration](t)(org.ExternalStorage.Get(ctx, made.ID)); got.Status != "pending" || got.Provider.Bucket != "b" {
		t.Error(got.RawJSON())
	}
	if page, err := org.ExternalStorage.List(ctx, openai.AdminOrganizationExternalStorageListParams{}); err != nil || len(page.Data) != 1 {
		t.Errorf("%v %+v", err, page)
	}
	if got := must[*openai.ExternalStorageConfiguration](t)(org.ExternalStorage.Validate(ctx, made.ID)); got.Status != "unhealthy" {
		t.Error(got.RawJSON())
	}
	if d := must[*openai.ExternalStorageDeleted](t)(org.ExternalStorage.Delete(ctx, made.ID)); !d.Deleted {
		t.Error(d.RawJSON())
	}
}

// TestGoKeysAndAccounts reads, changes and removes accounts, keys and rate limits through openai-go.
func TestGoKeysAndAccounts(t *testing.T) {
	s := gatehousetest.Start(t, gatehousetest.Options{})
	c := client(s)
	org, ctx := c.Admin.Organization, t.Context()
	accounts := org.Projects.ServiceAccounts
	account := must[*openai.AdminOrganizationProjectServiceAccountNewResponse](t)(accounts.New(ctx, s.ProjectID, openai.AdminOrganizationProjectServiceAccountNewParams{Name: "robot"}))
	if got := must[*openai.ProjectServiceAccount](t)(accounts.Update(ctx, s.ProjectID, account.ID, openai.AdminOrganizationProjectServiceAccountUpdateParams{Name: openai.String("android")})); got.Name != "android" {
		t.Error(got.RawJSON())
	}
	if got := must[*openai.ProjectServiceAccount](t)(accounts.Get(ctx, s.ProjectID, account.ID)); got.Name != "android" {
		t.Error(got.RawJSON())
	}
	second := must[*openai.AdminOrganizationProjectServiceAccountAPIKeyNewResponse](t)(accounts.APIKeys.New(ctx, s.ProjectID, account.ID, openai.AdminOrganizationProjectServiceAccountAPIKeyNewParams{Name: openai.String("second")}))
	keys := org.Projects.APIKeys
	if got := must[*openai.ProjectAPIKey](t)(keys.Update(ctx, s.ProjectID, second.ID, openai.AdminOrganizationProjectAPIKeyUpdateParams{ExpiresInSeconds: 3600, Scopes: []string{"model.request"}})); got.ID != second.ID {
		t.Error(got.RawJSON())
	}
	if got := must[*openai.ProjectAPIKey](t)(keys.Get(ctx, s.ProjectID, second.ID)); got.Name != "second" || got.Owner.Type != "service_account" {
		t.Error(got.RawJSON())
	}
	n := 0
	for list := keys.ListAutoPaging(ctx, s.ProjectID, openai.AdminOrganizationProjectAPIKeyListParams{Limit: openai.Int(1)}); list.Next(); {
		n++
	}
	if n < 2 {
		t.Errorf("%d keys are listed", n)
	}
	if d := must[*openai.AdminOrganizationProjectAPIKeyDeleteResponse](t)(keys.Delete(ctx, s.ProjectID, second.ID)); !d.Deleted {
		t.Error(d.RawJSON())
	}
	limits := org.Projects.RateLimits
	if got := must[*openai.ProjectRateLimit](t)(limits.UpdateRateLimit(ctx, s.ProjectID, "rl-gpt-4o", openai.AdminOrganizationProjectRateLimitUpdateRateLimitParams{MaxRequestsPer1Minute: openai.Int(7)})); got.MaxRequestsPer1Minute != 7 {
		t.Error(got.RawJSON())
	}
	found := false
	for list := limits.ListRateLimitsAutoPaging(ctx, s.ProjectID, openai.AdminOrganizationProjectRateLimitListRateLimitsParams{Limit: openai.Int(2)}); list.Next(); {
		found = found || list.Current().ID == "rl-gpt-4o" && list.Current().MaxRequestsPer1Minute == 7
	}
	if !found {
		t.Error("the rate limit is not listed")
	}
	if d := must[*openai.AdminOrganizationProjectServiceAccountDeleteResponse](t)(accounts.Delete(ctx, s.ProjectID, account.ID)); !d.Deleted {
		t.Error(d.RawJSON())
	}
	admin := must[*openai.AdminOrganizationAdminAPIKeyNewResponse](t)(org.AdminAPIKeys.New(ctx, openai.AdminOrganizationAdminAPIKeyNewParams{Name: "ci"}))
	if got := must[*openai.AdminAPIKey](t)(org.AdminAPIKeys.Get(ctx, admin.ID)); got.Name != "ci" {
		t.Error(got.RawJSON())
	}
	if d := must[*openai.AdminOrganizationAdminAPIKeyDeleteResponse](t)(org.AdminAPIKeys.Delete(ctx, admin.ID)); !d.Deleted {
		t.Error(d.RawJSON())
	}
}

// TestGoEveryUsage asks for every kind of usage and for costs through openai-go.
func TestGoEveryUsage(t *testing.T) {
	s := gatehousetest.Start(t, gatehousetest.Options{})
	c := client(s)
	u, ctx := c.Admin.Organization.Usage, t.Context()
	start := time.Now().Add(-48 * time.Hour).Unix()
	for name, err := range map[string]error{
		"completions": second(u.Completions(ctx, openai.AdminOrganizationUsageCompletionsParams{StartTime: start})),
		"embeddings":  second(u.Embeddings(ctx, openai.AdminOrganizationUsageEmbeddingsParams{StartTime: start})),
		"moderations": second(u.Moderations(ctx, openai.AdminOrganizationUsageModerationsParams{StartTime: start})),
		"images":      second(u.Images(ctx, openai.AdminOrganizationUsageImagesParams{StartTime: start})),
		"speeches":    second(u.AudioSpeeches(ctx, openai.AdminOrganizationUsageAudioSpeechesParams{StartTime: start})),
		"transcripts": second(u.AudioTranscriptions(ctx, openai.AdminOrganizationUsageAudioTranscriptionsParams{StartTime: start})),
		"stores":      second(u.VectorStores(ctx, openai.AdminOrganizationUsageVectorStoresParams{StartTime: start})),
		"interpreter": second(u.CodeInterpreterSessions(ctx, openai.AdminOrganizationUsageCodeInterpreterSessionsParams{StartTime: start})),
		"file search": second(u.FileSearchCalls(ctx, openai.AdminOrganizationUsageFileSearchCallsParams{StartTime: start})),
		"web search":  second(u.WebSearchCalls(ctx, openai.AdminOrganizationUsageWebSearchCallsParams{StartTime: start})),
		"decisions":   second(u.Decisions(ctx, openai.AdminOrganizationUsageDecisionsParams{StartTime: start})),
		"costs":       second(u.Costs(ctx, openai.AdminOrganizationUsageCostsParams{StartTime: start})),
	} {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
