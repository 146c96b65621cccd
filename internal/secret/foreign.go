package secret

import "strings"

// alphabet is a closed set of characters a credential's variable part is made of.
type alphabet [256]bool

// alphabetOf returns the set of the given characters; three of them with a dash in the middle are a range.
func alphabetOf(ranges ...string) *alphabet {
	var a alphabet
	for _, r := range ranges {
		if len(r) == 3 && r[1] == '-' {
			for c := int(r[0]); c <= int(r[2]); c++ {
				a[c] = true
			}
			continue
		}
		for i := range len(r) {
			a[r[i]] = true
		}
	}
	return &a
}

var (
	alnum     = alphabetOf("a-z", "A-Z", "0-9")
	upper     = alphabetOf("A-Z", "0-9")
	lowerHex  = alphabetOf("a-f", "0-9")
	token     = alphabetOf("a-z", "A-Z", "0-9", "_-")
	tokenDot  = alphabetOf("a-z", "A-Z", "0-9", "_.-")
	base64Any = alphabetOf("a-z", "A-Z", "0-9", "+/=_-")
)

// foreignFormat is one provider's credential: a prefix and between min and max characters of an alphabet after it.
type foreignFormat struct {
	provider string
	prefix   string
	min, max int
	alphabet *alphabet
}

const anyLength = 4096

// foreignFormats are the formats told by their prefix, from the providers' documentation and the default rules of gitleaks
// 8.30.1 (MIT). A format without a distinctive mark, such as Azure's older 32 hexadecimal digits, cannot be decided and is not
// in it. Lengths are minimums where a provider has changed them before.
var foreignFormats = []foreignFormat{
	{"anthropic", "sk-ant-", 20, anyLength, token},
	{"openrouter", "sk-or-v1-", 64, 64, lowerHex},
	{"aws", "AKIA", 16, 16, upper},
	{"aws", "ASIA", 16, 16, upper},
	{"aws", "ABIA", 16, 16, upper},
	{"aws", "ACCA", 16, 16, upper},
	{"aws-bedrock", "ABSK", 100, 300, base64Any},
	{"aws-bedrock", "bedrock-api-key-", 20, anyLength, base64Any},
	{"github", "ghp_", 36, 251, alnum},
	{"github", "gho_", 36, 251, alnum},
	{"github", "ghu_", 36, 251, alnum},
	{"github", "ghs_", 36, anyLength, tokenDot},
	{"github", "ghr_", 36, 251, alnum},
	{"github", "github_pat_", 82, 251, token},
	{"gitlab", "glpat-", 20, 300, tokenDot},
	{"google", "AIza", 35, 35, token},
	{"google", "ya29.", 20, anyLength, tokenDot},
	{"huggingface", "hf_", 34, 40, alnum},
	{"groq", "gsk_", 52, 52, alnum},
	{"xai", "xai-", 70, 90, alnum},
	{"perplexity", "pplx-", 48, 56, alnum},
	{"nvidia", "nvapi-", 60, 70, token},
	{"replicate", "r8_", 37, 40, alnum},
	{"databricks", "dapi", 32, 34, alphabetOf("a-f", "0-9", "-")},
	{"stripe", "sk_live_", 10, 247, alnum},
	{"stripe", "sk_test_", 10, 247, alnum},
	{"stripe", "rk_live_", 10, 247, alnum},
	{"stripe", "rk_test_", 10, 247, alnum},
	{"slack", "xoxb-", 20, 300, token},
	{"slack", "xoxp-", 20, 300, token},
	{"slack", "xapp-", 20, 300, token},
	{"slack", "xoxe.", 20, 300, tokenDot},
	{"npm", "npm_", 36, 36, alnum},
	{"vault", "hvs.", 24, 300, token},
	{"vault", "hvb.", 100, 400, token},
	{"tailscale", "tskey-", 20, 100, token},
	{"digitalocean", "dop_v1_", 64, 64, lowerHex},
	{"sendgrid", "SG.", 66, 66, tokenDot},
}

// openAIMark is base64 of "OpenAI", which every key of theirs since 2023 carries in its middle.
const openAIMark = "T3BlbkFJ"

// Foreign reports whether text, taken as a whole, has the form of another provider's credential, and whose. Presented to
// Gatehouse, such a credential has leaked out of where it belongs: it must be neither forwarded nor logged. A key of ours is
// never foreign; parse first. It does not allocate.
func Foreign(text string) (provider string, ok bool) {
	if len(text) < 16 || len(text) > anyLength {
		return "", false
	}
	if strings.HasPrefix(text, "sk-") && isOpenAI(text) {
		return "openai", true
	}
	for i := range foreignFormats {
		f := &foreignFormats[i]
		if text[0] != f.prefix[0] || !strings.HasPrefix(text, f.prefix) {
			continue
		}
		rest := text[len(f.prefix):]
		if len(rest) >= f.min && len(rest) <= f.max && allOf(rest, f.alphabet) {
			return f.provider, true
		}
	}
	if isAzureCommon(text) {
		return "azure", true
	}
	if isEntraSecret(text) {
		return "entra", true
	}
	return "", false
}

// isOpenAI tells OpenAI's keys: after sk- (and proj-, svcacct-, admin-) 20, 58 or 74 characters, the mark, and as many again.
// The lengths have changed twice, so only the shorter side of 20 is insisted on.
func isOpenAI(text string) bool {
	const prefix, side = len("sk-"), 20
	i := strings.Index(text, openAIMark)
	if i < prefix+side || len(text)-i-len(openAIMark) < side || !allOf(text[prefix:], token) {
		return false
	}
	_, ours := ParseKey(text) // one key of ours in 10^12 holds the mark by chance
	return !ours
}

// isAzureCommon tells Azure's common annotated security keys: 52 random characters, JQQJ9, the kind, a date, and 84 characters in
// all, or 88 in the long form. Source: microsoft/security-utilities, LegacyCommonAnnotatedSecurityKey.cs (MIT).
func isAzureCommon(text string) bool {
	const random, sign = 52, "JQQJ9"
	if len(text) == 88 && text[86:] == "==" {
		text = text[:86]
	} else if len(text) != 84 {
		return false
	}
	kind, month := text[random+len(sign)], text[random+len(sign)+2]
	return text[random:random+len(sign)] == sign &&
		(kind == '9' || kind == 'D' || kind == 'H') &&
		month >= 'A' && month <= 'L' &&
		allOf(text, base64Any) && allOf(text[:random], alnum)
}

// isEntraSecret tells an application's client secret of Entra ID: three characters, a digit, Q~, and 31 to 34 more.
func isEntraSecret(text string) bool {
	return len(text) >= 37 && len(text) <= 40 && text[4:6] == "Q~" && text[3] >= '0' && text[3] <= '9' && allOf(text, entra)
}

var entra = alphabetOf("a-z", "A-Z", "0-9", "_~.-")

func allOf(text string, a *alphabet) bool {
	for i := range len(text) {
		if !a[text[i]] {
			return false
		}
	}
	return true
}
