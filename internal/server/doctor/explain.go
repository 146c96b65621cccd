package doctor

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"

	"gatehouse"
	"gatehouse/internal/secret"
)

// Reading is what was found in a text that somebody pasted: an answer with its head, an SDK's error, a line of a log. It holds no
// secret: the keys in it are ids.
type Reading struct {
	Status     string   // "" when the text does not say
	Code       string   // error.code; "null" when there is an error without one; "" when the text does not say
	Rule       string   // when the text says one, as a log does
	Message    string   // error.message, without secrets
	RequestIDs []string // the x-request-ids of Gatehouse
	Keys       []string // ids of keys of Gatehouse whose text was pasted
	Foreign    []string // providers whose credentials were pasted
	Causes     []Cause  // that fit, the most exact first
	Hints      []string
}

var (
	statusLine = regexp.MustCompile(`(?m)(?:^HTTP/[0-9.]+ |(?i:status(?:[ _]?code)?)['"]?\s*[:= ]\s*|Error code: |\bError: )([1-5][0-9][0-9])\b`)
	requestID  = regexp.MustCompile(`\breq_[0-9a-f]{32}\b`)
	codeField  = regexp.MustCompile(`['"]code['"]\s*:\s*(?:['"]([A-Za-z0-9_]+)['"]|(null|None))`)
	ruleField  = regexp.MustCompile(`['"]rule['"]\s*:\s*['"]([a-z_]+)['"]`)
	message    = regexp.MustCompile(`['"]message['"]\s*:\s*("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')`)
	keyText    = regexp.MustCompile(`sk-(?:proj|svcacct|user|admin|azure)-gtk[0-9A-Za-z]{64}`)
	urlText    = regexp.MustCompile(`https?://[^\s"'<>]+`)
)

// azureCodes are the codes that callers of Azure see in the place of ours.
var azureCodes = map[string]string{"PermissionDenied": "missing_scope", "DeploymentNotFound": "model_not_found"}

// Read reads a pasted text and finds the causes it may have.
func Read(text string) Reading {
	var r Reading
	for _, match := range keyText.FindAllString(text, -1) {
		if key, ok := secret.ParseKey(match); ok {
			r.Keys = appendNew(r.Keys, gatehouse.PrefixKey+key.PublicID)
		}
	}
	before := ""
	for _, word := range strings.FieldsFunc(text, func(c rune) bool { return strings.ContainsRune(" \t\r\n\"',;<>(){}[]", c) }) {
		// Many a word of 32 digits is no credential; one that is sent as such is.
		sent := slices.Contains([]string{"bearer", "api-key:", "x-api-key:", "ocp-apim-subscription-key:"}, strings.ToLower(before))
		if provider, ok := secret.Foreign(word); ok && (sent || strings.HasPrefix(word, "sk-")) {
			r.Foreign = appendNew(r.Foreign, provider)
		}
		before = word
	}
	for _, id := range requestID.FindAllString(text, -1) {
		r.RequestIDs = appendNew(r.RequestIDs, id)
	}
	if m := statusLine.FindStringSubmatch(text); m != nil {
		r.Status = m[1]
	}
	if m := codeField.FindStringSubmatch(text); m != nil {
		r.Code = m[1]
		if m[2] != "" {
			r.Code = "null"
		}
	}
	if m := ruleField.FindStringSubmatch(text); m != nil {
		r.Rule = m[1]
	}
	if m := message.FindStringSubmatch(text); m != nil {
		said := m[1][1 : len(m[1])-1]
		var unquoted string
		if m[1][0] == '"' && json.Unmarshal([]byte(m[1]), &unquoted) == nil {
			said = unquoted
		}
		r.Message = secret.Redact(said)
	}
	if code := azureCodes[r.Code]; code != "" {
		r.Code = code
	} else if len(r.Code) == 3 && r.Status == "" {
		r.Status = r.Code // Azure repeats the status as its code
	}
	r.find()
	r.hint(text)
	return r
}

// find sets the causes that fit best: by rule, else by status and code, else by either.
func (r *Reading) find() {
	all := slices.Concat(Credentials, Requests)
	fits := func(test func(*Cause) bool) bool {
		for i := range all {
			if c := &all[i]; test(c) {
				r.Causes = append(r.Causes, *c)
			}
		}
		return len(r.Causes) > 0
	}
	status := func(c *Cause) bool { return r.Status == "" || strings.Contains(c.Status, r.Status) }
	if r.Rule != "" && fits(func(c *Cause) bool { return c.Rule == r.Rule && status(c) }) {
		return
	}
	known := r.Code != "" && r.Code != r.Status
	if known && fits(func(c *Cause) bool { return c.Code == r.Code && status(c) }) {
		return
	}
	if known && fits(func(c *Cause) bool { return c.Code == r.Code }) {
		return
	}
	if r.Status >= "4" {
		fits(status)
	}
}

// hint adds what is seen at a glance and no code says.
func (r *Reading) hint(text string) {
	add := func(h string) { r.Hints = append(r.Hints, h) }
	if len(r.Keys) > 0 {
		add("A whole key was pasted. Whoever saw it can use it: replace it (gatehouse keys create, then gatehouse keys revoke), and paste only its id next time.")
	}
	if len(r.Foreign) > 0 {
		add("A credential of " + strings.Join(r.Foreign, ", ") + " was pasted. Treat it as leaked and revoke it there.")
	}
	for _, u := range urlText.FindAllString(text, -1) {
		switch {
		case strings.Contains(u, "api.openai.com"), strings.Contains(u, ".openai.azure.com"):
			add("The text names the provider's own address. If the client called it, it never reached Gatehouse: set its base URL.")
			return
		case strings.Contains(u, "/v1/v1/"), strings.Contains(u, "/openai/openai/"):
			add("The path has its first part twice: the client's base URL must not repeat what the client adds.")
			return
		}
	}
	if r.Status == "" && r.Code == "" && len(r.RequestIDs)+len(r.Keys)+len(r.Foreign) == 0 {
		add("There is no status, error code or x-request-id in it. Paste the whole answer, as `curl -i` prints it.")
	}
	if len(r.RequestIDs) == 0 && r.Status >= "4" && !strings.Contains(strings.ToLower(text), "x-request-id") {
		add("The answer bears no x-request-id of Gatehouse. If this is all of it, something in between made it: a proxy, or another server.")
	}
}

func appendNew(list []string, s string) []string {
	if slices.Contains(list, s) {
		return list
	}
	return append(list, s)
}
