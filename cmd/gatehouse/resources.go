package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"gatehouse"
	"gatehouse/client"
)

func (c *cli) resources() *cobra.Command {
	get := c.call("get RESOURCE", "Show a resource", cobra.ExactArgs(1), func(ctx context.Context, cl *client.Client, args []string) error {
		id, err := resource(ctx, cl, args[0])
		if err != nil {
			return err
		}
		r, err := cl.Resource(ctx, id)
		if err != nil {
			return err
		}
		return c.showResource(r)
	})
	remove := c.call("remove RESOURCE", "Remove a resource: both its keys stop at once, for good", cobra.ExactArgs(1), func(ctx context.Context, cl *client.Client, args []string) error {
		id, err := resource(ctx, cl, args[0])
		if err != nil {
			return err
		}
		d, err := cl.RemoveResource(ctx, id)
		if err != nil {
			return err
		}
		return c.deleted(d, "removed")
	})
	return c.group("resources", "Azure-shaped resources: two keys each, changed over one at a time",
		"A resource is what clients of Azure OpenAI are configured with: an endpoint, a key and a second key (sk-azure-).\n"+
			"Regenerate the key that is not in use, move clients to it, then regenerate the other: no request is refused.\n"+
			"RESOURCE is an id (res_...) or a name.",
		c.listResources(), c.createResource(), get, c.updateResource(), c.regenerateKey(), remove)
}

func (c *cli) listResources() *cobra.Command {
	var in string
	cmd := c.call("list [flags]", "List resources", cobra.NoArgs, func(ctx context.Context, cl *client.Client, _ []string) (err error) {
		id := ""
		if in != "" {
			if id, err = project(ctx, cl, in); err != nil {
				return err
			}
		}
		return list(c, cl.Resources(ctx, id), []string{"ID", "NAME", "PROJECT", "REGION", "KEY1", "KEY2", "CREATED"}, func(r *client.Resource) (json.RawMessage, []string) {
			return r.JSON, []string{r.ID, r.Name, r.ProjectID, cmp.Or(r.Region, "-"), keyState(r.Key1), keyState(r.Key2), moment(r.CreatedAt)}
		})
	})
	cmd.Flags().StringVar(&in, "project", "", "only of this project, by id or name")
	return cmd
}

// keyState says what a slot holds.
func keyState(k *client.ResourceKey) string {
	if k == nil {
		return "none"
	}
	return k.State
}

func (c *cli) createResource() *cobra.Command {
	var in, region string
	cmd := required(c.call("create NAME --project PROJECT [flags]", "Create a resource; its keys are shown once", cobra.ExactArgs(1), func(ctx context.Context, cl *client.Client, args []string) error {
		id, err := project(ctx, cl, in)
		if err != nil {
			return err
		}
		r, err := cl.CreateResource(ctx, client.ResourceCreate{Project: id, Name: args[0], Region: region})
		if err != nil {
			return err
		}
		return c.showResource(r)
	}), &in, "project", "the project, by id or name")
	cmd.Flags().StringVar(&region, "region", "", "the region or geography that its requests stay in, such as eu or westeurope")
	return cmd
}

func (c *cli) updateResource() *cobra.Command {
	var name, region string
	var cmd *cobra.Command
	cmd = c.call("update RESOURCE [flags]", "Rename a resource, or pin it to a region", cobra.ExactArgs(1), func(ctx context.Context, cl *client.Client, args []string) error {
		var update client.ResourceUpdate
		if cmd.Flags().Changed("name") {
			update.Name = &name
		}
		if cmd.Flags().Changed("region") {
			update.Region = &region
		}
		if update == (client.ResourceUpdate{}) {
			return hint(usagef("nothing to change"), "Give --name or --region.")
		}
		id, err := resource(ctx, cl, args[0])
		if err != nil {
			return err
		}
		r, err := cl.UpdateResource(ctx, id, update)
		if err != nil {
			return err
		}
		return c.showResource(r)
	})
	cmd.Flags().StringVar(&name, "name", "", "new name")
	cmd.Flags().StringVar(&region, "region", "", "the region or geography that its requests stay in; \"\" leaves it to the project")
	return cmd
}

func (c *cli) regenerateKey() *cobra.Command {
	cmd := c.call("regenerate-key RESOURCE Key1|Key2", "Make one of a resource's keys anew; it is shown once", cobra.ExactArgs(2), func(ctx context.Context, cl *client.Client, args []string) error {
		var slot gatehouse.KeySlot
		for _, s := range []gatehouse.KeySlot{gatehouse.Key1, gatehouse.Key2} {
			if strings.EqualFold(args[1], s.String()) {
				slot = s
			}
		}
		if slot == 0 {
			return hint(usagef("%q is none of a resource's keys", args[1]), "Say Key1 or Key2.")
		}
		id, err := resource(ctx, cl, args[0])
		if err != nil {
			return err
		}
		r, err := cl.RegenerateKey(ctx, id, slot)
		if err != nil {
			return err
		}
		return c.showResource(r)
	})
	cmd.Long = "Revokes one of a resource's keys and makes another in its place, which is printed once. The other key is not touched.\n" +
		"A resource that `gatehouse apply` declared has no keys until they are made this way."
	return cmd
}

func (c *cli) showResource(r *client.Resource) error {
	return c.answer(r.JSON, func() {
		key := func(k *client.ResourceKey) string {
			if k == nil {
				return "none: `gatehouse resources regenerate-key` makes it"
			}
			return fmt.Sprintf("%s  %s  %s  last used %s", k.ID, k.RedactedValue, k.State, cmp.Or(moment(k.LastUsedAt), "never"))
		}
		c.out.fields([][2]string{{"id", r.ID}, {"name", r.Name}, {"project", r.ProjectID}, {"region", r.Region}, {"endpoint", r.Endpoint}, {"key1", key(r.Key1)}, {"key2", key(r.Key2)},
			{"created", moment(r.CreatedAt)}})
		c.effective(r.EffectiveBy)
		for _, k := range []struct {
			name string
			key  *client.ResourceKey
		}{{"KEY1", r.Key1}, {"KEY2", r.Key2}} {
			if k.key != nil && k.key.Value != "" {
				c.out.note("%s:", k.name)
				c.secret("key", k.key.Value)
			}
		}
	})
}

// resource returns the id of a resource given by id or name.
func resource(ctx context.Context, cl *client.Client, reference string) (string, error) {
	return resolve("resource", gatehouse.PrefixResource, reference, cl.Resources(ctx, ""), func(r *client.Resource) (string, []string) { return r.ID, []string{r.Name} })
}
