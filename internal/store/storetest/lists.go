package storetest

import (
	"context"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"testing"

	"gatehouse"
	"gatehouse/internal/store"
)

// lister is one paged list: how its n-th element is made and removed, and how a page is read as ids.
type lister struct {
	name   string
	id     func(i int) string
	create func(tx *store.Tx, i int, at gatehouse.Millis) error
	remove func(tx *store.Tx, i int) error
	page   func(tx *store.Tx, p store.Page) ([]string, bool, error)
	other  string // the id of an element of another list of the kind
}

func listers() []lister {
	project := func(i int) string { return numbered("proj_x", i) }
	user := func(i int) string { return numbered("user-x", i) }
	member := func(i int) string { return numbered("user-m", i) }
	account := func(i int) string { return numbered("svc_acct_x", i) }
	key := func(i int) string { return numbered("key_x", i) }
	return []lister{
		{"Projects", project,
			func(tx *store.Tx, i int, at gatehouse.Millis) error {
				return tx.CreateProject(&gatehouse.Project{ID: project(i), Organization: "org-list", CreatedAt: at})
			},
			func(tx *store.Tx, i int) error {
				p, err := tx.Project(project(i))
				if err != nil {
					return err
				}
				p.ArchivedAt = tx.Now
				return tx.SaveProject(p)
			},
			func(tx *store.Tx, p store.Page) ([]string, bool, error) {
				list, more, err := tx.Projects("org-list", false, p)
				return ids(list, func(p *gatehouse.Project) string { return p.ID }), more, err
			}, "proj_1"},
		{"Users", user,
			func(tx *store.Tx, i int, at gatehouse.Millis) error {
				return tx.CreateUser(&gatehouse.User{ID: user(i), Organization: "org-list", CreatedAt: at})
			},
			func(tx *store.Tx, i int) error {
				u, err := tx.User(user(i))
				if err != nil {
					return err
				}
				u.RemovedAt = tx.Now
				return tx.SaveUser(u)
			},
			func(tx *store.Tx, p store.Page) ([]string, bool, error) {
				list, more, err := tx.Users("org-list", p)
				return ids(list, func(u *gatehouse.User) string { return u.ID }), more, err
			}, "user-a"},
		{"ProjectUsers", member,
			func(tx *store.Tx, i int, at gatehouse.Millis) error {
				if err := tx.CreateUser(&gatehouse.User{ID: member(i), Organization: "org-a"}); err != nil {
					return err
				}
				return tx.CreateProjectUser(&gatehouse.ProjectUser{Project: "proj_1", User: member(i), AddedAt: at})
			},
			func(tx *store.Tx, i int) error {
				m, err := tx.ProjectUser("proj_1", member(i))
				if err != nil {
					return err
				}
				m.RemovedAt = tx.Now
				return tx.SaveProjectUser(m)
			},
			func(tx *store.Tx, p store.Page) ([]string, bool, error) {
				list, more, err := tx.ProjectUsers("proj_1", p)
				return ids(list, func(m *gatehouse.ProjectUser) string { return m.User }), more, err
			}, "user-a"},
		{"Groups", func(i int) string { return fmt.Sprintf("group_%02d", i) },
			func(tx *store.Tx, i int, at gatehouse.Millis) error {
				return tx.CreateGroup(&gatehouse.Group{ID: fmt.Sprintf("group_%02d", i), Organization: "org-list", Name: fmt.Sprint("g", i), CreatedAt: at})
			},
			func(tx *store.Tx, i int) error {
				g, err := tx.Group(fmt.Sprintf("group_%02d", i))
				if err != nil {
					return err
				}
				g.RemovedAt = tx.Now
				return tx.SaveGroup(g)
			},
			func(tx *store.Tx, p store.Page) ([]string, bool, error) {
				list, more, err := tx.Groups("org-list", "", p)
				return ids(list, func(g *gatehouse.Group) string { return g.ID }), more, err
			}, "group_elsewhere"},
		{"Roles", func(i int) string { return fmt.Sprintf("role_%02d", i) },
			func(tx *store.Tx, i int, at gatehouse.Millis) error {
				return tx.CreateRole(&gatehouse.AccessRole{ID: fmt.Sprintf("role_%02d", i), Organization: "org-list", Name: fmt.Sprint("r", i), CreatedAt: at})
			},
			func(tx *store.Tx, i int) error {
				v, err := tx.Role(fmt.Sprintf("role_%02d", i))
				if err != nil {
					return err
				}
				v.RemovedAt = tx.Now
				return tx.SaveRole(v)
			},
			func(tx *store.Tx, p store.Page) ([]string, bool, error) {
				list, more, err := tx.Roles("org-list", "", p)
				return ids(list, func(v *gatehouse.AccessRole) string { return v.ID }), more, err
			}, "role_elsewhere"},
		{"Invites", func(i int) string { return fmt.Sprintf("invite-%02d", i) },
			func(tx *store.Tx, i int, at gatehouse.Millis) error {
				return tx.CreateInvite(&gatehouse.Invite{ID: fmt.Sprintf("invite-%02d", i), Organization: "org-list", Digest: fmt.Sprint("digest ", i), CreatedAt: at})
			},
			func(tx *store.Tx, i int) error {
				v, err := tx.Invite(fmt.Sprintf("invite-%02d", i))
				if err != nil {
					return err
				}
				v.RemovedAt = tx.Now
				return tx.SaveInvite(v)
			},
			func(tx *store.Tx, p store.Page) ([]string, bool, error) {
				list, more, err := tx.Invites("org-list", p)
				return ids(list, func(v *gatehouse.Invite) string { return v.ID }), more, err
			}, "invite-elsewhere"},
		{"Certificates", func(i int) string { return fmt.Sprintf("cert_%02d", i) },
			func(tx *store.Tx, i int, at gatehouse.Millis) error {
				return tx.CreateCertificate(&gatehouse.Certificate{ID: fmt.Sprintf("cert_%02d", i), Organization: "org-list", Fingerprint: fmt.Sprint("f", i), CreatedAt: at})
			},
			func(tx *store.Tx, i int) error {
				v, err := tx.Certificate(fmt.Sprintf("cert_%02d", i))
				if err != nil {
					return err
				}
				v.RemovedAt = tx.Now
				return tx.SaveCertificate(v)
			},
			func(tx *store.Tx, p store.Page) ([]string, bool, error) {
				list, more, err := tx.Certificates("org-list", p)
				return ids(list, func(v *gatehouse.Certificate) string { return v.ID }), more, err
			}, "cert_elsewhere"},
		{"WebhookEndpoints", func(i int) string { return fmt.Sprintf("whe_%02d", i) },
			func(tx *store.Tx, i int, at gatehouse.Millis) error {
				return tx.CreateWebhookEndpoint(&gatehouse.WebhookEndpoint{ID: fmt.Sprintf("whe_%02d", i), Organization: "org-list", Project: "proj_list", CreatedAt: at})
			},
			func(tx *store.Tx, i int) error {
				v, err := tx.WebhookEndpoint(fmt.Sprintf("whe_%02d", i))
				if err != nil {
					return err
				}
				v.RemovedAt = tx.Now
				return tx.SaveWebhookEndpoint(v)
			},
			func(tx *store.Tx, p store.Page) ([]string, bool, error) {
				list, more, err := tx.WebhookEndpoints("proj_list", p)
				return ids(list, func(v *gatehouse.WebhookEndpoint) string { return v.ID }), more, err
			}, "whe_elsewhere"},
		{"IdentityProviders", func(i int) string { return fmt.Sprintf("wip_%02d", i) },
			func(tx *store.Tx, i int, at gatehouse.Millis) error {
				return tx.CreateIdentityProvider(&gatehouse.IdentityProvider{ID: fmt.Sprintf("wip_%02d", i), Organization: "org-list", CreatedAt: at})
			},
			func(tx *store.Tx, i int) error {
				v, err := tx.IdentityProvider(fmt.Sprintf("wip_%02d", i))
				if err != nil {
					return err
				}
				v.RemovedAt = tx.Now
				return tx.SaveIdentityProvider(v)
			},
			func(tx *store.Tx, p store.Page) ([]string, bool, error) {
				list, more, err := tx.IdentityProviders("org-list", p)
				return ids(list, func(v *gatehouse.IdentityProvider) string { return v.ID }), more, err
			}, "wip_elsewhere"},
		{"FederationRules", func(i int) string { return fmt.Sprintf("wifr_%02d", i) },
			func(tx *store.Tx, i int, at gatehouse.Millis) error {
				return tx.CreateFederationRule(&gatehouse.FederationRule{ID: fmt.Sprintf("wifr_%02d", i), Organization: "org-list", Provider: "wip_00", CreatedAt: at})
			},
			func(tx *store.Tx, i int) error {
				v, err := tx.FederationRule(fmt.Sprintf("wifr_%02d", i))
				if err != nil {
					return err
				}
				v.RemovedAt = tx.Now
				return tx.SaveFederationRule(v)
			},
			func(tx *store.Tx, p store.Page) ([]string, bool, error) {
				list, more, err := tx.FederationRules("wip_00", "", p)
				return ids(list, func(v *gatehouse.FederationRule) string { return v.ID }), more, err
			}, "wifr_elsewhere"},
		{"Externals", func(i int) string { return fmt.Sprintf("extkey_%02d", i) },
			func(tx *store.Tx, i int, at gatehouse.Millis) error {
				return tx.CreateExternal(&gatehouse.External{ID: fmt.Sprintf("extkey_%02d", i), Organization: "org-list", Kind: gatehouse.ExternalKey, CreatedAt: at})
			},
			func(tx *store.Tx, i int) error {
				v, err := tx.External(fmt.Sprintf("extkey_%02d", i))
				if err != nil {
					return err
				}
				v.RemovedAt = tx.Now
				return tx.SaveExternal(v)
			},
			func(tx *store.Tx, p store.Page) ([]string, bool, error) {
				list, more, err := tx.Externals("org-list", store.ExternalFilter{Kind: gatehouse.ExternalKey}, p)
				return ids(list, func(v *gatehouse.External) string { return v.ID }), more, err
			}, "extkey_elsewhere"},
		{"ServiceAccounts", account,
			func(tx *store.Tx, i int, at gatehouse.Millis) error {
				return tx.CreateServiceAccount(&gatehouse.ServiceAccount{ID: account(i), Organization: "org-a", Project: "proj_list", CreatedAt: at})
			},
			func(tx *store.Tx, i int) error {
				s, err := tx.ServiceAccount(account(i))
				if err != nil {
					return err
				}
				s.RemovedAt = tx.Now
				return tx.SaveServiceAccount(s)
			},
			func(tx *store.Tx, p store.Page) ([]string, bool, error) {
				list, more, err := tx.ServiceAccounts("proj_list", p)
				return ids(list, func(s *gatehouse.ServiceAccount) string { return s.ID }), more, err
			}, "svc_acct_1"},
		{"Keys", key,
			func(tx *store.Tx, i int, at gatehouse.Millis) error {
				k := serviceKey(key(i))
				k.CreatedAt = at
				return tx.CreateKey(k)
			},
			func(tx *store.Tx, i int) error {
				k, err := tx.Key(key(i))
				if err != nil {
					return err
				}
				k.RevokedAt = tx.Now
				return tx.SaveKey(k)
			},
			func(tx *store.Tx, p store.Page) ([]string, bool, error) {
				list, more, err := tx.Keys(store.KeyFilter{Organization: "org-a", Project: "proj_1"}, p)
				return ids(list, func(k *gatehouse.Key) string { return k.ID }), more, err
			}, "key_other"},
	}
}

// listAge is the age of a list's i-th element: several share one, so that the id decides among them. They are far in the past of
// everything else.
func listAge(i int) gatehouse.Millis { return gatehouse.Millis(1000 + i/4) }

func seedLists(t testing.TB, db *store.DB) {
	t.Helper()
	seed(t, db)
	change(t, db, func(tx *store.Tx) error {
		if err := tx.CreateOrganization(&gatehouse.Organization{ID: "org-list"}); err != nil {
			return err
		}
		if err := tx.CreateProject(&gatehouse.Project{ID: "proj_list", Organization: "org-a"}); err != nil {
			return err
		}
		k := &gatehouse.Key{ID: "key_other", Class: gatehouse.ClassService, Organization: "org-b", Project: "proj_3", OwnerServiceAccount: "svc_acct_3"}
		return tx.CreateKey(k)
	})
}

// testLists walks every list in both directions, forwards and backwards, with pages of every size.
func testLists(t *testing.T, db *store.DB) {
	seedLists(t, db)
	const n = 23
	for _, l := range listers() {
		t.Run(l.name, func(t *testing.T) {
			change(t, db, func(tx *store.Tx) error {
				for i := n - 1; i >= 0; i-- { // not in the order of the list
					if err := l.create(tx, i, listAge(i)); err != nil {
						return err
					}
				}
				return l.remove(tx, 7)
			})
			var want []string
			for i := range n {
				if i != 7 {
					want = append(want, l.id(i))
				}
			}
			for _, desc := range []bool{false, true} {
				ordered := slices.Clone(want)
				if desc {
					slices.Reverse(ordered)
				}
				for limit := 1; limit <= n+1; limit++ {
					look(t, db, func(tx *store.Tx) error {
						var got []string
						p := store.Page{Limit: limit, Desc: desc}
						for {
							list, more, err := l.page(tx, p)
							if err != nil {
								return err
							}
							got = append(got, list...)
							if !more || len(list) == 0 {
								break
							}
							p.After = list[len(list)-1]
						}
						if !slices.Equal(got, ordered) {
							t.Errorf("desc %v, limit %d: forwards\n got %v\nwant %v", desc, limit, got, ordered)
						}
						got = nil
						p = store.Page{Limit: limit, Desc: desc, Before: ordered[len(ordered)-1]}
						for {
							list, more, err := l.page(tx, p)
							if err != nil {
								return err
							}
							got = append(list, got...)
							if !more || len(list) == 0 {
								break
							}
							p.Before = list[0]
						}
						if want := ordered[:len(ordered)-1]; !slices.Equal(got, want) {
							t.Errorf("desc %v, limit %d: backwards\n got %v\nwant %v", desc, limit, got, want)
						}
						return nil
					})
				}
			}
			look(t, db, func(tx *store.Tx) error {
				// The removed element still holds its place.
				list, _, err := l.page(tx, store.Page{After: l.id(7), Limit: 2})
				if want := []string{l.id(8), l.id(9)}; err != nil || !slices.Equal(list, want) {
					t.Errorf("after a removed element: %v, %v; want %v", list, err, want)
				}
				for _, p := range []store.Page{{After: "nothing"}, {Before: "nothing"}, {After: l.other}, {Before: l.other}, {After: l.id(1), Before: l.id(3)},
					{Limit: -1}, {Limit: store.MaxPage + 1}} {
					if _, _, err := l.page(tx, p); gatehouse.KindOf(err) != gatehouse.Invalid {
						t.Errorf("page %+v: %v, want Invalid", p, err)
					}
				}
				return nil
			})
		})
	}
}

// testListsWhileChanging walks lists while others create and remove elements: whatever is there all the time is seen exactly once
// and in order.
func testListsWhileChanging(t *testing.T, db *store.DB) {
	seedLists(t, db)
	const n = 60 // every third stays; the others come and go
	for _, l := range listers() {
		t.Run(l.name, func(t *testing.T) {
			var want []string
			change(t, db, func(tx *store.Tx) error {
				for i := range n {
					if i%3 == 0 {
						want = append(want, l.id(i))
					}
					if i%3 != 2 {
						if err := l.create(tx, i, listAge(i)); err != nil {
							return err
						}
					}
				}
				return nil
			})
			ctx := context.WithoutCancel(t.Context())
			walked := make(chan error, 1)
			go func() { // ends when the list is walked
				walked <- func() error {
					var got []string
					p := store.Page{Limit: 3}
					for more := true; more; {
						var list []string
						err := db.View(ctx, func(tx *store.Tx) (err error) { list, more, err = l.page(tx, p); return err })
						if err != nil {
							return err
						}
						if len(list) == 0 {
							break
						}
						p.After = list[len(list)-1]
						got = append(got, list...)
					}
					if !slices.IsSorted(got) {
						return fmt.Errorf("not in order: %v", got)
					}
					got = slices.DeleteFunc(got, func(id string) bool { return !slices.Contains(want, id) })
					if !slices.Equal(got, want) {
						return fmt.Errorf("got %v, want %v", got, want)
					}
					return nil
				}()
			}()
			for i := range n {
				switch i % 3 {
				case 1:
					change(t, db, func(tx *store.Tx) error { return l.remove(tx, i) })
				case 2:
					change(t, db, func(tx *store.Tx) error { return l.create(tx, i, listAge(i)) })
				}
			}
			if err := <-walked; err != nil {
				t.Error(err)
			}
		})
	}
}

func testKeyFilters(t *testing.T, db *store.DB) {
	seed(t, db)
	keys := []gatehouse.Key{
		{ID: "key_0", Class: gatehouse.ClassService, Organization: "org-a", Project: "proj_1", OwnerServiceAccount: "svc_acct_1"},
		{ID: "key_1", Class: gatehouse.ClassService, Organization: "org-a", Project: "proj_1", OwnerServiceAccount: "svc_acct_1", RevokedAt: 1},
		{ID: "key_2", Class: gatehouse.ClassService, Organization: "org-a", Project: "proj_2", OwnerServiceAccount: "svc_acct_2", SuspendedAt: 1},
		{ID: "key_3", Class: gatehouse.ClassProject, Organization: "org-a", Project: "proj_1", OwnerUser: "user-a", ExpiresAt: 1},
		{ID: "key_4", Class: gatehouse.ClassUser, Organization: "org-a", OwnerUser: "user-a"},
		{ID: "key_5", Class: gatehouse.ClassAdmin, Organization: "org-a", OwnerUser: "user-a"},
		{ID: "key_6", Class: gatehouse.ClassAdmin, Organization: "org-b", OwnerUser: "user-b"},
		{ID: "key_7", Class: gatehouse.ClassAzure, Organization: "org-b", Project: "proj_3", OwnerResource: "res_3", Slot: gatehouse.Key1},
	}
	change(t, db, func(tx *store.Tx) error {
		if err := tx.CreateResource(&gatehouse.Resource{ID: "res_3", Organization: "org-b", Project: "proj_3"}); err != nil {
			return err
		}
		for i := range keys {
			if err := tx.CreateKey(&keys[i]); err != nil {
				return err
			}
		}
		return nil
	})
	for _, c := range []struct {
		filter store.KeyFilter
		want   []string
	}{
		{store.KeyFilter{Organization: "org-a"}, []string{"key_0", "key_2", "key_3", "key_4", "key_5"}},
		{store.KeyFilter{Organization: "org-a", IncludeRevoked: true}, []string{"key_0", "key_1", "key_2", "key_3", "key_4", "key_5"}},
		{store.KeyFilter{Organization: "org-a", Project: "proj_1"}, []string{"key_0", "key_3"}},
		{store.KeyFilter{Organization: "org-b", Project: "proj_1"}, []string{}},
		{store.KeyFilter{Organization: "org-a", Class: gatehouse.ClassAdmin}, []string{"key_5"}},
		{store.KeyFilter{Organization: "org-b"}, []string{"key_6", "key_7"}},
		{store.KeyFilter{OwnerUser: "user-a"}, []string{"key_3", "key_4", "key_5"}},
		{store.KeyFilter{OwnerUser: "user-a", Class: gatehouse.ClassUser}, []string{"key_4"}},
		{store.KeyFilter{OwnerServiceAccount: "svc_acct_1", IncludeRevoked: true}, []string{"key_0", "key_1"}},
		{store.KeyFilter{Project: "proj_1", OwnerServiceAccount: "svc_acct_1"}, []string{"key_0"}},
	} {
		look(t, db, func(tx *store.Tx) error {
			list, _, err := tx.Keys(c.filter, store.Page{})
			if got := ids(list, func(k *gatehouse.Key) string { return k.ID }); !slices.Equal(got, c.want) {
				t.Errorf("keys %+v: got %v, want %v", c.filter, got, c.want)
			}
			return err
		})
	}
	if err := db.View(t.Context(), func(tx *store.Tx) error {
		_, _, err := tx.Keys(store.KeyFilter{Class: gatehouse.ClassAdmin}, store.Page{})
		return err
	}); err == nil {
		t.Error("keys of everybody can be listed")
	}

	look(t, db, func(tx *store.Tx) error {
		upstreams, err := tx.Upstreams("org-a")
		if len(upstreams) != 0 {
			t.Errorf("upstreams: %v, want none", upstreams)
		}
		return err
	})
}

// testResourceKeys proves that each slot of a resource holds one live key, which another can follow when it is revoked, with the
// other slot untouched.
func testResourceKeys(t *testing.T, db *store.DB) {
	seed(t, db)
	one, two := resourceKey("key_1", "res_1", gatehouse.Key1), resourceKey("key_2", "res_1", gatehouse.Key2)
	change(t, db, func(tx *store.Tx) error {
		for _, r := range []gatehouse.Resource{{ID: "res_1", Project: "proj_1", Name: "a"}, {ID: "res_2", Project: "proj_2", Name: "a"}, {ID: "res_3", Project: "proj_1", Name: "b", RemovedAt: 1}} {
			r.Organization = "org-a"
			if err := tx.CreateResource(&r); err != nil {
				return err
			}
		}
		if err := tx.CreateKey(two); err != nil {
			return err
		}
		return tx.CreateKey(one)
	})
	want := func(resource string, keys ...string) {
		t.Helper()
		look(t, db, func(tx *store.Tx) error {
			list, err := tx.ResourceKeys(resource)
			if got := ids(list, func(k *gatehouse.Key) string { return k.ID }); !slices.Equal(got, append([]string{}, keys...)) {
				t.Errorf("keys of %s: got %v, want %v", resource, got, keys)
			}
			return err
		})
	}
	want("res_1", "key_1", "key_2")
	want("res_2")
	change(t, db, func(tx *store.Tx) error {
		one.RevokedAt = tx.Now
		if err := tx.SaveKey(one); err != nil {
			return err
		}
		return tx.CreateKey(resourceKey("key_3", "res_1", gatehouse.Key1))
	})
	want("res_1", "key_3", "key_2")
	look(t, db, func(tx *store.Tx) error {
		for _, c := range []struct {
			organization, project string
			want                  []string
		}{{"org-a", "", []string{"res_1", "res_2"}}, {"org-a", "proj_1", []string{"res_1"}}, {"org-b", "", []string{}}, {"org-b", "proj_1", []string{}}} {
			list, _, err := tx.Resources(c.organization, c.project, store.Page{})
			if err != nil {
				return err
			}
			if got := ids(list, func(r *gatehouse.Resource) string { return r.ID }); !slices.Equal(got, c.want) {
				t.Errorf("resources of %s %s: got %v, want %v", c.organization, c.project, got, c.want)
			}
		}
		return nil
	})
}

// testByteOrder proves that ids sort by their bytes, whatever language the database is set to.
func testByteOrder(t *testing.T, db *store.DB) {
	want := []string{"user-0", "user-A", "user-Z", "user-_", "user-a", "user-b", "user-z", "user-é"}
	change(t, db, func(tx *store.Tx) error {
		if err := tx.CreateOrganization(&gatehouse.Organization{ID: "org-a"}); err != nil {
			return err
		}
		for i := range want {
			if err := tx.CreateUser(&gatehouse.User{ID: want[(i*5)%len(want)], Organization: "org-a", CreatedAt: 1}); err != nil {
				return err
			}
		}
		return nil
	})
	look(t, db, func(tx *store.Tx) error {
		var got []string
		p := store.Page{Limit: 1}
		for {
			list, more, err := tx.Users("org-a", p)
			if err != nil {
				return err
			}
			got = append(got, list[0].ID)
			p.After = list[0].ID
			if !more {
				break
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("order is %v, want %v", got, want)
		}
		return nil
	})
}

func testCounts(t *testing.T, db *store.DB) {
	seed(t, db)
	change(t, db, func(tx *store.Tx) error {
		for i, u := range []gatehouse.User{{Role: gatehouse.RoleOwner}, {Role: gatehouse.RoleOwner, RemovedAt: 1}, {Role: gatehouse.RoleReader}} {
			u.ID, u.Organization = numbered("user-x", i), "org-a"
			if err := tx.CreateUser(&u); err != nil {
				return err
			}
		}
		for i, k := range []gatehouse.Key{{}, {RevokedAt: 1}, {SuspendedAt: 1}, {ExpiresAt: 1}, {ExpiresAt: tx.Now + 1_000_000}} {
			k.ID, k.Class, k.Organization = numbered("key_a", i), gatehouse.ClassAdmin, "org-a"
			if err := tx.CreateKey(&k); err != nil {
				return err
			}
		}
		return tx.CreateKey(serviceKey("key_service"))
	})
	check := func(tx *store.Tx) error {
		if n, err := tx.CountActiveOwners("org-a"); n != 2 || err != nil {
			t.Errorf("owners: %d, %v; want 2", n, err)
		}
		if n, err := tx.CountActiveAdminKeys("org-a"); n != 2 || err != nil {
			t.Errorf("admin keys: %d, %v; want 2", n, err)
		}
		return nil
	}
	look(t, db, check)
	change(t, db, check)
	for name, count := range map[string]func(*store.Tx) error{
		"owners":     func(tx *store.Tx) error { _, err := tx.CountActiveOwners("org-b"); return err },
		"admin keys": func(tx *store.Tx) error { _, err := tx.CountActiveAdminKeys("org-b"); return err },
	} {
		// The change names org-a.
		refused(t, db, gatehouse.Internal, count)
		look(t, db, func(tx *store.Tx) error {
			if err := count(tx); err != nil {
				t.Errorf("count %s in a view: %v", name, err)
			}
			return nil
		})
	}
}

// testLoadKeys proves that the quick way to read all keys says of each what decides about it.
func testLoadKeys(t *testing.T, db *store.DB) {
	seed(t, db)
	policy := func(id string, k gatehouse.Key) *gatehouse.Key {
		k.ID, k.Class, k.Organization, k.Project, k.OwnerServiceAccount = id, gatehouse.ClassService, "org-a", "proj_1", "svc_acct_1"
		k.Name, k.Labels, k.Redacted, k.PepperVersion = "name "+id, map[string]string{"a": "b\x1fc"}, "sk-...", 7
		copy(k.Digest[:], id)
		return &k
	}
	change(t, db, func(tx *store.Tx) error {
		for _, k := range []*gatehouse.Key{
			policy("key_0", gatehouse.Key{}),
			policy("key_1", gatehouse.Key{Models: []string{"a\x1fb", "c"}, Scopes: []string{"models:read"}}),
			policy("key_2", gatehouse.Key{Models: []string{"a\x1fb", "c"}, Scopes: []string{"models:read"}, RevokedAt: 5}),
			policy("key_3", gatehouse.Key{AllowedIPs: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, SuspendedAt: 6, ExpiresAt: 9}),
			policy("key_4", gatehouse.Key{SuspendedAt: 6, RevokedAt: 7}),
			{ID: "key_5", Class: gatehouse.ClassProject, Organization: "org-a", Project: "proj_1", OwnerUser: "user-a"},
			{ID: "key_6", Class: gatehouse.ClassAdmin, Organization: "org-b", OwnerUser: "user-b"},
		} {
			if err := tx.CreateKey(k); err != nil {
				return err
			}
		}
		return nil
	})
	look(t, db, func(tx *store.Tx) error {
		want, got := map[string]gatehouse.Key{}, map[string]gatehouse.Key{}
		mark := func(at *gatehouse.Millis) { *at = min(*at, 1) }
		err := tx.EachKey(func(k *gatehouse.Key) error {
			k.Name, k.Redacted, k.CreatedAt = "", "", 0
			if mark(&k.RevokedAt); k.RevokedAt != 0 {
				k.SuspendedAt = 0 // what is revoked is nothing else
			}
			mark(&k.SuspendedAt)
			want[k.ID] = *k
			return nil
		})
		if err != nil {
			return err
		}
		err = tx.LoadKeys(func(k *gatehouse.Key) error { got[k.ID] = *k; return nil })
		if len(got) != 7 || !reflect.DeepEqual(got, want) {
			t.Errorf("keys\n got %+v\nwant %+v", got, want)
		}
		return err
	})
}
