package gatehouse

import (
	"encoding/json"
	"slices"
	"strings"
)

// ProjectPolicy is what a project's requests may do at all, whoever makes them. It is checked at every use and never gives what a key
// or a deployment does not.
type ProjectPolicy struct {
	Models ModelPermissions `json:"models,omitzero"`
	// DeniedTools may not be used by any request; what is not in it may.
	DeniedTools ToolSet `json:"denied_tools,omitzero"`
	// DataRetention is what Gatehouse keeps of the project's requests; empty: as the organization says.
	DataRetention DataRetention `json:"data_retention,omitempty"`
	// ServiceTiers says which service tiers may be asked for.
	ServiceTiers ServiceTiers `json:"service_tiers,omitzero"`
	// Certificates are the ids of those of which one must have issued a caller's client certificate, besides what the organization
	// demands; empty: nothing more.
	Certificates []string `json:"certificates,omitempty"`
}

// IsZero reports whether nothing is set.
func (p *ProjectPolicy) IsZero() bool {
	return !p.Restricts() && p.DataRetention == "" && p.ServiceTiers.IsZero() && len(p.Certificates) == 0
}

// Restricts reports whether any model or hosted tool is denied.
func (p *ProjectPolicy) Restricts() bool { return p.Models.Mode != "" || p.DeniedTools != 0 }

// ModelMode says what a list of models means, in OpenAI's words.
type ModelMode string

// The modes; with none every model is allowed.
const (
	AllowList ModelMode = "allow_list"
	DenyList  ModelMode = "deny_list"
)

// ModelPermissions are the models that a project may ask for, by the names that its requests use: those of deployments.
type ModelPermissions struct {
	Mode   ModelMode `json:"mode"`
	Models []string  `json:"model_ids"`
}

// Allows reports whether a model may be asked for.
func (p *ModelPermissions) Allows(model string) bool {
	switch p.Mode {
	case AllowList:
		return slices.Contains(p.Models, model)
	case DenyList:
		return !slices.Contains(p.Models, model)
	}
	return true
}

// IsZero reports whether nothing is set: every model is allowed.
func (p ModelPermissions) IsZero() bool { return p.Mode == "" }

// Equal reports whether two permissions say the same, in whatever order.
func (p ModelPermissions) Equal(q ModelPermissions) bool {
	return p.Mode == q.Mode && slices.Equal(slices.Sorted(slices.Values(p.Models)), slices.Sorted(slices.Values(q.Models)))
}

// MaxPermittedModels bounds the list of ModelPermissions.
const MaxPermittedModels = 1000

// Check returns an Invalid error unless the mode is known and the models are different names.
func (p *ModelPermissions) Check() error {
	if p.Mode != AllowList && p.Mode != DenyList {
		return InvalidParam("mode", "Invalid 'mode': must be allow_list or deny_list.")
	}
	if len(p.Models) > MaxPermittedModels {
		return InvalidParam("model_ids", "Invalid 'model_ids': at most %d models are allowed.", MaxPermittedModels)
	}
	for i, m := range p.Models {
		if m == "" || len(m) > 256 {
			return InvalidParam("model_ids", "Invalid 'model_ids': a model's name has 1 to 256 characters.")
		}
		if slices.Contains(p.Models[:i], m) {
			return InvalidParam("model_ids", "Invalid 'model_ids': %q is there twice.", m)
		}
	}
	return nil
}

// ToolSet is a set of hosted tools: those that an upstream runs by itself.
type ToolSet uint8

// The hosted tools that a project may be denied, as OpenAI's hosted_tool_permissions has them. A shell runs in the containers of the
// code interpreter and counts as one.
const (
	ToolFileSearch ToolSet = 1 << iota
	ToolWebSearch
	ToolImageGeneration
	ToolMCP
	ToolCodeInterpreter

	AllTools = ToolFileSearch | ToolWebSearch | ToolImageGeneration | ToolMCP | ToolCodeInterpreter
)

// ToolNames are the names of the tools, in the order of their bits.
var ToolNames = [...]string{"file_search", "web_search", "image_generation", "mcp", "code_interpreter"}

// ParseTool returns the tool of a name.
func ParseTool(name string) (ToolSet, bool) {
	i := slices.Index(ToolNames[:], name)
	if i < 0 {
		return 0, false
	}
	return 1 << i, true
}

// Names lists the tools of a set.
func (t ToolSet) Names() []string {
	names := []string{}
	for i, name := range ToolNames {
		if t&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return names
}

// String returns the names, separated by commas.
func (t ToolSet) String() string { return strings.Join(t.Names(), ", ") }

// MarshalJSON writes the names.
func (t ToolSet) MarshalJSON() ([]byte, error) { return json.Marshal(t.Names()) }

// UnmarshalJSON reads names. One that is not known is an error: to forget it would give what was denied.
func (t *ToolSet) UnmarshalJSON(text []byte) error {
	var names []string
	if err := json.Unmarshal(text, &names); err != nil {
		return err
	}
	set, err := ParseTools("denied_tools", names)
	if err == nil {
		*t = set
	}
	return err
}

// ParseTools returns the set of some names; param is what an error calls them.
func ParseTools(param string, names []string) (ToolSet, error) {
	var set ToolSet
	for _, name := range names {
		tool, ok := ParseTool(name)
		if !ok {
			return 0, InvalidParam(param, "Invalid '%s': %q is no hosted tool. They are %s.", param, name, AllTools)
		}
		set |= tool
	}
	return set, nil
}

// DataRetention is what is kept of requests, in OpenAI's words. Gatehouse never keeps what was said; what it may keep is who asked from
// where: see KeepsCallers.
type DataRetention string

// The kinds of data retention. OrganizationDefault and NoControls are a project's only.
const (
	OrganizationDefault             DataRetention = "organization_default"
	NoControls                      DataRetention = "none"
	ZeroDataRetention               DataRetention = "zero_data_retention"
	ModifiedAbuseMonitoring         DataRetention = "modified_abuse_monitoring"
	EnhancedZeroDataRetention       DataRetention = "enhanced_zero_data_retention"
	EnhancedModifiedAbuseMonitoring DataRetention = "enhanced_modified_abuse_monitoring"
)

var organizationRetentions = []DataRetention{ZeroDataRetention, ModifiedAbuseMonitoring, EnhancedZeroDataRetention, EnhancedModifiedAbuseMonitoring}

// CheckOrganization returns an Invalid error unless an organization may have it.
func (d DataRetention) CheckOrganization() error {
	if !slices.Contains(organizationRetentions, d) {
		return InvalidParam("retention_type", "Invalid 'retention_type': must be zero_data_retention, modified_abuse_monitoring, enhanced_zero_data_retention or enhanced_modified_abuse_monitoring.")
	}
	return nil
}

// CheckProject returns an Invalid error unless a project may have it.
func (d DataRetention) CheckProject() error {
	if d != OrganizationDefault && d != NoControls && !slices.Contains(organizationRetentions, d) {
		return InvalidParam("retention_type", "Invalid 'retention_type': must be organization_default, none, zero_data_retention, modified_abuse_monitoring, enhanced_zero_data_retention or enhanced_modified_abuse_monitoring.")
	}
	return nil
}

// KeepsCallers reports whether the records of requests say from which address, with which program and under which id of their own
// callers asked. With zero data retention they do not.
func (d DataRetention) KeepsCallers() bool {
	return d != ZeroDataRetention && d != EnhancedZeroDataRetention
}

// RetentionOf returns what holds for a project: its own, else its organization's, else modified abuse monitoring, because content is
// never kept.
func RetentionOf(o *Organization, p *Project) DataRetention {
	if p != nil && p.Policy.DataRetention != "" && p.Policy.DataRetention != OrganizationDefault {
		return p.Policy.DataRetention
	}
	if o != nil && o.DataRetention != "" {
		return o.DataRetention
	}
	return ModifiedAbuseMonitoring
}
