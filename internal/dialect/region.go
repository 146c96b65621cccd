package dialect

import (
	"slices"
	"strings"

	"gatehouse"
)

// Anywhere is the region of a project whose requests may go to any region, whatever its residency says.
const Anywhere = "global"

// geographies is the closed table of what a region pin may name besides one region: for each geography the regions of Azure that
// lie in it. A geography is named by its two letters (ISO 3166, and eu for the European Union, of which Norway, Switzerland and
// the United Kingdom are no members). Regions that Azure opens later are added here; until then an upstream can name the geography
// itself as its region.
var geographies = map[string][]string{
	"ae": {"uaecentral", "uaenorth"},
	"at": {"austriaeast"},
	"au": {"australiacentral", "australiacentral2", "australiaeast", "australiasoutheast"},
	"be": {"belgiumcentral"},
	"br": {"brazilsouth", "brazilsoutheast"},
	"ca": {"canadacentral", "canadaeast"},
	"ch": {"switzerlandnorth", "switzerlandwest"},
	"cl": {"chilecentral"},
	"cn": {"chinaeast", "chinaeast2", "chinaeast3", "chinanorth", "chinanorth2", "chinanorth3"},
	"de": {"germanynorth", "germanywestcentral"},
	"dk": {"denmarkeast"},
	"es": {"spaincentral"},
	"fi": {"finlandcentral"},
	"fr": {"francecentral", "francesouth"},
	"gb": {"uksouth", "ukwest"},
	"gr": {"greececentral"},
	"hk": {"eastasia"},
	"id": {"indonesiacentral"},
	"ie": {"northeurope"},
	"il": {"israelcentral"},
	"in": {"centralindia", "jioindiacentral", "jioindiawest", "southindia", "westindia"},
	"it": {"italynorth"},
	"jp": {"japaneast", "japanwest"},
	"kr": {"koreacentral", "koreasouth"},
	"mx": {"mexicocentral"},
	"my": {"malaysiawest"},
	"nl": {"westeurope"},
	"no": {"norwayeast", "norwaywest"},
	"nz": {"newzealandnorth"},
	"pl": {"polandcentral"},
	"qa": {"qatarcentral"},
	"se": {"swedencentral", "swedensouth"},
	"sg": {"southeastasia"},
	"tw": {"taiwannorth", "taiwannorthwest"},
	"us": {"centralus", "eastus", "eastus2", "northcentralus", "southcentralus", "usgovarizona", "usgovtexas", "usgovvirginia", "westcentralus", "westus",
		"westus2", "westus3"},
	"za": {"southafricanorth", "southafricawest"},
}

// union is the geographies that make up the European Union.
var union = []string{"at", "be", "de", "dk", "es", "fi", "fr", "gr", "ie", "it", "nl", "pl", "se"}

// NormalRegion returns a region's name in the form in which names are compared: Azure's display names ("West Europe") and names
// ("westeurope") are the same, whatever their case, and uk is gb.
func NormalRegion(name string) string {
	name = strings.ToLower(strings.ReplaceAll(name, " ", ""))
	if name == "uk" {
		return "gb"
	}
	return name
}

// CheckRegion returns name in its normal form, or an Invalid error about param unless it is empty or at most 64 letters, digits,
// hyphens and underscores.
func CheckRegion(param, name string) (string, error) {
	name = NormalRegion(name)
	if len(name) > 64 || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
		return "", gatehouse.InvalidParam(param, "Invalid '%s': a region is a geography such as eu or us, a region such as westeurope, or any other name an upstream has as its `region`: at most 64 letters, digits and hyphens.", param)
	}
	return name, nil
}

// InRegion reports whether an upstream's region is, or lies in, the region or geography that a pin names. An empty pin and
// Anywhere hold every upstream; an upstream that does not say where it is lies in no region. A geography does not lie in one of
// its regions: an upstream of region eu may be in any of them. It allocates nothing for names in normal form.
func InRegion(region, pin string) bool {
	pin = NormalRegion(pin)
	if pin == "" || pin == Anywhere {
		return true
	}
	region = NormalRegion(region)
	if region == pin {
		return true
	}
	if slices.Contains(geographies[pin], region) {
		return true
	}
	if pin != "eu" {
		return false
	}
	for _, member := range union {
		if region == member || slices.Contains(geographies[member], region) {
			return true
		}
	}
	return false
}

// PinOf returns the region or geography that a project's requests stay in, "" for none: its Region, else what its residency says.
// Of OpenAI's residencies only those that name where data is processed pin; where data is stored at rest is the upstream's matter.
func PinOf(p *gatehouse.Project) string {
	if p.Region != "" {
		return p.Region
	}
	if place, ok := strings.CutSuffix(p.Residency, "_STORAGE_PROCESSING"); ok {
		return NormalRegion(place)
	}
	return ""
}

// Holds reports whether an upstream may serve requests that a pin keeps in a region or geography. The built-in mock sends nothing
// anywhere, so it is in every region unless it is declared to be in one.
func Holds(up *gatehouse.Upstream, pin string) bool {
	return up.Dialect == gatehouse.Mock && up.Region == "" || InRegion(up.Region, pin)
}
