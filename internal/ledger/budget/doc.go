// Package budget owns what this node may spend: for each budget's window a slice of its amount, which no other node has, and what of it
// is held by open requests and spent by settled ones.
//
// Holding and settling is arithmetic under one mutex. A slice comes from the database ([store.DB.TakeSlice]), which never gives nodes
// more than a budget's amount together; so each node that stays within its slices keeps them all within the amount, whatever it knows of
// the others. Only a request that would else be refused waits for a query. docs/adr says why slices, docs/budgets.md what is promised.
//
// The database holds what is settled and recorded; the node adds what is settled and not recorded yet. The two are brought together only
// while nothing is being recorded ([Accounts.Refresh], and Config.Quiet for the first look at a window), so that nothing is counted
// twice or not at all.
//
// It does not own the journal (ledger), prices, SQL (store), or which budgets bind a request (catalog).
package budget
