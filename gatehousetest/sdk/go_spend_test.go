package sdk

import (
	"net/http"
	"slices"
	"testing"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"

	"gatehouse/gatehousetest"
)

// answered checks that a call answered with a status.
func answered(t *testing.T, what string, err error, status int) {
	t.Helper()
	e, ok := err.(*openai.Error)
	if !ok || e.StatusCode != status {
		t.Errorf("%s: %v, want status %d", what, err, status)
	}
}

// TestGoSpendLimits sets, reads and removes the spend limit of the organization and of a project.
func TestGoSpendLimits(t *testing.T) {
	s := gatehousetest.Start(t, gatehousetest.Options{})
	org, ctx := client(s).Admin.Organization, t.Context()
	t.Run("organization", func(t *testing.T) {
		_, err := org.SpendLimit.Get(ctx)
		answered(t, "a limit that nobody set", err, http.StatusNotFound)
		body := openai.AdminOrganizationSpendLimitUpdateParams{Currency: "USD", Interval: "month", ThresholdAmount: 10000}
		made := must[*openai.OrganizationSpendLimit](t)(org.SpendLimit.Update(ctx, body))
		got := must[*openai.OrganizationSpendLimit](t)(org.SpendLimit.Get(ctx))
		if made.RawJSON() != got.RawJSON() || got.Object != "organization.spend_limit" || got.ThresholdAmount != 10000 || got.Currency != "USD" || got.Interval != "month" || got.Enforcement.Status != "inactive" {
			t.Errorf("made %s, read %s", made.RawJSON(), got.RawJSON())
		}
		body.ThresholdAmount = 0
		_, err = org.SpendLimit.Update(ctx, body)
		answered(t, "a limit of nothing", err, http.StatusBadRequest)
		if gone := must[*openai.OrganizationSpendLimitDeleted](t)(org.SpendLimit.Delete(ctx)); !gone.Deleted || gone.Object != "organization.spend_limit.deleted" {
			t.Errorf("deleted %s", gone.RawJSON())
		}
		_, err = org.SpendLimit.Delete(ctx)
		answered(t, "deleted twice", err, http.StatusNotFound)
	})
	t.Run("project", func(t *testing.T) {
		limits := org.Projects.SpendLimit
		body := openai.AdminOrganizationProjectSpendLimitUpdateParams{Currency: "USD", Interval: "month", ThresholdAmount: 7}
		must[*openai.ProjectSpendLimit](t)(limits.Update(ctx, s.ProjectID, body))
		if got := must[*openai.ProjectSpendLimit](t)(limits.Get(ctx, s.ProjectID)); got.Object != "project.spend_limit" || got.ThresholdAmount != 7 {
			t.Errorf("read %s", got.RawJSON())
		}
		if _, err := org.SpendLimit.Get(ctx); err == nil {
			t.Error("a project's limit is the organization's")
		}
		_, err := limits.Update(ctx, "proj_nobody", body)
		answered(t, "a limit of no project", err, http.StatusNotFound)
		if gone := must[*openai.ProjectSpendLimitDeleted](t)(limits.Delete(ctx, s.ProjectID)); !gone.Deleted {
			t.Errorf("deleted %s", gone.RawJSON())
		}
	})
	_, err := org.SpendLimit.Get(ctx, option.WithAdminAPIKey(s.APIKey))
	answered(t, "a project's key", err, http.StatusForbidden)
}

// TestGoSpendAlerts takes spend alerts through their lives and pages through many.
func TestGoSpendAlerts(t *testing.T) {
	s := gatehousetest.Start(t, gatehousetest.Options{})
	org, ctx := client(s).Admin.Organization, t.Context()
	to := []string{"finance@example.com", "ops@example.com"}
	t.Run("organization", func(t *testing.T) {
		var ids []string
		for i := range 7 {
			made := must[*openai.OrganizationSpendAlert](t)(org.SpendAlerts.New(ctx, openai.AdminOrganizationSpendAlertNewParams{Currency: "USD", Interval: "month", ThresholdAmount: int64(i),
				NotificationChannel: openai.AdminOrganizationSpendAlertNewParamsNotificationChannel{Recipients: to, SubjectPrefix: openai.String("[acme]")}}))
			ids = append(ids, made.ID)
		}
		list := org.SpendAlerts.ListAutoPaging(ctx, openai.AdminOrganizationSpendAlertListParams{Limit: openai.Int(3)})
		var listed []string
		for _, a := range pages(t, list.Next, list.Current, list.Err) {
			listed = append(listed, a.ID)
		}
		if !slices.Equal(listed, ids) {
			t.Errorf("listed %v, want %v", listed, ids)
		}
		changed := must[*openai.OrganizationSpendAlert](t)(org.SpendAlerts.Update(ctx, ids[0], openai.AdminOrganizationSpendAlertUpdateParams{Currency: "USD", Interval: "month", ThresholdAmount: 99,
			NotificationChannel: openai.AdminOrganizationSpendAlertUpdateParamsNotificationChannel{Recipients: to[:1]}}))
		got := must[*openai.OrganizationSpendAlert](t)(org.SpendAlerts.Get(ctx, ids[0]))
		if changed.RawJSON() != got.RawJSON() || got.ThresholdAmount != 99 || got.NotificationChannel.SubjectPrefix != "" || !slices.Equal(got.NotificationChannel.Recipients, to[:1]) {
			t.Errorf("changed %s, read %s", changed.RawJSON(), got.RawJSON())
		}
		if gone := must[*openai.OrganizationSpendAlertDeleted](t)(org.SpendAlerts.Delete(ctx, ids[0])); !gone.Deleted || gone.ID != ids[0] {
			t.Errorf("deleted %s", gone.RawJSON())
		}
		_, err := org.SpendAlerts.Get(ctx, ids[0])
		answered(t, "an alert that is gone", err, http.StatusNotFound)
	})
	t.Run("project", func(t *testing.T) {
		alerts := org.Projects.SpendAlerts
		made := must[*openai.ProjectSpendAlert](t)(alerts.New(ctx, s.ProjectID, openai.AdminOrganizationProjectSpendAlertNewParams{Currency: "USD", Interval: "month", ThresholdAmount: 5,
			NotificationChannel: openai.AdminOrganizationProjectSpendAlertNewParamsNotificationChannel{Recipients: to}}))
		list := alerts.ListAutoPaging(ctx, s.ProjectID, openai.AdminOrganizationProjectSpendAlertListParams{})
		if all := pages(t, list.Next, list.Current, list.Err); len(all) != 1 || all[0].ID != made.ID || made.Object != "project.spend_alert" {
			t.Errorf("made %s, listed %d", made.RawJSON(), len(all))
		}
		must[*openai.ProjectSpendAlert](t)(alerts.Update(ctx, s.ProjectID, made.ID, openai.AdminOrganizationProjectSpendAlertUpdateParams{Currency: "USD", Interval: "month", ThresholdAmount: 6,
			NotificationChannel: openai.AdminOrganizationProjectSpendAlertUpdateParamsNotificationChannel{Recipients: to}}))
		if got := must[*openai.ProjectSpendAlert](t)(alerts.Get(ctx, s.ProjectID, made.ID)); got.ThresholdAmount != 6 {
			t.Errorf("read %s", got.RawJSON())
		}
		must[*openai.ProjectSpendAlertDeleted](t)(alerts.Delete(ctx, s.ProjectID, made.ID))
	})
}

// TestGoSpentBudgets: openai-go asks once where a budget is spent, however many retries it has.
func TestGoSpentBudgets(t *testing.T) {
	s := gatehousetest.Start(t, gatehousetest.Options{})
	var made struct{ ID string }
	s.Admin(http.MethodPost, "/gatehouse/v1/budgets", `{"name":"tiny","scope":"organization","amount_usd":0.000001,"window":{"period":"total"}}`, &made)
	requests := 0
	c := client(s, option.WithMaxRetries(3), option.WithMiddleware(func(r *http.Request, next option.MiddlewareNext) (*http.Response, error) {
		requests++
		return next(r)
	}))
	_, err := c.Chat.Completions.New(t.Context(), ask("gpt-4o"))
	answered(t, "with a spent budget", err, http.StatusTooManyRequests)
	if e, ok := err.(*openai.Error); ok && (e.Code != "organization_spend_limit_exceeded" || e.Type != "insufficient_quota") {
		t.Errorf("%s", e.RawJSON())
	}
	if requests != 1 {
		t.Errorf("%d requests, want one", requests)
	}
	s.Admin(http.MethodDelete, "/gatehouse/v1/budgets/"+made.ID, "", nil)
	if _, err := c.Chat.Completions.New(t.Context(), ask("gpt-4o")); err != nil {
		t.Errorf("without the budget: %v", err)
	}
}
