package prices

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"gatehouse"
)

// The token prices are models.dev's (MIT licence, LICENSE beside them), as of the commit they name. The other units and models are
// ours, each row with where its figures are from and when that was looked at.
var (
	//go:embed prices.json
	tokenPrices []byte
	//go:embed units.json
	unitPrices []byte
)

// BuiltIn returns the built-in table. It is a starting point: prices change.
var BuiltIn = sync.OnceValue(func() *Table {
	t, err := Parse(tokenPrices, unitPrices)
	if err != nil {
		panic(err) // the tables are part of the program, and a test parses them
	}
	return t
})

// row is one version of a model's price in our table.
type row struct {
	From   string `json:"from,omitempty"`   // the day from which it holds; empty: always
	Source string `json:"source,omitempty"` // where the figures are from
	AsOf   string `json:"as_of,omitempty"`  // the day they were looked at
	// Alias takes everything from another model of the provider.
	Alias string `json:"alias,omitempty"`
	Terms
}

// Parse reads two tables: tokens in the form of models.dev, which may be empty, and units in ours, laid over it. Decimals are read
// exactly; more than nine places, a negative price, an unknown provider, or a row of ours without source and date is an error.
func Parse(tokens, units []byte) (*Table, error) {
	t := &Table{builtIn: map[gatehouse.Dialect]map[string][]*version{gatehouse.OpenAI: {}, gatehouse.Azure: {}}}
	if len(tokens) > 0 {
		if err := t.parseTokens(tokens); err != nil {
			return nil, fmt.Errorf("parse token prices: %w", err)
		}
	}
	if len(units) > 0 {
		if err := t.parseUnits(units); err != nil {
			return nil, fmt.Errorf("parse unit prices: %w", err)
		}
	}
	return t, nil
}

func (t *Table) provider(name gatehouse.Dialect) (map[string][]*version, error) {
	models, ok := t.builtIn[name]
	if !ok {
		return nil, fmt.Errorf("unknown provider %q", name)
	}
	return models, nil
}

func (t *Table) parseTokens(data []byte) error {
	type tokenCost struct {
		Input       json.Number `json:"input"`
		Output      json.Number `json:"output"`
		CacheRead   json.Number `json:"cache_read"`
		CacheWrite  json.Number `json:"cache_write"`
		InputAudio  json.Number `json:"input_audio"`
		OutputAudio json.Number `json:"output_audio"`
	}
	var table struct {
		Source    string `json:"source"`
		Providers map[gatehouse.Dialect]map[string]struct {
			Cost *struct {
				tokenCost
				Tiers []struct {
					tokenCost
					Tier struct {
						Size int64 `json:"size"`
					} `json:"tier"`
				} `json:"tiers"`
			} `json:"cost"`
			Limit Limits `json:"limit"`
		} `json:"providers"`
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	if err := dec.Decode(&table); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is more than one JSON value")
	}
	// A price of 0 counts as none here: nobody gives tokens away, and the table writes 0 where there is nothing to sell.
	terms := func(c *tokenCost) (Cost, error) {
		out := Cost{}
		for name, text := range map[rate]json.Number{input: c.Input, output: c.Output, cached: c.CacheRead, cacheWrite: c.CacheWrite,
			inputAudio: c.InputAudio, outputAudio: c.OutputAudio} {
			if strings.Trim(string(text), "0.") == "" {
				continue
			}
			price, err := gatehouse.ParseUSD(string(text))
			if err != nil {
				return nil, err
			}
			out[rateNames[name]] = price
		}
		return out, nil
	}
	for provider, models := range table.Providers {
		into, err := t.provider(provider)
		if err != nil {
			return err
		}
		for name, m := range models {
			row := Terms{Limit: &m.Limit}
			if m.Cost != nil {
				if row.Cost, err = terms(&m.Cost.tokenCost); err != nil {
					return fmt.Errorf("%s %s: %w", provider, name, err)
				}
				for i := range m.Cost.Tiers {
					cost, err := terms(&m.Cost.Tiers[i].tokenCost)
					if err != nil {
						return fmt.Errorf("%s %s: %w", provider, name, err)
					}
					row.Context = append(row.Context, ContextTerms{m.Cost.Tiers[i].Tier.Size, cost})
				}
			}
			v, err := row.compile()
			if err != nil {
				return fmt.Errorf("%s %s: %w", provider, name, err)
			}
			v.source, v.pictures = table.Source, v.pictures || pictures(name)
			into[name] = []*version{v}
		}
	}
	return nil
}

func (t *Table) parseUnits(data []byte) error {
	var table struct {
		Note      string                                 `json:"note"`
		Providers map[gatehouse.Dialect]map[string][]row `json:"providers"`
	}
	if err := strict(data, &table); err != nil {
		return err
	}
	for provider, models := range table.Providers {
		into, err := t.provider(provider)
		if err != nil {
			return err
		}
		for name, rows := range models {
			if len(rows) == 0 {
				return fmt.Errorf("%s %s: it has no rows", provider, name)
			}
			for i := range rows {
				v, err := rows[i].version(name)
				if err != nil {
					return fmt.Errorf("%s %s: %w", provider, name, err)
				}
				if into[name], err = lay(into[name], v); err != nil {
					return fmt.Errorf("%s %s: %w", provider, name, err)
				}
			}
		}
		for name, rows := range models { // once every model is there
			if other := rows[0].Alias; other != "" {
				if len(rows) != 1 || len(into[other]) == 0 {
					return fmt.Errorf("%s %s: it is priced as %q, which is not in the table", provider, name, other)
				}
				into[name] = into[other]
			}
		}
	}
	return nil
}

func (r *row) version(model string) (*version, error) {
	if r.Source == "" {
		return nil, errors.New("it does not say where its figures are from")
	}
	if _, err := date(r.AsOf); err != nil {
		return nil, err
	}
	v, err := r.compile()
	if err != nil {
		return nil, err
	}
	if err := v.check(model); err != nil {
		return nil, err
	}
	if r.From != "" {
		if v.from, err = date(r.From); err != nil {
			return nil, err
		}
	}
	v.source, v.asOf, v.pictures = r.Source, r.AsOf, v.pictures || pictures(model)
	return v, nil
}

// lay lays a version over the newest one that holds when it begins, and adds it where it begins a time of its own. Versions come in
// the order of their times.
func lay(list []*version, v *version) ([]*version, error) {
	if len(list) == 0 {
		return []*version{v}, nil
	}
	last := list[len(list)-1]
	switch {
	case last.from > v.from:
		return nil, errors.New("its rows are not in the order of their days")
	case last.from == v.from:
		list = slices.Clone(list)
		list[len(list)-1] = v.over(last)
		return list, nil
	}
	return append(slices.Clip(list), v.over(last)), nil
}

// Check returns an error unless terms can be read and may be said of a model.
func Check(model string, terms *Terms) error {
	v, err := terms.compile()
	if err != nil {
		return err
	}
	return v.check(model)
}

// check holds what is said of any model to what can be said so.
func (v *version) check(model string) error {
	if model != AnyModel {
		return nil
	}
	bad := v.standard.known&(1<<firstTool-1) != 0 || v.standard.contexts != nil || v.variants != nil || v.limited
	for _, p := range v.tiers {
		bad = bad || p != nil && (p.known != 0 || p.contexts != nil)
	}
	if bad {
		return fmt.Errorf("the price of %s has calls of tools and factors of service tiers only", AnyModel)
	}
	return nil
}

// pictures reports whether a model's image tokens never cost what its text does.
func pictures(model string) bool {
	return strings.HasPrefix(model, "gpt-image") || strings.HasPrefix(model, "chatgpt-image")
}
