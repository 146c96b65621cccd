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

func (c *cli) invites() *cobra.Command {
	listing := c.call("list", "List invites", cobra.NoArgs, func(ctx context.Context, cl *client.Client, _ []string) error {
		return list(c, cl.Invites(ctx), []string{"ID", "EMAIL", "ROLE", "STATUS", "EXPIRES"}, func(v *client.Invite) (json.RawMessage, []string) {
			return v.JSON, []string{v.ID, v.Email, string(v.Role), v.Status, moment(v.ExpiresAt)}
		})
	})
	var role string
	var projects []string
	var expires lifetimeFlag
	var create *cobra.Command
	create = c.call("create EMAIL [flags]", "Invite somebody, by a link to hand over", cobra.ExactArgs(1), func(ctx context.Context, cl *client.Client, args []string) error {
		req := client.InviteCreate{Email: args[0], Role: gatehouse.Role(role), ExpiresIn: expires.seconds()}
		if create.Flags().Changed("project") {
			list := []gatehouse.InviteProject{}
			for _, name := range given(projects) {
				name, as, _ := strings.Cut(name, "=")
				id, err := project(ctx, cl, name)
				if err != nil {
					return err
				}
				list = append(list, gatehouse.InviteProject{ID: id, Role: gatehouse.Role(cmp.Or(as, "member"))})
			}
			req.Projects = &list
		}
		v, err := cl.CreateInvite(ctx, req)
		if err != nil {
			return err
		}
		return c.answer(v.JSON, func() {
			c.out.fields([][2]string{{"id", v.ID}, {"email", v.Email}, {"role", string(v.Role)}, {"expires", moment(v.ExpiresAt)}, {"link", v.Link}})
			c.out.note("The link is shown once, and whoever has it may accept: `gatehouse invites accept LINK`. No mail was sent.")
		})
	})
	create.Flags().StringVar(&role, "role", "reader", "owner or reader")
	create.Flags().StringSliceVar(&projects, "project", nil, "a project they become a member of, by id or name, as NAME or NAME=ROLE; repeat for more. \"\" for none. Without it the default project")
	expires.register(create.Flags(), "how long it can be accepted; a week without it")
	remove := c.call("delete INVITE", "Take an invite back", cobra.ExactArgs(1), func(ctx context.Context, cl *client.Client, args []string) error {
		id, err := resolve("invite", gatehouse.PrefixInvite, args[0], cl.Invites(ctx), func(v *client.Invite) (string, []string) { return v.ID, []string{v.Email} })
		if err != nil {
			return err
		}
		d, err := cl.DeleteInvite(ctx, id)
		if err != nil {
			return err
		}
		return c.deleted(d, "deleted")
	})
	var name string
	accept := c.command("accept LINK [flags]", "Accept an invite: you become a user and get a key of your own", cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
		link, token, ok := strings.Cut(args[0], "#")
		base, _, found := strings.Cut(link, "/gatehouse/v1/")
		if !ok || !found {
			return hint(usagef("%q is no link of an invite", link), "It ends in #TOKEN. Put it in quotes: the shell takes what follows # for a comment otherwise.")
		}
		r := c.remote
		r.url, r.caFile = base, cmp.Or(r.caFile, c.getenv("GATEHOUSE_CA_FILE"))
		cl, err := r.dial("")
		if err != nil {
			return err
		}
		v, err := cl.AcceptInvite(ctx, token, name)
		if err != nil {
			return err
		}
		return c.answer(v.JSON, func() {
			c.out.fields([][2]string{{"user", v.User.ID}, {"name", v.User.Name}, {"email", v.User.Email}, {"role", string(v.User.Role)}, {"key", v.APIKey.Value}})
			c.out.note("The key is shown once. Use it as OPENAI_API_KEY with OPENAI_BASE_URL=" + base + "/v1.")
		})
	})
	accept.Flags().StringVar(&name, "name", "", "your name; without it the first part of the address")
	return c.group("invites", "Invites to the organization", "INVITE is an id (invite-...) or an address.", listing, create, remove, accept)
}
