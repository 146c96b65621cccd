package main

import (
	"cmp"
	"context"
	"encoding/json"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"gatehouse/client"
)

func (c *cli) keys() *cobra.Command {
	one := func(use, short string, do func(*client.Client, context.Context, string) (*client.Key, error)) *cobra.Command {
		return c.call(use+" KEY", short, cobra.ExactArgs(1), func(ctx context.Context, cl *client.Client, args []string) error {
			if err := keyID(args[0]); err != nil {
				return err
			}
			k, err := do(cl, ctx, args[0])
			if err != nil {
				return err
			}
			return c.showKey(k)
		})
	}
	revoke := c.call("revoke KEY", "Stop a key for good", cobra.ExactArgs(1), func(ctx context.Context, cl *client.Client, args []string) error {
		if err := keyID(args[0]); err != nil {
			return err
		}
		d, err := cl.RevokeKey(ctx, args[0])
		if err != nil {
			return err
		}
		return c.deleted(d, "revoked")
	})
	return c.group("keys", "Keys of every class", "KEY is a key's id (key_...), which lists show. It may be written down; the key itself is shown once, when it is created.",
		c.listKeys(), c.createKey(), one("get", "Show a key", (*client.Client).Key), c.updateKey(),
		one("suspend", "Stop a key until it is resumed", (*client.Client).SuspendKey), one("resume", "Let a suspended key work again", (*client.Client).ResumeKey), revoke)
}

// keyID refuses a whole key where an id belongs, before it travels in a URL.
func keyID(text string) error {
	if strings.HasPrefix(text, "sk-") {
		return hint(usagef("this is a key, not the id of one"), "`gatehouse keys list` shows ids (key_...). A key on a command line is visible to others: consider revoking it.")
	}
	return nil
}

func (c *cli) listKeys() *cobra.Command {
	var f client.KeyFilter
	cmd := c.call("list [flags]", "List keys", cobra.NoArgs, func(ctx context.Context, cl *client.Client, _ []string) (err error) {
		filter := f
		if filter.Project != "" {
			if filter.Project, err = project(ctx, cl, f.Project); err != nil {
				return err
			}
		}
		if filter.User != "" {
			if filter.User, err = member(ctx, cl, f.User); err != nil {
				return err
			}
		}
		return list(c, cl.Keys(ctx, filter), []string{"ID", "CLASS", "STATE", "NAME", "PROJECT", "OWNER", "EXPIRES", "LAST USED"}, func(k *client.Key) (json.RawMessage, []string) {
			return k.JSON, []string{k.ID, k.Class, k.State, k.Name, cmp.Or(k.ProjectID, "-"), ownerOf(k), cmp.Or(moment(k.ExpiresAt), "never"), cmp.Or(moment(k.LastUsedAt), "never")}
		})
	})
	cmd.Flags().StringVar(&f.Project, "project", "", "only of this project, by id or name")
	cmd.Flags().StringVar(&f.User, "user", "", "only of this user, by id, email or name")
	cmd.Flags().StringVar(&f.ServiceAccount, "service-account", "", "only of this service account, by id")
	cmd.Flags().StringVar(&f.Class, "class", "", "only project, service_account, user, admin or azure")
	cmd.Flags().BoolVar(&f.Revoked, "revoked", false, "also those that are revoked")
	return cmd
}

func ownerOf(k *client.Key) string {
	switch {
	case k.Owner.ServiceAccount != nil:
		return k.Owner.ServiceAccount.ID
	case k.Owner.User != nil:
		return k.Owner.User.ID
	case k.Owner.Resource != nil:
		return k.Owner.Resource.ID
	}
	return "-"
}

// policyFlags are the flags that restrict a key.
type policyFlags struct {
	name                string
	labels              labelsFlag
	scopes, models, ips []string
	expires             lifetimeFlag
}

func (p *policyFlags) register(flags *pflag.FlagSet) {
	flags.StringVar(&p.name, "name", "", "what the key is for")
	p.labels.register(flags, "a label; repeat for more")
	flags.StringArrayVar(&p.scopes, "scope", nil, "a scope the key is restricted to, such as model.request or api.all.read; repeat for more")
	flags.StringArrayVar(&p.models, "model", nil, "a deployment the key is restricted to; repeat for more")
	flags.StringArrayVar(&p.ips, "allow-ip", nil, "an address or CIDR range the key is restricted to; repeat for more")
	p.expires.register(flags, "life of the key from now")
}

func (c *cli) createKey() *cobra.Command {
	var class, in, user, service string
	var p policyFlags
	cmd := c.call("create [flags]", "Create a key; it is shown once", cobra.NoArgs, func(ctx context.Context, cl *client.Client, _ []string) (err error) {
		req := client.KeyCreate{Class: class, Name: p.name, Labels: p.labels.values, Scopes: p.scopes, Models: p.models, AllowedIPs: p.ips, ExpiresIn: p.expires.seconds()}
		if req.Class == "" {
			if req.Class, err = classOf(in, user, service); err != nil {
				return err
			}
		}
		if in != "" {
			if req.Project, err = project(ctx, cl, in); err != nil {
				return err
			}
		}
		if service != "" {
			if req.ServiceAccount, err = account(ctx, cl, req.Project, service); err != nil {
				return err
			}
		}
		switch {
		case user != "":
			req.User, err = member(ctx, cl, user)
		case req.Class == "project" || req.Class == "user":
			var me *client.Identity
			if me, err = cl.WhoAmI(ctx); err == nil {
				req.User = me.UserID
			}
		}
		if err != nil {
			return err
		}
		k, err := cl.CreateKey(ctx, req)
		if err != nil {
			return err
		}
		return c.showKey(k)
	})
	cmd.Long = "Creates a key and prints it once. What it is follows from its owner:\n\n" +
		"  --project P                       a key of yours in one project (sk-proj-)\n" +
		"  --project P --user U              a key of another member of the project (sk-proj-)\n" +
		"  --project P --service-account A   a key of a program in one project (sk-svcacct-)\n" +
		"  --user U                          a key of a user in every project of theirs (sk-user-)\n" +
		"  --class admin                     an admin key: it administers and never calls models (sk-admin-)"
	cmd.Flags().StringVar(&class, "class", "", "project, service_account, user or admin (default: follows from the owner)")
	cmd.Flags().StringVar(&in, "project", "", "project, by id or name")
	cmd.Flags().StringVar(&user, "user", "", "owner, by id, email or name (default: the owner of the admin key)")
	cmd.Flags().StringVar(&service, "service-account", "", "owner, by id or name")
	cmd.MarkFlagsMutuallyExclusive("user", "service-account")
	p.register(cmd.Flags())
	return cmd
}

// classOf returns the class that follows from who owns a key and where it acts.
func classOf(project, user, service string) (string, error) {
	switch {
	case service != "" && project == "":
		return "", hint(usagef("--service-account needs --project"), "A service account lives in one project.")
	case service != "":
		return "service_account", nil
	case project != "":
		return "project", nil
	case user != "":
		return "user", nil
	}
	return "", hint(usagef("say what kind of key"), "Give --project, --user or --class admin; `gatehouse keys create --help` explains them.")
}

func (c *cli) updateKey() *cobra.Command {
	var p policyFlags
	var cmd *cobra.Command
	cmd = c.call("update KEY [flags]", "Rename, label, restrict or limit the life of a key", cobra.ExactArgs(1), func(ctx context.Context, cl *client.Client, args []string) error {
		if err := keyID(args[0]); err != nil {
			return err
		}
		var u client.KeyUpdate
		changed := cmd.Flags().Changed
		if changed("name") {
			u.Name = &p.name
		}
		if p.labels.set {
			u.Labels = &p.labels.values
		}
		for _, l := range []struct {
			flag  string
			given []string
			into  **[]string
		}{{"scope", p.scopes, &u.Scopes}, {"model", p.models, &u.Models}, {"allow-ip", p.ips, &u.AllowedIPs}} {
			if changed(l.flag) {
				kept := []string{}
				for _, v := range l.given {
					if v != "" {
						kept = append(kept, v)
					}
				}
				*l.into = &kept
			}
		}
		if changed("expires-in") {
			seconds := p.expires.seconds()
			u.ExpiresIn = &seconds
		}
		if u == (client.KeyUpdate{}) {
			return hint(usagef("nothing to change"), "`gatehouse keys update --help` lists what can change.")
		}
		k, err := cl.UpdateKey(ctx, args[0], u)
		if err != nil {
			return err
		}
		return c.showKey(k)
	})
	cmd.Long = "Changes a key. Labels, scopes, models and addresses that are given replace all there were; \"\" removes them:\n\n  gatehouse keys update key_... --model \"\""
	p.register(cmd.Flags())
	return cmd
}

func (c *cli) showKey(k *client.Key) error {
	return c.answer(k.JSON, func() {
		owner := ownerOf(k)
		if o := cmp.Or(k.Owner.ServiceAccount, k.Owner.User, k.Owner.Resource); o != nil && o.Name != "" {
			owner += "  " + o.Name
		}
		if !k.OwnerActive {
			owner += "  (without access)"
		}
		c.out.fields([][2]string{
			{"id", k.ID}, {"class", k.Class}, {"state", k.State}, {"name", k.Name}, {"key", k.RedactedValue}, {"project", k.ProjectID}, {"owner", owner}, {"labels", labelText(k.Labels)},
			{"scopes", strings.Join(k.Scopes, " ")}, {"models", strings.Join(k.Models, " ")}, {"addresses", strings.Join(k.AllowedIPs, " ")},
			{"created", moment(k.CreatedAt)}, {"expires", moment(k.ExpiresAt)}, {"suspended", moment(k.SuspendedAt)}, {"revoked", moment(k.RevokedAt)}, {"last used", moment(k.LastUsedAt)},
		})
		c.effective(k.EffectiveBy)
		if k.Value != "" {
			c.secret("key", k.Value)
		}
	})
}
