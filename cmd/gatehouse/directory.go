package main

import (
	"cmp"
	"context"
	"encoding/json"
	"strings"

	"github.com/spf13/cobra"

	"gatehouse"
	"gatehouse/client"
)

func (c *cli) whoami() *cobra.Command {
	return c.call("whoami", "Show whom the admin key belongs to", cobra.NoArgs, func(ctx context.Context, cl *client.Client, _ []string) error {
		me, err := cl.WhoAmI(ctx)
		if err != nil {
			return err
		}
		return c.answer(me.JSON, func() {
			c.out.fields([][2]string{{"organization", me.OrganizationID + "  " + me.Organization}, {"default project", me.DefaultProjectID}, {"key", me.KeyID}, {"user", me.UserID}})
		})
	})
}

func (c *cli) projects() *cobra.Command {
	archived := false
	listing := c.call("list [flags]", "List projects", cobra.NoArgs, func(ctx context.Context, cl *client.Client, _ []string) error {
		return list(c, cl.Projects(ctx, client.Archived(archived)), []string{"ID", "NAME", "STATUS", "LABELS", "CREATED"}, func(p *client.Project) (json.RawMessage, []string) {
			return p.JSON, []string{p.ID, p.Name, p.Status, labelText(p.Labels), moment(p.CreatedAt)}
		})
	})
	listing.Flags().BoolVar(&archived, "archived", false, "also those that are archived")

	get := c.call("get PROJECT", "Show a project", cobra.ExactArgs(1), func(ctx context.Context, cl *client.Client, args []string) error {
		id, err := project(ctx, cl, args[0])
		if err != nil {
			return err
		}
		p, err := cl.Project(ctx, id)
		if err != nil {
			return err
		}
		return c.showProject(p)
	})
	archive := c.call("archive PROJECT", "Archive a project: its keys stop at once, for good", cobra.ExactArgs(1), func(ctx context.Context, cl *client.Client, args []string) error {
		id, err := project(ctx, cl, args[0])
		if err != nil {
			return err
		}
		p, err := cl.ArchiveProject(ctx, id)
		if err != nil {
			return err
		}
		return c.showProject(p)
	})
	return c.group("projects", "Projects and their members", "A project is where keys act and usage is counted. PROJECT is an id (proj_...) or a name.",
		listing, c.createProject(), get, c.updateProject(), c.permissions(), archive, c.members())
}

func (c *cli) showProject(p *client.Project) error {
	return c.answer(p.JSON, func() {
		c.out.fields([][2]string{{"id", p.ID}, {"name", p.Name}, {"status", p.Status}, {"labels", labelText(p.Labels)}, {"residency", p.Residency}, {"region", p.Region}, {"labels by header", strings.Join(p.HeaderLabels, ", ")}, {"created", moment(p.CreatedAt)}, {"archived", moment(p.ArchivedAt)}})
		c.effective(p.EffectiveBy)
	})
}

func (c *cli) createProject() *cobra.Command {
	var labels labelsFlag
	var region string
	cmd := c.call("create NAME [flags]", "Create a project", cobra.ExactArgs(1), func(ctx context.Context, cl *client.Client, args []string) error {
		p, err := cl.CreateProject(ctx, client.ProjectCreate{Name: args[0], Labels: labels.values, Region: region})
		if err != nil {
			return err
		}
		return c.showProject(p)
	})
	labels.register(cmd.Flags(), "a label; repeat for more")
	cmd.Flags().StringVar(&region, "region", "", "the region or geography that its requests stay in, such as eu or westeurope")
	return cmd
}

func (c *cli) updateProject() *cobra.Command {
	var labels labelsFlag
	var name, upstream, region string
	var headers []string
	var cmd *cobra.Command
	cmd = c.call("update PROJECT [flags]", "Rename a project, label it, pin it to a region, say where its calls without a model go", cobra.ExactArgs(1), func(ctx context.Context, cl *client.Client, args []string) error {
		var update client.ProjectUpdate
		if cmd.Flags().Changed("name") {
			update.Name = &name
		}
		if cmd.Flags().Changed("upstream") {
			update.Upstream = &upstream
		}
		if cmd.Flags().Changed("region") {
			update.Region = &region
		}
		if labels.set {
			update.Labels = &labels.values
		}
		if cmd.Flags().Changed("header-label") {
			update.HeaderLabels = &headers
		}
		if update == (client.ProjectUpdate{}) {
			return hint(usagef("nothing to change"), "Give --name, --label, --header-label, --region or --upstream.")
		}
		id, err := project(ctx, cl, args[0])
		if err != nil {
			return err
		}
		p, err := cl.UpdateProject(ctx, id, update)
		if err != nil {
			return err
		}
		return c.showProject(p)
	})
	cmd.Flags().StringVar(&name, "name", "", "new name")
	cmd.Flags().StringVar(&region, "region", "", "the region or geography that its requests stay in, such as eu or westeurope; global is anywhere, \"\" leaves it to the residency")
	cmd.Flags().StringVar(&upstream, "upstream", "", "name of the upstream that calls without a model go to; \"\" for none")
	cmd.Flags().StringSliceVar(&headers, "header-label", nil, "the name of a label that callers may send as "+gatehouse.LabelHeader+"NAME; repeat for more. Replaces all; \"\" removes them")
	labels.register(cmd.Flags(), "a label; repeat for more. Replaces all labels; \"\" removes them")
	return cmd
}

func (c *cli) members() *cobra.Command {
	listing := c.call("list PROJECT", "List a project's members", cobra.ExactArgs(1), func(ctx context.Context, cl *client.Client, args []string) error {
		id, err := project(ctx, cl, args[0])
		if err != nil {
			return err
		}
		return list(c, cl.Members(ctx, id), []string{"USER", "NAME", "EMAIL", "ROLE", "ADDED"}, func(m *client.Member) (json.RawMessage, []string) {
			return m.JSON, []string{m.UserID, m.Name, m.Email, string(m.Role), moment(m.AddedAt)}
		})
	})
	var role string
	add := c.call("add PROJECT USER [flags]", "Add a user to a project, or change their role in it", cobra.ExactArgs(2), func(ctx context.Context, cl *client.Client, args []string) error {
		pid, uid, err := c.membership(ctx, cl, args)
		if err != nil {
			return err
		}
		m, err := cl.AddMember(ctx, pid, uid, gatehouse.Role(role))
		if err != nil {
			return err
		}
		return c.answer(m.JSON, func() {
			c.out.fields([][2]string{{"user", m.UserID}, {"project", m.ProjectID}, {"role", string(m.Role)}})
		})
	})
	add.Flags().StringVar(&role, "role", "member", "owner, member or viewer")
	remove := c.call("remove PROJECT USER", "Remove a user from a project: the keys they own there stop", cobra.ExactArgs(2), func(ctx context.Context, cl *client.Client, args []string) error {
		pid, uid, err := c.membership(ctx, cl, args)
		if err != nil {
			return err
		}
		d, err := cl.RemoveMember(ctx, pid, uid)
		if err != nil {
			return err
		}
		return c.deleted(d, "removed")
	})
	return c.group("users", "A project's members", "A key that a user owns in a project works only while the membership stands.", listing, add, remove)
}

func (c *cli) membership(ctx context.Context, cl *client.Client, args []string) (pid, uid string, err error) {
	if pid, err = project(ctx, cl, args[0]); err != nil {
		return "", "", err
	}
	uid, err = member(ctx, cl, args[1])
	return pid, uid, err
}

func (c *cli) users() *cobra.Command {
	listing := c.call("list", "List users", cobra.NoArgs, func(ctx context.Context, cl *client.Client, _ []string) error {
		return list(c, cl.Users(ctx), []string{"ID", "NAME", "EMAIL", "ROLE", "ADDED"}, func(u *client.User) (json.RawMessage, []string) {
			return u.JSON, []string{u.ID, u.Name, u.Email, string(u.Role), moment(u.AddedAt)}
		})
	})
	var email, role string
	create := c.call("create NAME [flags]", "Add a user to the organization", cobra.ExactArgs(1), func(ctx context.Context, cl *client.Client, args []string) error {
		u, err := cl.CreateUser(ctx, client.UserCreate{Name: args[0], Email: email, Role: gatehouse.Role(role)})
		if err != nil {
			return err
		}
		return c.showUser(u)
	})
	create.Flags().StringVar(&email, "email", "", "the user's address")
	create.Flags().StringVar(&role, "role", "reader", "owner or reader")
	var newRole string
	update := required(c.call("update USER --role ROLE", "Change a user's role", cobra.ExactArgs(1), func(ctx context.Context, cl *client.Client, args []string) error {
		id, err := member(ctx, cl, args[0])
		if err != nil {
			return err
		}
		u, err := cl.UpdateUser(ctx, id, gatehouse.Role(newRole))
		if err != nil {
			return err
		}
		return c.showUser(u)
	}), &newRole, "role", "owner or reader")
	remove := c.call("remove USER", "Remove a user: every key they own stops", cobra.ExactArgs(1), func(ctx context.Context, cl *client.Client, args []string) error {
		id, err := member(ctx, cl, args[0])
		if err != nil {
			return err
		}
		d, err := cl.RemoveUser(ctx, id)
		if err != nil {
			return err
		}
		return c.deleted(d, "removed")
	})
	get := c.call("get USER", "Show a user, their projects, and when they last called", cobra.ExactArgs(1), func(ctx context.Context, cl *client.Client, args []string) error {
		id, err := member(ctx, cl, args[0])
		if err != nil {
			return err
		}
		u, err := cl.User(ctx, id)
		if err != nil {
			return err
		}
		return c.showUser(u)
	})
	return c.group("users", "Users of the organization", "USER is an id (user-...), an email or a name.", listing, create, get, update, remove)
}

func (c *cli) showUser(u *client.User) error {
	return c.answer(u.JSON, func() {
		projects := make([]string, len(u.Projects.Data))
		for i, p := range u.Projects.Data {
			projects[i] = p.Name + " (" + string(p.Role) + ")"
		}
		c.out.fields([][2]string{{"id", u.ID}, {"name", u.Name}, {"email", u.Email}, {"role", string(u.Role)}, {"projects", strings.Join(projects, ", ")}, {"keys last used", moment(u.LastUsedAt)}, {"added", moment(u.AddedAt)}})
		c.effective(u.EffectiveBy)
	})
}

func (c *cli) serviceAccounts() *cobra.Command {
	var in string
	// within resolves the project and, when there is one, the account that a command is about.
	within := func(ctx context.Context, cl *client.Client, args []string) (pid, id string, err error) {
		if pid, err = project(ctx, cl, in); err != nil || len(args) == 0 {
			return pid, "", err
		}
		id, err = account(ctx, cl, pid, args[0])
		return pid, id, err
	}
	listing := c.call("list --project PROJECT", "List a project's service accounts", cobra.NoArgs, func(ctx context.Context, cl *client.Client, args []string) error {
		pid, _, err := within(ctx, cl, args)
		if err != nil {
			return err
		}
		return list(c, cl.ServiceAccounts(ctx, pid), []string{"ID", "NAME", "ROLE", "CREATED"}, func(a *client.ServiceAccount) (json.RawMessage, []string) {
			return a.JSON, []string{a.ID, a.Name, string(a.Role), moment(a.CreatedAt)}
		})
	})
	var accountOnly bool
	var expires lifetimeFlag
	create := c.call("create NAME --project PROJECT [flags]", "Create a service account with a key", cobra.ExactArgs(1), func(ctx context.Context, cl *client.Client, args []string) error {
		pid, _, err := within(ctx, cl, nil)
		if err != nil {
			return err
		}
		a, err := cl.CreateServiceAccount(ctx, pid, client.ServiceAccountCreate{Name: args[0], AccountOnly: accountOnly, ExpiresIn: expires.seconds()})
		if err != nil {
			return err
		}
		return c.showAccount(a)
	})
	create.Flags().BoolVar(&accountOnly, "no-key", false, "create no key")
	expires.register(create.Flags(), "life of its key")
	var name, role string
	var update *cobra.Command
	update = c.call("update ACCOUNT --project PROJECT [flags]", "Rename a service account or change its role", cobra.ExactArgs(1), func(ctx context.Context, cl *client.Client, args []string) error {
		var u client.ServiceAccountUpdate
		if update.Flags().Changed("name") {
			u.Name = &name
		}
		if update.Flags().Changed("role") {
			r := gatehouse.Role(role)
			u.Role = &r
		}
		if u == (client.ServiceAccountUpdate{}) {
			return hint(usagef("nothing to change"), "Give --name or --role.")
		}
		pid, id, err := within(ctx, cl, args)
		if err != nil {
			return err
		}
		a, err := cl.UpdateServiceAccount(ctx, pid, id, u)
		if err != nil {
			return err
		}
		return c.showAccount(a)
	})
	update.Flags().StringVar(&name, "name", "", "new name")
	update.Flags().StringVar(&role, "role", "", "owner, member or none")
	remove := c.call("delete ACCOUNT --project PROJECT", "Delete a service account and revoke its keys", cobra.ExactArgs(1), func(ctx context.Context, cl *client.Client, args []string) error {
		pid, id, err := within(ctx, cl, args)
		if err != nil {
			return err
		}
		d, err := cl.DeleteServiceAccount(ctx, pid, id)
		if err != nil {
			return err
		}
		return c.deleted(d, "deleted")
	})
	newKey := c.accountKey(within)
	for _, cmd := range []*cobra.Command{listing, create, update, remove, newKey} {
		required(cmd, &in, "project", "project the account is in, by id or name")
	}
	return c.group("service-accounts", "Service accounts and their keys", "A service account is a program's identity in one project. ACCOUNT is an id (svc_acct_...) or a name.",
		listing, create, update, remove, c.group("keys", "Keys of service accounts", "`gatehouse keys` lists and revokes them.", newKey))
}

func (c *cli) accountKey(within func(context.Context, *client.Client, []string) (string, string, error)) *cobra.Command {
	var name string
	var scopes []string
	var expires lifetimeFlag
	cmd := c.call("create ACCOUNT --project PROJECT [flags]", "Create one more key of a service account", cobra.ExactArgs(1), func(ctx context.Context, cl *client.Client, args []string) error {
		pid, id, err := within(ctx, cl, args)
		if err != nil {
			return err
		}
		k, err := cl.CreateServiceAccountKey(ctx, pid, id, client.ServiceAccountKeyCreate{Name: name, Scopes: scopes, ExpiresIn: expires.seconds()})
		if err != nil {
			return err
		}
		return c.answer(k.JSON, func() {
			c.out.fields(accountKeyFields(k))
			c.secret("key", k.Value)
		})
	})
	cmd.Flags().StringVar(&name, "name", "", "what the key is for")
	cmd.Flags().StringArrayVar(&scopes, "scope", nil, "a scope the key is restricted to; repeat for more")
	expires.register(cmd.Flags(), "life of the key")
	return cmd
}

func (c *cli) showAccount(a *client.ServiceAccount) error {
	return c.answer(a.JSON, func() {
		fields := [][2]string{{"id", a.ID}, {"name", a.Name}, {"role", string(a.Role)}, {"created", moment(a.CreatedAt)}}
		if a.APIKey == nil {
			c.out.fields(fields)
			return
		}
		c.out.fields(append(fields, accountKeyFields(a.APIKey)...))
		c.secret("key", a.APIKey.Value)
	})
}

func accountKeyFields(k *client.ServiceAccountKey) [][2]string {
	return [][2]string{{"key id", k.ID}, {"key name", k.Name}, {"key expires", cmp.Or(moment(k.ExpiresAt), "never")}}
}
