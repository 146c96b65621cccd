package gateway

import (
	"slices"

	"gatehouse"
	"gatehouse/internal/dialect"
	"gatehouse/internal/dialect/strictjson"
	"gatehouse/internal/dialect/usage"
)

// mayRun checks what a call, or a line of a batch, makes its upstream run against what the project denies, wherever it is asked for. What
// the upstream keeps, and nobody can look into here, may bring along anything: with anything denied it is refused.
func (x *exchange) mayRun(op *dialect.Op, fields *strictjson.Result, model string) error {
	if !x.id.Project.Policy.Restricts() {
		return nil
	}
	return x.mayRunHosted(op, fields, model, op.Hosted(fields))
}

// mayRunHosted is mayRun for what is known of the request's tools.
func (x *exchange) mayRunHosted(op *dialect.Op, fields *strictjson.Result, model string, h dialect.Hosted) error {
	policy := &x.id.Project.Policy
	if !policy.Restricts() {
		return nil
	}
	h.Tools |= dialect.ModelTools(op.Usage, model)
	switch {
	case h.Tools&policy.DeniedTools != 0:
		return x.toolDenied(h.Tools&policy.DeniedTools, toolsParam(fields, op))
	case h.Stored == "prompt", h.Stored != "" && policy.DeniedTools != 0:
		return x.storedDenied(h.Stored)
	case op.Usage == usage.Run && op.Creates != "" && policy.Models.Mode != "" && !x.hasModel: // the model is the assistant's
		return x.storedDenied("assistant_id")
	}
	return nil
}

// mayAsk checks a service tier that a call, or a line of a batch, asks for.
func (x *exchange) mayAsk(tier string) error {
	if x.id.Project.Policy.ServiceTiers.Allows(tier) {
		return nil
	}
	return &gatehouse.Error{Kind: gatehouse.Invalid, Code: CodeTierDenied, Param: "service_tier", NoRetry: true,
		Message: "Invalid service_tier argument: The requested service tier is not allowed for this project."}
}

// CodeTierDenied is the code of a request for a service tier that its project may not use.
const CodeTierDenied = "service_tier_not_allowed"

// toolsParam is the field that an error about tools names.
func toolsParam(fields *strictjson.Result, op *dialect.Op) string {
	switch {
	case fields.Span(op.At.WebSearchOptions).Kind == strictjson.Object:
		return "web_search_options"
	case fields.Span(op.At.Tools).Kind == strictjson.Array:
		return "tools"
	}
	return "model"
}

// CodeToolDenied is the code of a request for a hosted tool that its project is denied.
const CodeToolDenied = "hosted_tool_not_allowed"

func (x *exchange) toolDenied(tools gatehouse.ToolSet, param string) error {
	return &gatehouse.Error{Kind: gatehouse.Forbidden, Code: CodeToolDenied, Param: param, NoRetry: true,
		Message: "Project `" + x.id.Principal.Project + "` may not use the hosted tool `" + tools.String() + "`. Leave it out, or ask the administrator of this gateway to allow it (gatehouse projects permissions)."}
}

func (x *exchange) storedDenied(param string) error {
	message := "The tools and the model of a stored prompt cannot be looked into here, and project `" + x.id.Principal.Project + "` is denied some. Send its instructions, tools and model in the request itself."
	if param != "prompt" {
		message = "The tools and the model of an assistant cannot be looked into here, and project `" + x.id.Principal.Project + "` is denied some. Send `tools` (an empty list for none) and `model` with the run."
	}
	return &gatehouse.Error{Kind: gatehouse.Forbidden, Code: CodeToolDenied, Param: param, NoRetry: true, Message: message}
}

// What a batch's lines run is kept in the Open of its model, above the bits of package bound, so that it is judged again when the batch
// is made.
const (
	batchToolsShift = 16
	batchStored     = 1 << (batchToolsShift + 8)
	batchTierShift  = batchToolsShift + 9 // one bit for each of gatehouse.DeniableTiers
)

// batchTier returns the bit for a service tier that a line asks for.
func batchTier(tier string) int64 {
	if tier == "priority" {
		tier = gatehouse.TierFast
	}
	i := slices.Index(gatehouse.DeniableTiers, tier)
	if i < 0 {
		return 0
	}
	return 1 << (batchTierShift + i)
}

// batchRuns returns the bits for a line that passed mayRun.
func batchRuns(op *dialect.Op, h dialect.Hosted, model string) int64 {
	bits := int64(h.Tools|dialect.ModelTools(op.Usage, model)) << batchToolsShift
	if h.Stored != "" {
		bits |= batchStored
	}
	return bits
}

// mayRunBatch checks the lines of a file once more when they are to be run.
func (x *exchange) mayRunBatch(m *gatehouse.BatchModel) error {
	policy := &x.id.Project.Policy
	for i, tier := range gatehouse.DeniableTiers {
		if m.Open&(1<<(batchTierShift+i)) != 0 {
			if err := x.mayAsk(tier); err != nil {
				return err
			}
		}
	}
	if !policy.Restricts() {
		return nil
	}
	if denied := gatehouse.ToolSet(m.Open>>batchToolsShift) & policy.DeniedTools; denied != 0 {
		return x.toolDenied(denied, "input_file_id")
	}
	if m.Open&batchStored != 0 {
		return x.storedDenied("prompt")
	}
	return nil
}

// mayRunAt checks the names under which the routes of a plan know the model: one that searches by itself does under any public name.
func (x *exchange) mayRunAt() error {
	policy := &x.id.Project.Policy
	if policy.DeniedTools == 0 {
		return nil
	}
	for i := range x.plan.n {
		if tools := dialect.ModelTools(x.call.Op.Usage, x.plan.steps[i].model) & policy.DeniedTools; tools != 0 {
			return x.toolDenied(tools, "model")
		}
	}
	return nil
}
