package gateway

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"gatehouse"
	"gatehouse/internal/dialect"
)

// modelObject is OpenAI's shape.
type modelObject struct {
	ID      string `json:"id"`
	Object  string `json:"object"`
	Created int64  `json:"created"`
	OwnedBy string `json:"owned_by"`
}

// azureModel is an element of the model list as Azure's classic API has it, with the two fields OpenAI's clients look for. What a
// deployment can do is not known here, so nothing is said of it but that it can be called.
type azureModel struct {
	Capabilities    azureCapabilities `json:"capabilities"`
	LifecycleStatus string            `json:"lifecycle_status"`
	ID              string            `json:"id"`
	Status          string            `json:"status"`
	CreatedAt       int64             `json:"created_at"`
	UpdatedAt       int64             `json:"updated_at"`
	Object          string            `json:"object"`
	Created         int64             `json:"created"`
	OwnedBy         string            `json:"owned_by"`
}

type azureCapabilities struct {
	FineTune  bool `json:"fine_tune"`
	Inference bool `json:"inference"`
}

// azureDeployment is a deployment as Azure's previews of 2022 and 2023 listed them.
type azureDeployment struct {
	ScaleSettings azureScale `json:"scale_settings"`
	Model         string     `json:"model"`
	Owner         string     `json:"owner"`
	ID            string     `json:"id"`
	Status        string     `json:"status"`
	CreatedAt     int64      `json:"created_at"`
	UpdatedAt     int64      `json:"updated_at"`
	Object        string     `json:"object"`
}

type azureScale struct {
	ScaleType string `json:"scale_type"`
}

// inferenceModel is what Azure AI model inference says of a model.
type inferenceModel struct {
	Name     string `json:"model_name"`
	Type     string `json:"model_type"`
	Provider string `json:"model_provider_name"`
}

// list is a list in the shape that both vendors share.
type list struct {
	Object string `json:"object"`
	Data   []any  `json:"data"`
}

// serveLocal answers what no upstream is asked: the list of models or deployments, and one of them, from the catalog: what this key may use,
// under the names it may use, in the words of the caller's face; and the webhook endpoints of its project.
func (x *exchange) serveLocal() error {
	describe := x.describeModels
	if strings.HasPrefix(x.call.Op.Name, "webhook_") {
		describe = x.webhooks
	}
	answer, err := describe()
	if err != nil {
		return err
	}
	text, err := json.Marshal(answer)
	if err != nil {
		return err
	}
	x.head.set("Content-Type", jsonType)
	x.head.set("Content-Length", strconv.Itoa(len(text)))
	x.identify()
	x.record.Status = http.StatusOK
	x.writeHead(http.StatusOK)
	return x.write(text)
}

// webhooks answers what the project asks of its webhook endpoints.
func (x *exchange) webhooks() (any, error) {
	if x.g.cfg.Webhooks == nil {
		return nil, gatehouse.Errorf(gatehouse.NotFound, "There are no webhook endpoints here.")
	}
	// The path is one that the table has, and its id one that an object may have.
	_, id, _ := strings.Cut(strings.TrimPrefix(x.call.Path, "/"), "/")
	id, _, _ = strings.Cut(id, "/")
	ctx, stop := context.WithTimeout(x.ctx, webhookTime)
	defer stop()
	return x.g.cfg.Webhooks(ctx, &x.id.Principal, x.call.Op.Name, id, x.r.URL.Query(), x.body.data)
}

// webhookTime is how long a call about webhook endpoints may take: a test waits for the receiver.
const webhookTime = 20 * time.Second

// hasRoute reports whether the caller's project may use a route of a deployment.
func (x *exchange) hasRoute(dep *gatehouse.Deployment) bool {
	return slices.ContainsFunc(x.routesTo(dep), func(up *gatehouse.Upstream) bool { return up != nil && x.mayReach(up) })
}

// mayUse reports whether the key, by its own list of models if it has one, and the project may use a name.
func (x *exchange) mayUse(name string) bool {
	policy := x.id.Key.Policy
	return x.id.Project.Policy.Models.Allows(name) && (policy == nil || len(policy.Models) == 0 || slices.Contains(policy.Models, name))
}

// describeModels returns what a call for models or deployments is answered with.
func (x *exchange) describeModels() (any, error) {
	organization, project := x.id.Principal.Organization, x.id.Principal.Project
	name := x.call.PathModel
	info := x.call.Face == dialect.FaceAzureAI
	if info {
		name = x.r.URL.Query().Get("model")
	}
	if name != "" {
		dep := x.g.cfg.Catalog.Deployment(organization, project, name)
		if dep == nil || !x.mayUse(name) {
			return nil, modelNotFound(name)
		}
		return x.describeModel(name, dep), nil
	}
	all := list{Object: "list", Data: []any{}}
	for _, dep := range x.g.cfg.Catalog.Deployments(organization, project) {
		// "*" is not a name anybody can call, and a deployment whose every route is barred to the project is of no use to it.
		if dep.Name != "*" && x.mayUse(dep.Name) && x.hasRoute(dep) {
			all.Data = append(all.Data, x.describeModel(dep.Name, dep))
		}
	}
	switch {
	case !info:
		return all, nil
	case len(all.Data) == 1:
		return all.Data[0], nil
	}
	return nil, gatehouse.InvalidParam("model", "This key may use %d models. Say which one is meant: /models/info?model=NAME.", len(all.Data))
}

func (x *exchange) describeModel(name string, dep *gatehouse.Deployment) any {
	created := dep.CreatedAt.Seconds()
	switch {
	case x.call.Face == dialect.FaceAzureAI:
		return inferenceModel{Name: name, Type: modelType(name), Provider: "gatehouse"}
	case x.call.Op.Product == "deployments":
		return azureDeployment{ScaleSettings: azureScale{"standard"}, Model: name, Owner: "organization-owner", ID: name, Status: "succeeded", CreatedAt: created, UpdatedAt: created,
			Object: "deployment"}
	case x.call.Face == dialect.FaceAzure:
		return azureModel{Capabilities: azureCapabilities{Inference: true}, LifecycleStatus: "generally-available", ID: name, Status: "succeeded", CreatedAt: created, UpdatedAt: created,
			Object: "model", Created: created, OwnedBy: "gatehouse"}
	}
	return modelObject{ID: name, Object: "model", Created: created, OwnedBy: "gatehouse"}
}

// modelType returns the kind of a model in the words of Azure AI model inference. Its API demands one, and all that is known here
// is a name: those of embedding and image models say so.
func modelType(name string) string {
	switch {
	case strings.Contains(name, "embed"):
		return "embeddings"
	case strings.Contains(name, "image"), strings.Contains(name, "dall-e"):
		return "image-generation"
	}
	return "chat-completion"
}
