package prices

// tier is a service tier, as far as it changes a price.
type tier uint8

const (
	tierStandard tier = iota
	tierFlex
	tierPriority
	tierScale
	tierBatch
	tierCount
)

// Batch is the tier of what a batch did.
const Batch = "batch"

var tierNames = [tierCount]string{"default", "flex", "priority", "scale", Batch}

// tierOf returns the tier that an answer, or a price, names.
func tierOf(name string) (tier, bool) {
	switch name {
	case "", "auto", "default", "standard":
		return tierStandard, true
	case "flex":
		return tierFlex, true
	case "priority":
		return tierPriority, true
	case "scale":
		return tierScale, true
	case Batch:
		return tierBatch, true
	}
	return 0, false
}

// reach returns the tiers at which a request that asks for one may be served, as a set of bits: what the caller leaves to the account
// may be any that is sold; a provider that is short of a better tier serves at the standard one.
func reach(name string) (set uint8, ok bool) {
	switch name {
	case "", "auto":
		return 1<<tierStandard | 1<<tierFlex | 1<<tierPriority | 1<<tierScale, true
	case Batch:
		return 1 << tierBatch, true
	}
	t, ok := tierOf(name)
	return 1<<tierStandard | 1<<t, ok
}
