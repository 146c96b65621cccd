//go:build race

package ledger

// raceEnabled: the race detector makes sync.Pool forget at random, so nothing that uses one can be held to zero allocations.
const raceEnabled = true
