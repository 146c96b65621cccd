// Package gatehousetest is for tests, Gatehouse's own and its users': a guard that keeps a test off the network, and an upstream
// that follows a script, which answers byte for byte what a test wants and records byte for byte what it got.
//
// It owns no provider's manners: for answers that look like a model's use the built-in mock upstream instead.
package gatehousetest
