// Package finance turns what was recorded into what finance asks for: exports with FOCUS columns, chargeback, a forecast of the month,
// trends, and the reconciliation of our costs with a provider's bill.
//
// It reads the sums that package store keeps, never single requests, and adds nothing up twice: every figure is a sum of the same
// rows that /v1/organization/costs is made of, in nano-USD, and where a sum is divided (among the units of a model, among cost
// centres) the parts add up to it exactly.
//
// It owns what the numbers mean together. It does not own how usage is priced (ledger), how a provider writes its bill (dialect/bill),
// who may ask, or shapes on the wire (adminapi).
package finance
