package authn

import "gatehouse"

// Allowed reports whether a key with these scopes may do what needs one: a key without scopes may do everything its class allows, any
// other what its scopes cover (gatehouse.Permitted). A scope nobody knows grants what it names and nothing else. An empty need is
// granted to unrestricted keys only, so that an operation whose scope was forgotten fails closed.
func Allowed(scopes []string, need string) bool {
	return len(scopes) == 0 || gatehouse.Permitted(scopes, need)
}
