package main

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/spf13/cobra"

	"gatehouse"
	"gatehouse/client"
)

func (c *cli) groups() *cobra.Command {
	listing := c.call("list", "List groups", cobra.NoArgs, func(ctx context.Context, cl *client.Client, _ []string) error {
		return list(c, cl.Groups(ctx), []string{"ID", "NAME", "CREATED"}, func(g *client.Group) (json.RawMessage, []string) {
			return g.JSON, []string{g.ID, g.Name, moment(g.CreatedAt)}
		})
	})
	show := func(g *client.Group) error {
		return c.answer(g.JSON, func() {
			c.out.fields([][2]string{{"id", g.ID}, {"name", g.Name}, {"created", moment(g.CreatedAt)}})
		})
	}
	create := c.call("create NAME", "Make a group, with nobody in it and no role", cobra.ExactArgs(1), func(ctx context.Context, cl *client.Client, args []string) error {
		g, err := cl.CreateGroup(ctx, args[0])
		if err != nil {
			return err
		}
		return show(g)
	})
	rename := c.call("rename GROUP NAME", "Give a group another name", cobra.ExactArgs(2), func(ctx context.Context, cl *client.Client, args []string) error {
		id, err := userGroup(ctx, cl, args[0])
		if err != nil {
			return err
		}
		g, err := cl.RenameGroup(ctx, id, args[1])
		if err != nil {
			return err
		}
		return show(g)
	})
	remove := c.call("delete GROUP", "Delete a group: who was in it loses the roles it has", cobra.ExactArgs(1), func(ctx context.Context, cl *client.Client, args []string) error {
		id, err := userGroup(ctx, cl, args[0])
		if err != nil {
			return err
		}
		d, err := cl.DeleteGroup(ctx, id)
		if err != nil {
			return err
		}
		return c.deleted(d, "deleted")
	})
	users := c.call("users GROUP", "List who is in a group", cobra.ExactArgs(1), func(ctx context.Context, cl *client.Client, args []string) error {
		id, err := userGroup(ctx, cl, args[0])
		if err != nil {
			return err
		}
		return list(c, cl.GroupUsers(ctx, id), []string{"USER", "NAME", "EMAIL", "ADDED"}, func(u *client.GroupUser) (json.RawMessage, []string) {
			return u.JSON, []string{u.ID, u.Name, u.Email, moment(u.AddedAt)}
		})
	})
	within := func(ctx context.Context, cl *client.Client, args []string) (group, user string, err error) {
		if group, err = userGroup(ctx, cl, args[0]); err != nil {
			return "", "", err
		}
		user, err = member(ctx, cl, args[1])
		return group, user, err
	}
	add := c.call("add GROUP USER", "Put a user into a group: they have every role it has", cobra.ExactArgs(2), func(ctx context.Context, cl *client.Client, args []string) error {
		group, user, err := within(ctx, cl, args)
		if err != nil {
			return err
		}
		if err := cl.AddGroupUser(ctx, group, user); err != nil {
			return err
		}
		return c.answer(json.RawMessage(`{"object":"group.user","user_id":"`+user+`","group_id":"`+group+`"}`), func() { c.out.note(user + " is in " + group + ".") })
	})
	leave := c.call("remove GROUP USER", "Take a user out of a group: the roles they had through it alone are gone", cobra.ExactArgs(2), func(ctx context.Context, cl *client.Client, args []string) error {
		group, user, err := within(ctx, cl, args)
		if err != nil {
			return err
		}
		d, err := cl.RemoveGroupUser(ctx, group, user)
		if err != nil {
			return err
		}
		return c.deleted(d, "removed")
	})
	return c.group("groups", "Groups of users", "GROUP is an id (group_...) or a name. `gatehouse roles assign --group` gives a group a role.", listing, create, rename, remove, users, add, leave)
}

// userGroup returns the id of a group given by id or name.
func userGroup(ctx context.Context, cl *client.Client, reference string) (string, error) {
	return resolve("group", gatehouse.PrefixGroup, reference, cl.Groups(ctx), func(g *client.Group) (string, []string) { return g.ID, []string{g.Name} })
}

func (c *cli) roles() *cobra.Command {
	var in, user, group string
	place := func(ctx context.Context, cl *client.Client) (string, error) {
		if in == "" {
			return "", nil
		}
		return project(ctx, cl, in)
	}
	find := func(ctx context.Context, cl *client.Client, reference string) (pid, id string, err error) {
		if pid, err = place(ctx, cl); err != nil {
			return "", "", err
		}
		id, err = resolve("role", "role", reference, cl.Roles(ctx, pid), func(r *client.Role) (string, []string) { return r.ID, []string{r.Name} })
		return pid, id, err
	}
	show := func(r *client.Role) error {
		return c.answer(r.JSON, func() {
			c.out.fields([][2]string{{"id", r.ID}, {"name", r.Name}, {"description", r.Description}, {"permissions", strings.Join(r.Permissions, ", ")}})
			c.effective(r.EffectiveBy)
		})
	}
	listing := c.call("list [flags]", "List roles", cobra.NoArgs, func(ctx context.Context, cl *client.Client, _ []string) error {
		pid, err := place(ctx, cl)
		if err != nil {
			return err
		}
		return list(c, cl.Roles(ctx, pid), []string{"ID", "NAME", "PERMISSIONS", "DESCRIPTION"}, func(r *client.Role) (json.RawMessage, []string) {
			permissions := strings.Join(r.Permissions, " ")
			if len(r.Permissions) > 5 {
				permissions = strings.Join(r.Permissions[:4], " ") + " ..."
			}
			return r.JSON, []string{r.ID, r.Name, permissions, r.Description}
		})
	})
	var permissions []string
	var description string
	create := c.call("create NAME [flags]", "Make a role", cobra.ExactArgs(1), func(ctx context.Context, cl *client.Client, args []string) error {
		pid, err := place(ctx, cl)
		if err != nil {
			return err
		}
		list := given(permissions)
		r, err := cl.CreateRole(ctx, pid, client.RoleChange{Name: &args[0], Description: &description, Permissions: &list})
		if err != nil {
			return err
		}
		return show(r)
	})
	create.Flags().StringSliceVar(&permissions, "permission", nil, "what it permits, such as api.audit_logs.read (docs/roles.md lists them all); repeat for more")
	create.Flags().StringVar(&description, "description", "", "what it is for")
	var name string
	var update *cobra.Command
	update = c.call("update ROLE [flags]", "Change a role", cobra.ExactArgs(1), func(ctx context.Context, cl *client.Client, args []string) error {
		var change client.RoleChange
		if update.Flags().Changed("name") {
			change.Name = &name
		}
		if update.Flags().Changed("description") {
			change.Description = &description
		}
		if update.Flags().Changed("permission") {
			list := given(permissions)
			change.Permissions = &list
		}
		if change == (client.RoleChange{}) {
			return hint(usagef("nothing to change"), "Give --name, --description or --permission.")
		}
		pid, id, err := find(ctx, cl, args[0])
		if err != nil {
			return err
		}
		r, err := cl.UpdateRole(ctx, pid, id, change)
		if err != nil {
			return err
		}
		return show(r)
	})
	update.Flags().StringVar(&name, "name", "", "new name")
	update.Flags().StringVar(&description, "description", "", "what it is for")
	update.Flags().StringSliceVar(&permissions, "permission", nil, "what it permits; repeat for more. Replaces all; \"\" for none")
	remove := c.call("delete ROLE [flags]", "Delete a role: who had it has it no longer", cobra.ExactArgs(1), func(ctx context.Context, cl *client.Client, args []string) error {
		pid, id, err := find(ctx, cl, args[0])
		if err != nil {
			return err
		}
		d, err := cl.DeleteRole(ctx, pid, id)
		if err != nil {
			return err
		}
		return c.deleted(d, "deleted")
	})
	principal := func(ctx context.Context, cl *client.Client) (kind client.PrincipalKind, id string, err error) {
		switch {
		case (user == "") == (group == ""):
			return "", "", hint(usagef("it is not clear whose roles are meant"), "Give one of --user and --group.")
		case user != "":
			id, err = member(ctx, cl, user)
			return client.Users, id, err
		}
		id, err = userGroup(ctx, cl, group)
		return client.Groups, id, err
	}
	assigned := c.call("assigned [flags]", "List the roles of a user, those of their groups too, or of a group", cobra.NoArgs, func(ctx context.Context, cl *client.Client, _ []string) error {
		kind, id, err := principal(ctx, cl)
		if err != nil {
			return err
		}
		pid, err := place(ctx, cl)
		if err != nil {
			return err
		}
		return list(c, cl.AssignedRoles(ctx, pid, kind, id), []string{"ID", "NAME", "THROUGH", "SINCE"}, func(r *client.AssignedRole) (json.RawMessage, []string) {
			var through []string
			for _, s := range r.Sources {
				through = append(through, s.ID)
			}
			return r.JSON, []string{r.ID, r.Name, strings.Join(through, " "), moment(r.CreatedAt)}
		})
	})
	assign := c.call("assign ROLE [flags]", "Give a role to a user or a group", cobra.ExactArgs(1), func(ctx context.Context, cl *client.Client, args []string) error {
		kind, id, err := principal(ctx, cl)
		if err != nil {
			return err
		}
		pid, role, err := find(ctx, cl, args[0])
		if err != nil {
			return err
		}
		if err := cl.AssignRole(ctx, pid, kind, id, role); err != nil {
			return err
		}
		return c.answer(json.RawMessage(`{"role_id":"`+role+`","principal_id":"`+id+`"}`), func() { c.out.note(id + " has the role " + role + ".") })
	})
	unassign := c.call("unassign ROLE [flags]", "Take a role from a user or a group", cobra.ExactArgs(1), func(ctx context.Context, cl *client.Client, args []string) error {
		kind, id, err := principal(ctx, cl)
		if err != nil {
			return err
		}
		pid, role, err := find(ctx, cl, args[0])
		if err != nil {
			return err
		}
		d, err := cl.UnassignRole(ctx, pid, kind, id, role)
		if err != nil {
			return err
		}
		return c.deleted(d, "taken")
	})
	for _, cmd := range []*cobra.Command{listing, create, update, remove, assigned, assign, unassign} {
		cmd.Flags().StringVar(&in, "project", "", "project the role is in, by id or name; without it the organization")
	}
	for _, cmd := range []*cobra.Command{assigned, assign, unassign} {
		cmd.Flags().StringVar(&user, "user", "", "a user, by id, address or name")
		cmd.Flags().StringVar(&group, "group", "", "a group, by id or name")
	}
	return c.group("roles", "Roles, and who has them", "ROLE is an id or a name: owner and reader in the organization, owner, member and viewer in a project, or one that was made.",
		listing, create, update, remove, assigned, assign, unassign)
}
