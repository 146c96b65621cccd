package store

import (
	"maps"
	"slices"
	"strings"

	"gatehouse"
	"gatehouse/internal/store/sums"
)

// ByLabel returns the dimension of the label of that name. Its value is what the request's header said, else the label of its key as it
// is now, else that of its project; empty where none of them has it.
func ByLabel(name string) string { return labelDimension + name }

const labelDimension = "label:"

// LabelColumn returns the name of the label that a dimension is of.
func LabelColumn(by string) (name string, ok bool) { return strings.CutPrefix(by, labelDimension) }

// owned is the labels of an organization's keys and projects, by their ids.
type owned struct{ keys, projects map[string]map[string]string }

// value returns the value of a label for a sum.
func (o *owned) value(name string) func(dims *[sums.Dims]string) string {
	return func(dims *[sums.Dims]string) string {
		if v, ok := gatehouse.CutLabel(dims[sums.Labels], name); ok {
			return v
		}
		if v, ok := o.keys[dims[sums.Key]][name]; ok {
			return v
		}
		return o.projects[dims[sums.Project]][name]
	}
}

// owned reads the labels of an organization's keys and projects, revoked and archived ones too.
func (tx *Tx) owned(organization string) (*owned, error) {
	const keys = `SELECT id, labels FROM keys WHERE organization = $1 AND labels <> ''`
	const projects = `SELECT id, labels FROM projects WHERE organization = $1 AND labels <> ''`
	o := &owned{map[string]map[string]string{}, map[string]map[string]string{}}
	type labelled struct {
		id     string
		labels map[string]string
	}
	scan := func(r row, l *labelled) error {
		var labels []byte
		if err := r.Scan(&l.id, &labels); err != nil {
			return err
		}
		return fromJSON("labels", labels, &l.labels)
	}
	for query, to := range map[string]map[string]map[string]string{keys: o.keys, projects: o.projects} {
		if err := each(tx, "labels", scan, func(l *labelled) error { to[l.id] = l.labels; return nil }, query, organization); err != nil {
			return nil, err
		}
	}
	return o, nil
}

// labelColumns returns what a query's labels select and group by.
func (tx *Tx) labelColumns(q *UsageQuery, groups []string) (columns map[string]sums.Column, filters []sums.Filter, err error) {
	var names []string
	for _, by := range groups {
		if name, ok := LabelColumn(by); ok {
			names = append(names, name)
		}
	}
	if len(names)+len(q.Labels) == 0 {
		return nil, nil, nil
	}
	o, err := tx.owned(q.Organization)
	if err != nil {
		return nil, nil, err
	}
	columns = map[string]sums.Column{}
	for _, name := range names {
		columns[ByLabel(name)] = sums.Column{Value: o.value(name)}
	}
	for _, name := range slices.Sorted(maps.Keys(q.Labels)) {
		filters = append(filters, sums.Filter{Column: sums.Column{Value: o.value(name)}, Texts: textSet(q.Labels[name], clean)})
	}
	return columns, filters, nil
}

// textSet returns texts as they were stored.
func textSet(values []string, stored func(string) string) map[string]bool {
	texts := make(map[string]bool, len(values))
	for _, v := range values {
		texts[stored(v)] = true
	}
	return texts
}
