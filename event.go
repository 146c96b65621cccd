package gatehouse

import "encoding/json"

// SubjectKind is what kind of thing an event is about; a node that follows the feed re-reads the subject by kind and id.
type SubjectKind string

// The kinds of subjects.
const (
	SubjectOrganization   SubjectKind = "organization"
	SubjectProject        SubjectKind = "project"
	SubjectUser           SubjectKind = "user"
	SubjectProjectUser    SubjectKind = "project_user" // id is project/user
	SubjectServiceAccount SubjectKind = "service_account"
	SubjectResource       SubjectKind = "resource"
	SubjectKey            SubjectKind = "key"
	SubjectUpstream       SubjectKind = "upstream"
	SubjectDeployment     SubjectKind = "deployment"
	SubjectSealed         SubjectKind = "sealed_secret"
	SubjectLimit          SubjectKind = "rate_limit"
	SubjectSpendAlert     SubjectKind = "spend_alert"
	SubjectCredits        SubjectKind = "credits" // id is the organization's
	SubjectGrant          SubjectKind = "credit_grant"
	SubjectAlertRule      SubjectKind = "alert_rule"
	SubjectAlertChannel   SubjectKind = "alert_channel"
	SubjectBudget         SubjectKind = "budget"
	SubjectPrice          SubjectKind = "price"
	SubjectGroup          SubjectKind = "group"
	SubjectGroupUser      SubjectKind = "group_user" // id is group/user
	SubjectRole           SubjectKind = "role"
	SubjectAssignment     SubjectKind = "role_assignment"
	SubjectInvite         SubjectKind = "invite"
	SubjectCertificate    SubjectKind = "certificate"
	SubjectEndpoint       SubjectKind = "webhook_endpoint"
	SubjectProvider       SubjectKind = "identity_provider"
	SubjectRule           SubjectKind = "federation_rule"
	SubjectExternal       SubjectKind = "external"
	SubjectNone           SubjectKind = "" // audited, changes nothing
)

// Event is one audited change: who did what to which subject, when, and in which request. It commits in the transaction of the
// change itself, or the change does not happen. Seq is dense and in commit order.
type Event struct {
	Seq          int64
	ID           string
	Type         string // OpenAI's taxonomy where it has a word (api_key.created), else ours in the same form
	At           Millis
	Organization string
	Project      string
	Actor        Actor
	RequestID    string
	Subject      SubjectKind
	SubjectID    string
	Change       json.RawMessage // redacted before and after, or what was asked for; may be empty
}
