package gateway

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"

	"gatehouse"
)

// modelObject and modelList are OpenAI's shapes.
type modelObject struct {
	ID      string `json:"id"`
	Object  string `json:"object"`
	Created int64  `json:"created"`
	OwnedBy string `json:"owned_by"`
}

type modelList struct {
	Object string        `json:"object"`
	Data   []modelObject `json:"data"`
}

// serveModels answers the model list and a single model from the catalog: what this key may use, under the names it may use.
func (x *exchange) serveModels() error {
	organization, project := x.id.Principal.Organization, x.id.Principal.Project
	var answer any
	if name := x.call.PathModel; name != "" {
		dep := x.g.cfg.Catalog.Deployment(organization, project, name)
		if dep == nil || !x.mayUse(name) {
			return modelNotFound(name)
		}
		answer = describeModel(name, dep)
	} else {
		list := modelList{Object: "list", Data: []modelObject{}}
		for _, dep := range x.g.cfg.Catalog.Deployments(organization, project) {
			// "*" is not a name anybody can call.
			if dep.Name != "*" && x.mayUse(dep.Name) {
				list.Data = append(list.Data, describeModel(dep.Name, dep))
			}
		}
		answer = list
	}
	text, err := json.Marshal(answer)
	if err != nil {
		return err
	}
	h := x.w.Header()
	h["Content-Type"] = jsonType
	h["Content-Length"] = []string{strconv.Itoa(len(text))}
	x.identify(h)
	x.record.Status, x.wrote = http.StatusOK, true
	x.w.WriteHeader(http.StatusOK)
	return x.write(text)
}

// mayUse reports whether the key's own list of models, if it has one, contains a name.
func (x *exchange) mayUse(name string) bool {
	policy := x.id.Key.Policy
	return policy == nil || len(policy.Models) == 0 || slices.Contains(policy.Models, name)
}

func describeModel(name string, dep *gatehouse.Deployment) modelObject {
	return modelObject{ID: name, Object: "model", Created: dep.CreatedAt.Seconds(), OwnedBy: "gatehouse"}
}
