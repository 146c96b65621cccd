package gatehouse

import (
	"encoding/json"
	"slices"
	"strings"
)

// ServiceTiers is which service tiers the requests of a project may ask for, and which they get that ask for none, in the words of
// OpenAI's service_tier_settings. The zero value allows every tier and leaves to the upstream what is not asked for.
type ServiceTiers struct {
	// Default is what a request without service_tier, or with "auto", gets: standard, fast or scale; empty: what the upstream gives it.
	Default string `json:"default,omitempty"`
	// Restricted says that of the tiers that can be denied only those in Enabled may be asked for.
	Restricted bool     `json:"restricted,omitempty"`
	Enabled    []string `json:"enabled,omitempty"` // of DeniableTiers
}

// The defaults that a project may have.
const (
	TierStandard = "standard"
	TierFast     = "fast"
	TierScale    = "scale"
)

// DeniableTiers are the tiers that a project can be denied. "fast" and "priority" are two names of one.
var DeniableTiers = []string{"flex", "fast", "ultrafast"}

// IsZero reports whether nothing is set.
func (t ServiceTiers) IsZero() bool { return t.Default == "" && !t.Restricted }

// Equal reports whether two settings are the same.
func (t ServiceTiers) Equal(u ServiceTiers) bool {
	return t.Default == u.Default && t.Restricted == u.Restricted && slices.Equal(t.Enabled, u.Enabled)
}

// Allows reports whether a request may ask for a tier; "" is none. A tier that nobody knows is denied where any can be.
func (t *ServiceTiers) Allows(tier string) bool {
	if !t.Restricted {
		return true
	}
	switch strings.ToLower(tier) {
	case "", "auto", "default", "standard", "scale":
		return true
	case "priority":
		tier = TierFast
	}
	return slices.Contains(t.Enabled, strings.ToLower(tier))
}

// Ask returns the service_tier that a request must be sent with which says tier: the same, but where it leaves the choice to the
// project, which has made one.
func (t *ServiceTiers) Ask(tier string) string {
	if tier != "" && tier != "auto" {
		return tier
	}
	switch t.Default {
	case TierStandard:
		return "default"
	case TierFast:
		return "priority"
	}
	return tier
}

// Check returns an Invalid error unless the tiers are known and the default is one that may be used. It puts Enabled in order.
func (t *ServiceTiers) Check() error {
	if t.Default != "" && t.Default != TierStandard && t.Default != TierFast && t.Default != TierScale {
		return InvalidParam("default", "Invalid 'default': must be standard, fast or scale.")
	}
	for i, tier := range t.Enabled {
		if !slices.Contains(DeniableTiers, tier) {
			return InvalidParam("enabled_tiers", "Invalid 'enabled_tiers': %q is none of %s. \"all\" allows every tier.", tier, strings.Join(DeniableTiers, ", "))
		}
		if slices.Contains(t.Enabled[:i], tier) {
			return InvalidParam("enabled_tiers", "Invalid 'enabled_tiers': %q is there twice.", tier)
		}
	}
	if t.Default == TierFast && !t.Allows(TierFast) {
		return InvalidParam("default", "Invalid 'default': requests cannot get the tier fast while 'enabled_tiers' does not have it.")
	}
	slices.SortFunc(t.Enabled, func(a, b string) int { return slices.Index(DeniableTiers, a) - slices.Index(DeniableTiers, b) })
	return nil
}

// Listed returns the enabled tiers as OpenAI's API writes them: "all", or a list.
func (t *ServiceTiers) Listed() any {
	if !t.Restricted {
		return "all"
	}
	return append([]string{}, t.Enabled...)
}

// ParseTiers reads the enabled tiers as OpenAI's API writes them into t.
func (t *ServiceTiers) ParseTiers(text json.RawMessage) error {
	var word string
	if json.Unmarshal(text, &word) == nil {
		if word != "all" {
			return InvalidParam("enabled_tiers", "Invalid 'enabled_tiers': must be \"all\" or a list of %s.", strings.Join(DeniableTiers, ", "))
		}
		t.Restricted, t.Enabled = false, nil
		return nil
	}
	var list []string
	if err := json.Unmarshal(text, &list); err != nil || list == nil {
		return InvalidParam("enabled_tiers", "Invalid 'enabled_tiers': must be \"all\" or a list of %s.", strings.Join(DeniableTiers, ", "))
	}
	t.Restricted, t.Enabled = true, list
	return nil
}
