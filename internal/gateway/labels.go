package gateway

import (
	"net/http"
	"slices"
	"sync"

	"gatehouse"
)

// labels returns what a request's headers say of labels that its organization or project allows, as gatehouse.Usage.Labels. Where
// neither allows any it looks at nothing.
func (g *Gateway) labels(h http.Header, organization, project string, at gatehouse.Millis) string {
	var allowed, more []string
	if o := g.cfg.Catalog.Organization(organization); o != nil {
		allowed = o.HeaderLabels
	}
	if p := g.cfg.Catalog.Project(project); p != nil {
		more = p.HeaderLabels
	}
	if len(allowed)+len(more) == 0 {
		return ""
	}
	type label struct{ name, value string }
	var found []label
	for _, names := range [...][]string{allowed, more} {
		for _, name := range names {
			value := h.Get(gatehouse.LabelHeader + name)
			if value == "" || slices.ContainsFunc(found, func(l label) bool { return l.name == name }) {
				continue
			}
			found = append(found, label{name, g.values.keep(organization, name, gatehouse.LabelValue(value), at)})
		}
	}
	slices.SortFunc(found, func(a, b label) int {
		if a.name < b.name {
			return -1
		}
		return 1
	})
	var text []byte
	for _, l := range found {
		text = gatehouse.AppendLabel(text, l.name, l.value)
	}
	return string(text)
}

// labelValues bounds how many different values labels have, since each makes sums of its own. It forgets with each day.
type labelValues struct {
	mu   sync.Mutex
	day  gatehouse.Millis
	seen map[labelName]map[string]bool
}

type labelName struct{ organization, name string }

// keep returns value, or gatehouse.LabelOther where its label has too many already.
func (v *labelValues) keep(organization, name, value string, at gatehouse.Millis) string {
	v.mu.Lock()
	defer v.mu.Unlock()
	if day := at / 86_400_000; day > v.day || v.seen == nil {
		v.day, v.seen = day, map[labelName]map[string]bool{}
	}
	of := labelName{organization, name}
	known := v.seen[of]
	switch {
	case known[value]:
		return value
	case len(known) >= gatehouse.MaxLabelValues:
		return gatehouse.LabelOther
	case known == nil:
		known = map[string]bool{}
		v.seen[of] = known
	}
	known[value] = true
	return value
}

// imageSources are OpenAI's words for what made images, by operation.
var imageSources = map[string]string{"images.generate": "image.generation", "images.edit": "image.edit", "images.variation": "image.variation"}
