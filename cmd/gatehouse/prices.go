package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gatehouse"
	"gatehouse/client"
)

func (c *cli) prices() *cobra.Command {
	var q client.PriceQuery
	listing := c.call("list", "List prices: the organization's own, then the built-in ones", cobra.NoArgs, func(ctx context.Context, cl *client.Client, _ []string) error {
		return c.listPrices(ctx, cl, q)
	})
	listing.Flags().StringVar(&q.Model, "model", "", "of this model only")
	listing.Flags().StringVar(&q.Origin, "origin", "", "organization or built_in only")
	show := c.call("show MODEL", "Show every price of a model, whole", cobra.ExactArgs(1), func(ctx context.Context, cl *client.Client, args []string) error {
		return c.showPrices(ctx, cl, args[0])
	})
	remove := c.call("remove PRICE_ID", "Remove one of the organization's own prices", cobra.ExactArgs(1), func(ctx context.Context, cl *client.Client, args []string) error {
		d, err := cl.RemovePrice(ctx, args[0])
		if err != nil {
			return err
		}
		return c.deleted(d, "removed")
	})
	return c.group("prices", "What models cost, and since when", "", listing, show, c.setPrice(), remove)
}

func (c *cli) setPrice() *cobra.Command {
	var p client.Price
	var dialect, from, file string
	var rates, tiers []string
	var limit client.PriceLimit
	set := c.call("set MODEL --rate UNIT=USD [flags]", "Set what a model costs, in the place of the built-in price", cobra.ExactArgs(1), func(ctx context.Context, cl *client.Client, args []string) error {
		if file != "" {
			text, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			if err := json.Unmarshal(text, &p); err != nil {
				return hint(fmt.Errorf("%s cannot be read: %w", file, err), "It is one price as `gatehouse prices show MODEL --json` prints it.")
			}
		}
		p.Model, p.Dialect = args[0], cmp.Or(gatehouse.Dialect(dialect), p.Dialect)
		if from != "" {
			at, err := gatehouse.ParseInstant(from)
			if err != nil {
				return hint(usagef("--from: %q is not a time", from), "A day such as 2026-09-01 (UTC), or an instant such as 2026-09-01T12:00:00Z.")
			}
			p.EffectiveFrom = at.Seconds()
		}
		for _, text := range rates {
			name, price, err := parseRate("--rate", text)
			if err != nil {
				return err
			}
			if p.Cost == nil {
				p.Cost = map[string]gatehouse.USD{}
			}
			p.Cost[name] = price
		}
		for _, text := range tiers {
			name, factor, err := parseRate("--tier", text)
			if err != nil {
				return err
			}
			if p.ServiceTiers == nil {
				p.ServiceTiers = map[string]client.PriceTier{}
			}
			p.ServiceTiers[name] = client.PriceTier{Factor: factor}
		}
		if limit != (client.PriceLimit{}) {
			p.Limit = &limit
		}
		got, err := cl.PutPrice(ctx, p)
		if err != nil {
			return err
		}
		return c.answer(got.JSON, func() { c.priceFields(got) })
	})
	set.Long = "Sets what a model costs the organization from a time on, in the place of the whole built-in price: a unit that is not\n" +
		"named has no price then. Prices are USD for 1,000,000 units, or for as many as stand behind a slash:\n\n" +
		"  gatehouse prices set gpt-4o --rate input=2.25 --rate cache_read=1.125 --rate output=9\n" +
		"  gatehouse prices set our-llama --upstream gpu --rate input=0.20 --rate output=0.60 --limit-output 8192\n" +
		"  gatehouse prices set whisper-1 --dialect azure --rate audio_seconds=0.36/3600 --from 2026-09-01\n" +
		"  gatehouse prices set '*' --rate web_searches=8/1000 --tier batch=0.5\n\n" +
		"What MODEL means is what the upstream answers with, or calls it, or a route's priced_as. docs/prices.md lists the units."
	f := set.Flags()
	f.StringArrayVar(&rates, "rate", nil, "UNIT=USD for 1,000,000 units, or UNIT=USD/UNITS; repeat for more")
	f.StringArrayVar(&tiers, "tier", nil, "TIER=FACTOR: flex, priority, scale or batch costs the factor times the standard price; repeat for more")
	f.StringVar(&dialect, "dialect", "", "openai, azure or mock: which upstreams it holds for (default openai)")
	f.StringVar(&p.Upstream, "upstream", "", "the name of the one upstream it holds for")
	f.StringVar(&from, "from", "", "the day or instant from which it holds (default: always)")
	f.StringVar(&p.Note, "note", "", "where it is from, for whoever reads it later")
	f.StringVar(&file, "file", "", "read a whole price from this JSON file; flags stand above it")
	f.Int64Var(&limit.Context, "limit-context", 0, "tokens the model takes and gives together")
	f.Int64Var(&limit.Input, "limit-input", 0, "tokens it takes at most")
	f.Int64Var(&limit.Output, "limit-output", 0, "tokens it gives at most, for requests that set no limit")
	return set
}

// parseRate reads NAME=USD or NAME=USD/UNITS, exactly.
func parseRate(flag, text string) (name string, price gatehouse.USD, err error) {
	name, value, ok := strings.Cut(text, "=")
	value, units, per := strings.Cut(value, "/")
	bad := hint(usagef("%s: %q cannot be read", flag, text), "Write NAME=NUMBER with at most nine decimal places, e.g. input=2.50, or with what it is for, e.g. web_searches=10/1000.")
	if !ok || name == "" {
		return "", 0, bad
	}
	if price, err = gatehouse.ParseUSD(value); err != nil {
		return "", 0, bad
	}
	if !per {
		return name, price, nil
	}
	const million = 1_000_000
	n, err := strconv.ParseInt(units, 10, 64)
	switch {
	case err != nil || n <= 0 || price < 0 || price > math.MaxInt64/million:
		return "", 0, bad
	case int64(price)*million%n != 0:
		return "", 0, hint(usagef("%s: %q is not whole for 1,000,000 units", flag, text), "Give the price of a number of units that divides it, or of 1,000,000.")
	}
	return name, gatehouse.USD(int64(price) * million / n), nil
}

func (c *cli) listPrices(ctx context.Context, cl *client.Client, q client.PriceQuery) error {
	return list(c, cl.Prices(ctx, q), []string{"MODEL", "FOR", "FROM", "PRICE FOR 1,000,000", "SOURCE", "ID"}, func(p *client.Price) (json.RawMessage, []string) {
		text := ratesText(p.Cost)
		if len(p.Context)+len(p.ServiceTiers)+len(p.Variants) > 0 {
			text = strings.TrimSpace(text + " ...")
		}
		return p.JSON, []string{p.Model, priceFor(p), priceFrom(p), cmp.Or(text, "-"), priceSource(p), cmp.Or(p.ID, "-")}
	})
}

func (c *cli) showPrices(ctx context.Context, cl *client.Client, model string) error {
	var found []*client.Price
	var raw []json.RawMessage
	for p, err := range cl.Prices(ctx, client.PriceQuery{Model: model}) {
		if err != nil {
			return err
		}
		found, raw = append(found, p), append(raw, p.JSON)
	}
	if len(found) == 0 {
		return hint(fmt.Errorf("%q has no price", model), "Its requests are counted and marked as unpriced. Set one: gatehouse prices set %s --rate input=... --rate output=...", model)
	}
	all, err := json.Marshal(raw)
	if err != nil {
		return err
	}
	return c.answer(all, func() {
		for _, p := range found {
			c.priceFields(p)
		}
	})
}

func (c *cli) priceFields(p *client.Price) {
	rows := [][2]string{{"id", p.ID}, {"model", p.Model}, {"for", priceFor(p)}, {"from", priceFrom(p)}, {"price for 1,000,000", ratesText(p.Cost)}}
	for _, context := range p.Context {
		rows = append(rows, [2]string{fmt.Sprintf("above %d input", context.Above), ratesText(context.Cost)})
	}
	for _, name := range slices.Sorted(maps.Keys(p.ServiceTiers)) {
		t := p.ServiceTiers[name]
		text := ratesText(t.Cost)
		if t.Factor != 0 {
			text = strings.TrimSpace(text + " else " + t.Factor.String() + " of the standard price")
		}
		rows = append(rows, [2]string{name, text})
	}
	for _, v := range p.Variants {
		rows = append(rows, [2]string{strings.TrimSpace(v.Size + " " + v.Quality), ratesText(v.Cost)})
	}
	if l := p.Limit; l != nil {
		rows = append(rows, [2]string{"limits", fmt.Sprintf("context %d, input %d, output %d", l.Context, l.Input, l.Output)})
	}
	rows = append(rows, [2]string{"source", priceSource(p)})
	c.out.fields(rows)
}

func ratesText(cost map[string]gatehouse.USD) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(cost)) {
		parts = append(parts, name+" "+cost[name].String())
	}
	return strings.Join(parts, ", ")
}

func priceFor(p *client.Price) string {
	if p.Upstream != "" {
		return "upstream " + p.Upstream
	}
	return string(p.Dialect)
}

func priceFrom(p *client.Price) string {
	if p.EffectiveFrom == 0 {
		return "always"
	}
	return time.Unix(p.EffectiveFrom, 0).UTC().Format(time.RFC3339)
}

func priceSource(p *client.Price) string {
	if p.Origin == "organization" {
		return cmp.Or(p.Note, "the organization")
	}
	return strings.TrimSpace(p.Source + " " + p.AsOf)
}
