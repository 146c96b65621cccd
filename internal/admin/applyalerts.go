package admin

import "gatehouse"

// ManifestAlerts declares who is told of what. The secret of a new webhook is not shown, for apply must not print one: it is shown
// when it is first rotated.
type ManifestAlerts struct {
	Channels []AlertChannelSpec `yaml:"channels" json:"channels,omitempty"`
	Rules    []AlertRuleSpec    `yaml:"rules" json:"rules,omitempty"`
}

// alerts declares channels first, because rules name them.
func (a *application) alerts(m *ManifestAlerts, prune bool) error {
	channels, rules := map[string]bool{}, map[string]bool{}
	for _, c := range m.Channels {
		if channels[c.Name] {
			return gatehouse.InvalidParam("alerts", "The manifest declares alert channel %q twice.", c.Name)
		}
		channels[c.Name] = true
		_, _, out, err := a.s.putAlertChannel(a.tx, a.who, c)
		if err != nil {
			return err
		}
		a.note(out)
	}
	for _, r := range m.Rules {
		if rules[r.Name] {
			return gatehouse.InvalidParam("alerts", "The manifest declares alert rule %q twice.", r.Name)
		}
		rules[r.Name] = true
		_, out, err := a.s.putAlertRule(a.tx, a.who, r)
		if err != nil {
			return err
		}
		a.note(out)
	}
	if !prune {
		return nil
	}
	return a.pruneAlerts(channels, rules)
}

// pruneAlerts removes the rules and channels that the manifest does not name.
func (a *application) pruneAlerts(channels, rules map[string]bool) error {
	haveRules, err := a.tx.AlertRules(a.who.Organization)
	if err != nil {
		return err
	}
	for i := range haveRules {
		if rules[haveRules[i].Name] {
			continue
		}
		out, err := a.s.removeAlertRule(a.tx, &haveRules[i])
		if err != nil {
			return err
		}
		a.note(out)
	}
	haveChannels, err := a.tx.AlertChannels(a.who.Organization)
	if err != nil {
		return err
	}
	for i := range haveChannels {
		if channels[haveChannels[i].Name] {
			continue
		}
		out, err := a.s.removeAlertChannel(a.tx, &haveChannels[i])
		if err != nil {
			return err
		}
		a.note(out)
	}
	return nil
}
