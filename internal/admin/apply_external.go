package admin

import (
	"cmp"
	"maps"
	"slices"

	"gatehouse"
	"gatehouse/internal/store"
)

// ManifestExternalKey declares a key in a cloud account of the organization's. One that says something else is another key.
type ManifestExternalKey struct {
	Name     string            `yaml:"name"`
	Type     string            `yaml:"type"` // aws, gcp, azure
	Purpose  string            `yaml:"purpose"`
	Settings map[string]string `yaml:"settings"` // by the names of the API
}

// ManifestExternalStorage declares a bucket of a project's. One that says something else is another bucket.
type ManifestExternalStorage struct {
	Project  string            `yaml:"project"` // by name or id
	Type     string            `yaml:"type"`    // aws, gcp, azure, oci
	Settings map[string]string `yaml:"settings"`
}

// externals registers the external keys and storages that are not there. None is changed or removed.
func (a *application) externals(m *Manifest) error {
	var want []gatehouse.External
	for _, w := range m.ExternalKeys {
		want = append(want, gatehouse.External{Kind: gatehouse.ExternalKey, Name: w.Name, Provider: w.Type, Purpose: w.Purpose, Settings: w.Settings})
	}
	for _, w := range m.ExternalStorage {
		projects, err := a.s.projectIDs(a.tx, a.who, []string{w.Project})
		if err != nil {
			return err
		}
		want = append(want, gatehouse.External{Kind: gatehouse.ExternalStorage, Project: projects[0], Provider: w.Type, Settings: w.Settings})
	}
	if len(want) == 0 {
		return nil
	}
	var have []gatehouse.External
	for _, kind := range []gatehouse.ExternalKind{gatehouse.ExternalKey, gatehouse.ExternalStorage} {
		list, err := externals(a.tx, a.who.Organization, kind)
		if err != nil {
			return err
		}
		have = append(have, list...)
	}
	for i := range want {
		e := &want[i]
		what := "external_" + string(e.Kind)
		if err := e.Check(what + "."); err != nil {
			return err
		}
		if slices.ContainsFunc(have, func(h gatehouse.External) bool {
			return h.Kind == e.Kind && h.Project == e.Project && h.Name == e.Name && h.Provider == e.Provider && h.Purpose == e.Purpose && maps.Equal(h.Settings, e.Settings)
		}) {
			continue
		}
		ev := registered(e)
		e.Organization, e.CreatedAt = a.who.Organization, a.tx.Now
		if err := a.tx.CreateExternal(e); err != nil {
			return err
		}
		a.tell("create", what, cmp.Or(e.Name, e.ID), nil, ev)
		have = append(have, *e)
	}
	return nil
}

// externals returns every external key or storage.
func externals(tx *store.Tx, organization string, kind gatehouse.ExternalKind) ([]gatehouse.External, error) {
	return everyPage(func(p store.Page) ([]gatehouse.External, bool, error) {
		return tx.Externals(organization, store.ExternalFilter{Kind: kind}, p)
	}, func(e *gatehouse.External) string { return e.ID })
}

// external exports what externals registers.
func (x *exporter) external(m *Manifest) error {
	keys, err := externals(x.tx, x.who.Organization, gatehouse.ExternalKey)
	if err != nil {
		return err
	}
	for _, e := range keys {
		m.ExternalKeys = append(m.ExternalKeys, ManifestExternalKey{Name: e.Name, Type: e.Provider, Purpose: e.Purpose, Settings: e.Settings})
	}
	storages, err := externals(x.tx, x.who.Organization, gatehouse.ExternalStorage)
	if err != nil {
		return err
	}
	for _, e := range storages {
		if project := x.projectName[e.Project]; project != "" { // none is of an archived project any more
			m.ExternalStorage = append(m.ExternalStorage, ManifestExternalStorage{Project: project, Type: e.Provider, Settings: e.Settings})
		}
	}
	return nil
}
