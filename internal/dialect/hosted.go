package dialect

import (
	"gatehouse"
	"gatehouse/internal/dialect/strictjson"
	"gatehouse/internal/dialect/usage"
)

// Hosted is what a request may make its upstream run.
type Hosted struct {
	Tools gatehouse.ToolSet
	// Stored is the field that names something the upstream keeps, whose tools, or model, nobody can look into here: a prompt, or an
	// assistant whose tools the request does not replace. Empty: there is none.
	Stored string
}

// Hosted returns the hosted tools that a scanned body asks for, whatever it asks for them with. Tools that run at the caller are none,
// and one of a type that nobody knows may be any; ModelTools says which tools a model brings along by itself.
func (o *Op) Hosted(r *strictjson.Result) Hosted {
	at := &o.At
	var h Hosted
	var own strictjson.Span // the metadata we are in, which is the caller's: it is found after what is inside it
	for i := len(r.Found) - 1; i >= 0 && at.AnyToolType >= 0; i-- {
		f := &r.Found[i]
		switch {
		case own.Start < f.Span.Start && f.Span.End < own.End:
		case f.Field == at.Metadata:
			own = f.Span
		case f.Field == at.AnyToolType:
			if kind, ok := r.Text(f.Span); ok {
				h.Tools |= ToolOf(kind).Permission()
			} else {
				h.Tools = gatehouse.AllTools // what is no text may mean anything
			}
		}
	}
	if r.Span(at.WebSearchOptions).Kind == strictjson.Object {
		h.Tools |= gatehouse.ToolWebSearch
	}
	switch {
	case o.Usage == usage.Responses || o.Name == "responses.input_tokens": // which uses nothing, and reads what it names
		if k := r.Span(at.Prompt).Kind; k != 0 && k != strictjson.Null {
			h.Stored = "prompt"
		}
	case o.Usage == usage.Run && o.Creates != "" && r.Span(at.Tools).Kind != strictjson.Array:
		h.Stored = "assistant_id"
	}
	if o.Name == "containers.create" {
		h.Tools |= gatehouse.ToolCodeInterpreter
	}
	return h
}

// ModelTools returns the tools that a model runs with every request of a shape: those that search the web say so in their name.
func ModelTools(shape usage.Shape, model string) gatehouse.ToolSet {
	if usage.Searches(shape, model).Web > 0 {
		return gatehouse.ToolWebSearch
	}
	return 0
}
