// Package prices owns what units cost: the table of prices that is built in, what operators say instead, and the arithmetic.
//
// A [Table] is immutable. [Table.Cost] prices what a request used, [Table.Bound] what it may use at most; both say whether they know:
// an unknown price is never zero money. A price has versions, each from a time on, and a usage is priced as of its own time.
//
// A price is an integer of nano-USD for 1,000,000 units (of time: for 1,000,000 milliseconds). A discount is a fraction that stays one
// until the end, so that a whole usage is exact and rounded once.
//
// It does not know budgets, holds or the database, and reads no clock.
package prices
