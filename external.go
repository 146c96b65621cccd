package gatehouse

import (
	"regexp"
	"slices"
	"strings"
)

// ExternalKind is what of a customer's cloud account an External is.
type ExternalKind string

// The kinds.
const (
	ExternalKey     ExternalKind = "key"     // a key of a key management service
	ExternalStorage ExternalKind = "storage" // a bucket for one project
)

// External is something in a cloud account of the organization's own that somebody registered, in the words of OpenAI's external keys and
// external storage. Gatehouse keeps it and what it is attached to; it keeps no content that would have to be encrypted or stored there.
type External struct {
	ID           string
	Organization string
	Kind         ExternalKind
	Project      string // of a storage
	Name         string // of a key
	Provider     string // aws, gcp, azure, oci
	Purpose      string // of a key: ekm or psp_decryption
	// Settings are the provider's fields, by OpenAI's names.
	Settings  map[string]string
	Status    string // of a storage: pending, validated, degraded, unhealthy
	CreatedAt Millis
	RemovedAt Millis
	Rev       int64
}

// externalFields are the fields that each provider asks for, of which those that end in ? may be left out.
var externalFields = map[ExternalKind]map[string][]string{
	ExternalKey: {
		"aws": {"role_arn", "kms_arn", "external_id"},
		"gcp": {"audience", "kms_project_id", "kms_key_location", "kms_key_ring_name", "kms_key_name", "kms_key_version?", "workload_identity_pool_id",
			"workload_identity_project_number", "workload_identity_provider_id"},
		"azure": {"tenant_id", "vault_uri", "key_name", "key_version?"},
	},
	ExternalStorage: {
		"aws":   {"bucket", "role_arn"},
		"gcp":   {"bucket", "workload_identity_pool_id", "workload_identity_project_number", "workload_identity_provider_id"},
		"azure": {"account_name", "container", "resource_group", "subscription_id", "tenant_id"},
		"oci":   {"bucket", "region", "tenancy_ocid"},
	},
}

// externalShapes are what some of the fields look like.
var externalShapes = map[string]struct {
	pattern *regexp.Regexp
	like    string
}{
	"role_arn":                         {regexp.MustCompile(`^arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]{1,128}$`), "arn:aws:iam::123456789012:role/NAME"},
	"kms_arn":                          {regexp.MustCompile(`^arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:(key|alias)/[\w/-]{1,256}$`), "arn:aws:kms:REGION:123456789012:key/ID"},
	"vault_uri":                        {regexp.MustCompile(`^https://[a-z0-9-]{1,64}(\.[a-z0-9-]+)+/?$`), "https://NAME.vault.azure.net"},
	"tenancy_ocid":                     {regexp.MustCompile(`^ocid1\.tenancy\.[a-z0-9]*\.[a-z0-9-]*\.[a-z0-9]+$`), "ocid1.tenancy.oc1..ID"},
	"tenant_id":                        {regexp.MustCompile(`^[0-9a-fA-F-]{36}$`), "a UUID"},
	"workload_identity_project_number": {regexp.MustCompile(`^\d{1,20}$`), "a number"},
}

// ExternalProviders lists the providers of a kind, in order.
func ExternalProviders(kind ExternalKind) []string {
	var list []string
	for _, name := range []string{"aws", "azure", "gcp", "oci"} {
		if externalFields[kind][name] != nil {
			list = append(list, name)
		}
	}
	return list
}

// Check returns an Invalid error, whose parameter begins with prefix, unless the provider is known and its fields are those it asks for.
func (e *External) Check(prefix string) error {
	fields := externalFields[e.Kind][e.Provider]
	if fields == nil {
		return InvalidParam(prefix+"type", "Invalid '%stype': must be one of %s.", prefix, strings.Join(ExternalProviders(e.Kind), ", "))
	}
	for _, field := range fields {
		name, optional := strings.CutSuffix(field, "?")
		value, there := e.Settings[name]
		switch {
		case value == "" && (there || !optional):
			return &Error{Kind: Invalid, Code: "missing_required_parameter", Param: prefix + name, Message: "Missing required parameter: '" + prefix + name + "'."}
		case len(value) > 500:
			return InvalidParam(prefix+name, "Invalid '%s%s': must have at most 500 characters.", prefix, name)
		}
		if shape, ok := externalShapes[name]; ok && there && !shape.pattern.MatchString(value) {
			return InvalidParam(prefix+name, "Invalid '%s%s': must look like %s.", prefix, name, shape.like)
		}
	}
	for name := range e.Settings {
		if !slices.Contains(fields, name) && !slices.Contains(fields, name+"?") {
			return &Error{Kind: Invalid, Code: "unknown_parameter", Param: prefix + name, Message: "Unknown parameter for " + e.Provider + ": '" + prefix + name + "'."}
		}
	}
	if e.Purpose != "" && e.Purpose != "ekm" && e.Purpose != "psp_decryption" {
		return InvalidParam("purpose", "Invalid 'purpose': must be ekm or psp_decryption.")
	}
	return nil
}
