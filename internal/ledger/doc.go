// Package ledger owns what a request is allowed to cost and what it did cost: prices, holds, settlements and the crash-safe
// journal they pass through on their way to the database.
//
// A request that will be metered is held with [Ledger.Reserve] before its first byte goes upstream and settled with
// [Hold.Settle] before its caller can know that the answer is complete. Both are one record in a file of this node and one
// write(2), so a killed process loses nothing; a power failure loses what Config.Sync allows. The journal is the queue as well:
// a drainer tails it and records batches in the database, exactly once by [gatehouse.Usage.ID], so memory stays bounded however
// long the database is away, and recovery after a crash is the same code as a normal day. docs/adr/0006-journal.md says why.
//
// When the journal cannot be written, Reserve refuses with [gatehouse.Unavailable]: what cannot be counted is not served.
//
// It does not own SQL (store), how an upstream's answer is counted (dialect), or who may call (authn).
package ledger
