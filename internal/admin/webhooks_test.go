package admin_test

import (
	"strings"
	"testing"
	"time"

	"gatehouse"
	"gatehouse/internal/admin"
	"gatehouse/internal/store"
)

// TestWebhookEndpoints: who may have them, where they may be, and how many there may be.
func TestWebhookEndpoints(t *testing.T) {
	o, ctx := open(t), t.Context()
	key := must[*admin.NewKey](t)(o.CreateKey(ctx, o.who, admin.KeyRequest{Class: gatehouse.ClassProject, Project: o.found.Project.ID, User: o.found.Owner.ID})).Key
	in := &gatehouse.Principal{Organization: o.found.Organization.ID, Project: o.found.Project.ID, Class: gatehouse.ClassProject, Actor: gatehouse.Actor{Kind: gatehouse.ActorKey, Key: key.ID}}
	create := func(o *office, who *gatehouse.Principal, url string) (*gatehouse.WebhookEndpoint, error) {
		e, _, err := o.CreateEndpoint(ctx, who, admin.EndpointUpdate{Name: admin.Some("jobs"), URL: admin.Some(url), EventTypes: admin.Some([]string{"batch.completed"})})
		return e, err
	}
	first := must[*gatehouse.WebhookEndpoint](t)(create(o, in, "https://hooks.example.com"))
	for range gatehouse.MaxWebhookEndpoints - 1 {
		must[*gatehouse.WebhookEndpoint](t)(create(o, in, "https://hooks.example.com"))
	}
	if _, err := create(o, in, "https://hooks.example.com"); gatehouse.KindOf(err) != gatehouse.Conflict {
		t.Errorf("one more than there may be: %v", err)
	}
	if err := o.DeleteEndpoint(ctx, in, first.ID); err != nil {
		t.Fatal(err)
	}
	must[*gatehouse.WebhookEndpoint](t)(create(o, in, "https://hooks.example.com"))

	if _, err := create(o, o.who, "https://hooks.example.com"); gatehouse.KindOf(err) != gatehouse.Forbidden {
		t.Errorf("an admin key: %v", err)
	}
	for _, url := range []string{"", "hooks.example.com", "ftp://hooks.example.com", "https://", "https://a:b@hooks.example.com", "https://hooks.example.com#x", "https://hooks.example.com/" + strings.Repeat("x", 2000)} {
		if _, err := create(o, in, url); gatehouse.KindOf(err) != gatehouse.Invalid {
			t.Errorf("%.60q: %v", url, err)
		}
	}
	listed := admin.New(admin.Config{DB: o.db, Now: func() time.Time { return o.now }, AllowPrivate: func(host string) bool { return host == "hooks.internal" }})
	if _, _, err := listed.CreateEndpoint(ctx, in, admin.EndpointUpdate{Name: admin.Some("jobs"), URL: admin.Some("http://hooks.example.com"), EventTypes: admin.Some([]string{"batch.completed"})}); gatehouse.KindOf(err) != gatehouse.Invalid {
		t.Errorf("http to a host that is not listed: %v", err)
	}
	if _, err := o.RevokeKey(ctx, o.who, "", key.ID, 0); err != nil {
		t.Fatal(err)
	}
	if _, _, err := o.Endpoints(ctx, in, store.Page{Limit: 5}); gatehouse.KindOf(err) != gatehouse.Unauthenticated {
		t.Errorf("a revoked key lists: %v", err)
	}
	if err := o.DeleteEndpoint(ctx, in, first.ID); gatehouse.KindOf(err) != gatehouse.Unauthenticated {
		t.Errorf("a revoked key deletes: %v", err)
	}
}
