package authn

import "strings"

// readOnly are the scopes a viewer's keys are held to.
var readOnly = []string{scopeAllRead}

const (
	scopeAllRead = "api.all.read"
	modelRequest = "model.request"
)

// Allowed reports whether a key with these scopes may do what needs one. The rules, of which one must hold:
//
//   - there are no scopes: the key may do everything its class allows
//   - the needed scope is among them; "api.model.request" is another spelling of "model.request"
//   - it is "api.AREA.read" and "api.AREA.write" is among them: who may write an area may read it
//   - it ends in ".read" and "api.all.read" is among them
//
// A scope nobody knows grants what it names and nothing else. An empty need is granted to unrestricted keys only, so that an
// operation whose scope was forgotten fails closed.
func Allowed(scopes []string, need string) bool {
	if len(scopes) == 0 {
		return true
	}
	if need == "" {
		return false
	}
	need = canonical(need)
	area, reads := strings.CutSuffix(need, ".read")
	for _, s := range scopes {
		s = canonical(s)
		if s == need || reads && (s == scopeAllRead || len(s) == len(area)+len(".write") && strings.HasPrefix(s, area) && strings.HasSuffix(s, ".write")) {
			return true
		}
	}
	return false
}

func canonical(scope string) string {
	if scope == "api."+modelRequest {
		return modelRequest
	}
	return scope
}
