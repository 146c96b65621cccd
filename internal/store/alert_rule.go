package store

import "gatehouse"

const (
	alertRuleSelect    = `SELECT id, organization, name, body, created_at, removed_at, rev FROM alert_rules`
	alertChannelSelect = `SELECT id, organization, name, body, created_at, removed_at, rev FROM alert_channels`
)

func scanAlertRule(r row, v *gatehouse.AlertRule) error {
	var body []byte
	var head gatehouse.AlertRule
	if err := r.Scan(&head.ID, &head.Organization, &head.Name, &body, (*int64)(&head.CreatedAt), (*int64)(&head.RemovedAt), &head.Rev); err != nil {
		return err
	}
	if err := fromJSON("body", body, v); err != nil {
		return err
	}
	v.ID, v.Organization, v.Name, v.CreatedAt, v.RemovedAt, v.Rev = head.ID, head.Organization, head.Name, head.CreatedAt, head.RemovedAt, head.Rev
	return nil
}

// CreateAlertRule stores a new rule and sets its Rev, and CreatedAt where it is 0. A second live rule of the same name in the
// organization is a Conflict.
func (tx *Tx) CreateAlertRule(v *gatehouse.AlertRule) error {
	const query = `INSERT INTO alert_rules (id, organization, name, body, created_at, removed_at, rev) VALUES ($1, $2, $3, $4, $5, $6, 1)`
	tx.stamp(&v.CreatedAt)
	return tx.create("alert rule", v.ID, &v.Rev, query, v.ID, v.Organization, v.Name, asJSON(v, 1), int64(v.CreatedAt), int64(v.RemovedAt))
}

// SaveAlertRule stores a changed rule: everything but ID, Organization and CreatedAt. RemovedAt, once set, stays.
func (tx *Tx) SaveAlertRule(v *gatehouse.AlertRule) error {
	const query = `UPDATE alert_rules SET rev = rev + 1, name = $3, body = $4, removed_at = $5 WHERE id = $1 AND rev = $2 AND (removed_at = 0 OR removed_at = $5)`
	const exists = `SELECT rev FROM alert_rules WHERE id = $1`
	return tx.save("alert rule", v.ID, &v.Rev, query, exists, v.Name, asJSON(v, 1), int64(v.RemovedAt))
}

// AlertRule returns a rule that was written down, removed or not.
func (tx *Tx) AlertRule(id string) (*gatehouse.AlertRule, error) {
	return one(tx, "alert rule", id, scanAlertRule, alertRuleSelect+` WHERE id = $1`, id)
}

// AlertRules returns the rules that an organization has written down, without removed ones, oldest first.
func (tx *Tx) AlertRules(organization string) ([]gatehouse.AlertRule, error) {
	return all(tx, "alert rules", scanAlertRule, alertRuleSelect+` WHERE organization = $1 AND removed_at = 0 ORDER BY created_at, id`, organization)
}

// EffectiveAlertRules returns the rules of an organization: those it has written down, and the default ones whose names none of them
// has.
func (tx *Tx) EffectiveAlertRules(organization string) ([]gatehouse.AlertRule, error) {
	rules, err := tx.AlertRules(organization)
	if err != nil {
		return nil, err
	}
	named := make(map[string]bool, len(rules))
	for i := range rules {
		named[rules[i].Name] = true
	}
	for _, d := range gatehouse.DefaultAlertRules(organization) {
		if !named[d.Name] {
			rules = append(rules, d)
		}
	}
	return rules, nil
}

func scanAlertChannel(r row, v *gatehouse.AlertChannel) error {
	var body []byte
	var head gatehouse.AlertChannel
	if err := r.Scan(&head.ID, &head.Organization, &head.Name, &body, (*int64)(&head.CreatedAt), (*int64)(&head.RemovedAt), &head.Rev); err != nil {
		return err
	}
	if err := fromJSON("body", body, v); err != nil {
		return err
	}
	v.ID, v.Organization, v.Name, v.CreatedAt, v.RemovedAt, v.Rev = head.ID, head.Organization, head.Name, head.CreatedAt, head.RemovedAt, head.Rev
	return nil
}

// CreateAlertChannel stores a new channel and sets its Rev, and CreatedAt where it is 0. A second live channel of the same name in the
// organization is a Conflict.
func (tx *Tx) CreateAlertChannel(v *gatehouse.AlertChannel) error {
	const query = `INSERT INTO alert_channels (id, organization, name, body, created_at, removed_at, rev) VALUES ($1, $2, $3, $4, $5, $6, 1)`
	tx.stamp(&v.CreatedAt)
	return tx.create("alert channel", v.ID, &v.Rev, query, v.ID, v.Organization, v.Name, asJSON(v, 1), int64(v.CreatedAt), int64(v.RemovedAt))
}

// SaveAlertChannel stores a changed channel: everything but ID, Organization and CreatedAt. RemovedAt, once set, stays.
func (tx *Tx) SaveAlertChannel(v *gatehouse.AlertChannel) error {
	const query = `UPDATE alert_channels SET rev = rev + 1, name = $3, body = $4, removed_at = $5 WHERE id = $1 AND rev = $2 AND (removed_at = 0 OR removed_at = $5)`
	const exists = `SELECT rev FROM alert_channels WHERE id = $1`
	return tx.save("alert channel", v.ID, &v.Rev, query, exists, v.Name, asJSON(v, 1), int64(v.RemovedAt))
}

// AlertChannel returns a channel, removed or not.
func (tx *Tx) AlertChannel(id string) (*gatehouse.AlertChannel, error) {
	return one(tx, "alert channel", id, scanAlertChannel, alertChannelSelect+` WHERE id = $1`, id)
}

// AlertChannels returns an organization's channels without removed ones, oldest first.
func (tx *Tx) AlertChannels(organization string) ([]gatehouse.AlertChannel, error) {
	return all(tx, "alert channels", scanAlertChannel, alertChannelSelect+` WHERE organization = $1 AND removed_at = 0 ORDER BY created_at, id`, organization)
}
