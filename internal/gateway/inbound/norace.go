//go:build !race

package inbound

// lateUseIsFatal is for tests: see race.go.
const lateUseIsFatal = false
