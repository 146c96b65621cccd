// Package gatehouse is the vocabulary of Gatehouse, the credential plane for LLM APIs that you run yourself: the words every
// other package speaks, and nothing else. It imports only the standard library.
//
// # What Gatehouse does
//
// One binary issues, checks, meters and revokes the credentials with which people, services and browsers call models, and
// stands as the authenticating gateway in front of OpenAI, Azure OpenAI and any OpenAI-compatible server. Official clients of
// both clouds work against it unmodified: only their base URL and their key change.
//
// # The words
//
// An [Organization] holds [Project]s and [User]s; users are in [Group]s, and an [AccessRole] says what those to whom it is assigned may do. A project holds [ServiceAccount]s and [Resource]s. A [Key] belongs to a user, to
// a service account or to a resource and is what a caller presents; once checked, the caller is a [Principal]. An [Upstream] is a provider account with the
// credential it is called with. A [Deployment] is a public model name that routes to models of upstreams. One settled request is
// a [Usage]; one audited change is an [Event]; the decision behind one request is a [Request].
//
// # The floors
//
// A package imports only packages of lower floors; TestFloors enforces it.
//
//	F0  gatehouse (this package), internal/secret
//	F1  client, internal/{dialect, store, identity, limit, mock}
//	F2  internal/{valkey, custody, leak, catalog}
//	F3  internal/{authn, ledger, admin, audit}
//	F4  internal/{gateway, adminapi, console, steward}
//	F5  internal/server
//	F6  cmd/gatehouse, gatehousetest
//
// # Two walks
//
// A request goes forward only, in internal/gateway: accept, parse (dialect), authenticate (authn), authorize and route (catalog),
// admit (ledger), forward, meter, settle. There is no SQL on that path.
//
// A change goes through internal/admin: authorize, validate, and then the mutation, its [Event] and the next sequence number
// commit in one transaction (store). Every node follows the events by sequence and swaps what changed into its catalog, so the
// audit log is also the invalidation feed.
//
// docs/design.md walks through both in detail.
package gatehouse
