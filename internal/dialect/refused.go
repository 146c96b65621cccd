package dialect

import (
	"bytes"
	"net/http"
)

// aboutTheCall are marks of a 401 that is about this one operation, whose credential serves others: a restricted key that lacks a
// scope, a role that lacks an action.
var aboutTheCall = [][]byte{[]byte("issing scope"), []byte("missing_scope"), []byte("insufficient permissions"), []byte("PermissionDenied")}

// aboutTheAccount are marks of a 403 that every call with the credential would get; any other is about the call, such as a model
// that the account may not use.
var aboutTheAccount = [][]byte{[]byte("AuthenticationTypeDisabled"), []byte("account_deactivated"), []byte("ip_not_authorized"),
	[]byte("unsupported_country_region_territory"), []byte("Virtual Network"), []byte("Public access is disabled")}

// CredentialRefused reports whether an upstream's answer, of which body is the beginning, refuses the credential for whatever it is
// used, and not only for one call: what a caller can bring about by asking for something must not count against the credential.
func CredentialRefused(status int, body []byte) bool {
	says := func(marks [][]byte) bool {
		for _, m := range marks {
			if bytes.Contains(body, m) {
				return true
			}
		}
		return false
	}
	switch status {
	case http.StatusUnauthorized:
		return !says(aboutTheCall)
	case http.StatusForbidden:
		return says(aboutTheAccount)
	}
	return false
}
