package dialect

import (
	"slices"
	"strings"
	"testing"

	"gatehouse"
)

func TestInRegion(t *testing.T) {
	for _, tt := range []struct {
		region, pin string
		want        bool
	}{
		{"", "", true}, {"eastus", "", true}, {"", "global", true}, {"eastus", "global", true},
		{"", "eu", false}, {"", "eastus", false},
		{"eastus", "eastus", true}, {"East US", "eastus", true}, {"eastus", "East US", true}, {"eastus2", "eastus", false}, {"eastus", "eastus2", false},
		{"eastus", "us", true}, {"East US 2", "US", true}, {"usgovvirginia", "us", true}, {"canadaeast", "us", false},
		{"westeurope", "eu", true}, {"West Europe", "EU", true}, {"swedencentral", "eu", true}, {"francecentral", "fr", true}, {"francecentral", "de", false},
		{"fr", "eu", true}, {"eu", "fr", false}, {"eu", "eu", true}, {"eu", "westeurope", false}, {"eu", "us", false}, {"fr", "fr", true}, {"FR", "eu", true},
		{"uksouth", "eu", false}, {"uksouth", "gb", true}, {"uksouth", "uk", true}, {"uk", "gb", true}, {"switzerlandnorth", "eu", false}, {"norwayeast", "eu", false},
		{"japaneast", "jp", true}, {"southeastasia", "sg", true}, {"eastasia", "sg", false}, {"centralindia", "in", true}, {"uaenorth", "ae", true},
		{"global", "eu", false}, {"global", "us", false}, // an upstream that may process anywhere is in no one place
		{"rack-7", "rack-7", true}, {"rack-8", "rack-7", false}, {"moonbase", "eu", false}, {"eus", "eu", false},
	} {
		if got := InRegion(tt.region, tt.pin); got != tt.want {
			t.Errorf("InRegion(%q, %q) = %v, want %v", tt.region, tt.pin, got, tt.want)
		}
	}
	if n := testing.AllocsPerRun(100, func() { InRegion("swedencentral", "eu") }); n != 0 {
		t.Errorf("a check allocates %v times", n)
	}
}

func TestGeographies(t *testing.T) {
	seen := map[string]string{}
	for geography, regions := range geographies {
		if len(geography) != 2 || NormalRegion(geography) != geography || geography == "eu" {
			t.Errorf("geography %q", geography)
		}
		for _, r := range regions {
			if NormalRegion(r) != r || geographies[r] != nil || r == Anywhere {
				t.Errorf("region %q of %s", r, geography)
			}
			if other := seen[r]; other != "" {
				t.Errorf("region %s is in %s and in %s", r, other, geography)
			}
			seen[r] = geography
		}
	}
	for _, member := range union {
		if geographies[member] == nil {
			t.Errorf("the union has %q, which is no geography", member)
		}
	}
	if slices.Contains(union, "gb") || slices.Contains(union, "ch") || slices.Contains(union, "no") {
		t.Error("the union has a member that is none")
	}
}

func TestPinOf(t *testing.T) {
	for _, tt := range []struct{ region, residency, want string }{
		{"", "GLOBAL", ""}, {"", "", ""}, {"", "EU_STORAGE_PROCESSING", "eu"}, {"", "US_STORAGE_PROCESSING", "us"}, {"", "AE_STORAGE_PROCESSING", "ae"},
		{"", "JP_STORAGE", ""}, {"", "GB_STORAGE", ""},
		{"us", "EU_STORAGE_PROCESSING", "us"}, {"global", "EU_STORAGE_PROCESSING", "global"}, {"eu", "GLOBAL", "eu"},
	} {
		if got := PinOf(&gatehouse.Project{Region: tt.region, Residency: tt.residency}); got != tt.want {
			t.Errorf("pin of region %q and residency %q: %q, want %q", tt.region, tt.residency, got, tt.want)
		}
	}
}

func TestHolds(t *testing.T) {
	for _, tt := range []struct {
		up   gatehouse.Upstream
		pin  string
		want bool
	}{
		{gatehouse.Upstream{Dialect: gatehouse.OpenAI}, "eu", false},
		{gatehouse.Upstream{Dialect: gatehouse.OpenAI}, "", true},
		{gatehouse.Upstream{Dialect: gatehouse.Azure, Region: "westeurope"}, "eu", true},
		{gatehouse.Upstream{Dialect: gatehouse.Mock}, "eu", true},
		{gatehouse.Upstream{Dialect: gatehouse.Mock, Region: "us"}, "eu", false},
	} {
		if got := Holds(&tt.up, tt.pin); got != tt.want {
			t.Errorf("%+v holds %q: %v, want %v", tt.up, tt.pin, got, tt.want)
		}
	}
}

func TestCheckRegion(t *testing.T) {
	for in, want := range map[string]string{"": "", "EU": "eu", "West Europe": "westeurope", "UK": "gb", "rack_7-b": "rack_7-b"} {
		if got, err := CheckRegion("region", in); got != want || err != nil {
			t.Errorf("%q: %q, %v, want %q", in, got, err, want)
		}
	}
	for _, bad := range []string{"é", "a/b", strings.Repeat("x", 65), "eu\n", "eu,us"} {
		if _, err := CheckRegion("region", bad); gatehouse.KindOf(err) != gatehouse.Invalid {
			t.Errorf("%q: %v, want Invalid", bad, err)
		}
	}
}
