package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"gatehouse"
	"gatehouse/client"
)

// permissions shows and changes what a project's requests may do, whoever makes them.
func (c *cli) permissions() *cobra.Command {
	var allow, deny, allowTools, denyTools, tiers []string
	var every bool
	var retention, tier string
	var cmd *cobra.Command
	cmd = c.call("permissions PROJECT [flags]", "Show or change which models, hosted tools and service tiers a project may use, and what is kept of its requests", cobra.ExactArgs(1),
		func(ctx context.Context, cl *client.Client, args []string) error {
			flags := cmd.Flags()
			models := 0
			for _, name := range []string{"allow-model", "deny-model", "every-model"} {
				if flags.Changed(name) {
					models++
				}
			}
			if models > 1 {
				return hint(usagef("a project's models are either allowed or denied"), "Give one of --allow-model, --deny-model and --every-model.")
			}
			denied, err := gatehouse.ParseTools("deny-tool", denyTools)
			if err != nil {
				return err
			}
			allowed, err := gatehouse.ParseTools("allow-tool", allowTools)
			if err != nil {
				return err
			}
			if both := denied & allowed; both != 0 {
				return usagef("%s is both allowed and denied", both)
			}
			id, err := project(ctx, cl, args[0])
			if err != nil {
				return err
			}
			var until int64 // when the last of the changes holds everywhere
			switch {
			case flags.Changed("allow-model"), flags.Changed("deny-model"):
				list := gatehouse.ModelPermissions{Mode: gatehouse.AllowList, Models: given(allow)}
				if flags.Changed("deny-model") {
					list = gatehouse.ModelPermissions{Mode: gatehouse.DenyList, Models: given(deny)}
				}
				p, err := cl.SetModelPermissions(ctx, id, list)
				if err != nil {
					return err
				}
				until = max(until, p.EffectiveBy)
			case every:
				if _, err := cl.DeleteModelPermissions(ctx, id); err != nil {
					return err
				}
			}
			if denied|allowed != 0 {
				t, err := cl.SetHostedTools(ctx, id, denied, allowed)
				if err != nil {
					return err
				}
				until = max(until, t.EffectiveBy)
			}
			if flags.Changed("data-retention") {
				d, err := cl.SetProjectDataRetention(ctx, id, gatehouse.DataRetention(retention))
				if err != nil {
					return err
				}
				until = max(until, d.EffectiveBy)
			}
			if flags.Changed("service-tiers") || tier != "" {
				u := client.ServiceTiersUpdate{Default: tier}
				if flags.Changed("service-tiers") {
					if u.Enabled = given(tiers); slices.Equal(tiers, []string{"all"}) {
						u.Enabled = "all"
					}
				}
				v, err := cl.SetServiceTiers(ctx, id, u)
				if err != nil {
					return err
				}
				until = max(until, v.EffectiveBy)
			}
			return c.showPermissions(ctx, cl, id, until)
		})
	cmd.Flags().StringSliceVar(&allow, "allow-model", nil, "the project may ask for these models and no others; repeat for more. \"\" for none at all")
	cmd.Flags().StringSliceVar(&deny, "deny-model", nil, "the project may ask for every model but these; repeat for more")
	cmd.Flags().BoolVar(&every, "every-model", false, "the project may ask for every model again")
	cmd.Flags().StringSliceVar(&denyTools, "deny-tool", nil, "a hosted tool that no request may use: "+gatehouse.AllTools.String())
	cmd.Flags().StringSliceVar(&allowTools, "allow-tool", nil, "a hosted tool that requests may use again")
	cmd.Flags().StringVar(&retention, "data-retention", "", "what is kept of its requests: organization_default, none, modified_abuse_monitoring, zero_data_retention (no addresses, programs and ids of callers)")
	cmd.Flags().StringSliceVar(&tiers, "service-tiers", nil, "the service tiers that requests may ask for beside the standard one: "+strings.Join(gatehouse.DeniableTiers, ", ")+". \"all\" for every tier, \"\" for none of these")
	cmd.Flags().StringVar(&tier, "default-tier", "", "the service tier of requests that ask for none: standard, fast or scale")
	return cmd
}

// given returns the values of a repeated flag without the empty one, which stands for none.
func given(values []string) []string {
	list := []string{}
	for _, v := range values {
		if v != "" {
			list = append(list, v)
		}
	}
	return list
}

// tierNames writes the tiers that may be asked for: all, or their names.
func tierNames(enabled any) string {
	list, ok := enabled.([]any)
	if !ok {
		return fmt.Sprint(enabled)
	}
	names := []string{"standard"}
	for _, name := range list {
		names = append(names, fmt.Sprint(name))
	}
	return strings.Join(names, ", ")
}

func (c *cli) showPermissions(ctx context.Context, cl *client.Client, project string, until int64) error {
	models, err := cl.ModelPermissions(ctx, project)
	if err != nil {
		return err
	}
	tools, err := cl.HostedTools(ctx, project)
	if err != nil {
		return err
	}
	kept, err := cl.ProjectDataRetention(ctx, project)
	if err != nil {
		return err
	}
	tiers, err := cl.ServiceTiers(ctx, project)
	if err != nil {
		return err
	}
	all, err := json.Marshal(map[string]json.RawMessage{"model_permissions": models.JSON, "hosted_tool_permissions": tools.JSON, "data_retention": kept.JSON, "service_tier_settings": tiers.JSON})
	if err != nil {
		return err
	}
	return c.answer(all, func() {
		what := "every model"
		switch names := strings.Join(models.Models, ", "); {
		case models.Mode == gatehouse.AllowList && names == "":
			what = "none"
		case models.Mode == gatehouse.AllowList:
			what = "only " + names
		case names != "":
			what = "all but " + names
		}
		denied := tools.Denied()
		c.out.fields([][2]string{{"models", what}, {"hosted tools", (gatehouse.AllTools &^ denied).String()}, {"denied tools", denied.String()}, {"data retention", string(kept.Type)},
			{"default tier", tiers.Default}, {"service tiers", tierNames(tiers.Enabled)}})
		c.effective(until)
	})
}
