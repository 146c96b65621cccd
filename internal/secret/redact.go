package secret

import "strings"

const (
	// shortestToken is the shortest run of characters that is looked at: no credential is shorter.
	shortestToken = 16
	// shortestTail is how much of a key of ours after its mark is taken for one, so that a mistyped or cut key is masked too.
	shortestTail = 32
)

// Redact returns text with every credential in it masked as Mask does: keys of ours, mistyped and cut ones too, and what Foreign
// knows. It is for texts that callers write and we keep or show, such as a User-Agent or the words of a refusal. Text without a
// credential is returned as it is, without an allocation.
func Redact(text string) string {
	var out strings.Builder
	kept := 0 // text before it is in out
	for at := 0; at < len(text); {
		if !token[text[at]] && text[at] != '.' && text[at] != '~' {
			at++
			continue
		}
		end := at
		for end < len(text) && (token[text[end]] || text[end] == '.' || text[end] == '~') {
			end++
		}
		for at < end {
			from, to := credentialIn(text, at, end)
			if from == to {
				break
			}
			out.WriteString(text[kept:from])
			out.WriteString(Mask(text[from:to]))
			kept, at = to, to
		}
		at = max(at, end)
	}
	if kept == 0 {
		return text
	}
	out.WriteString(text[kept:])
	return out.String()
}

// credentialIn finds the first credential in text[at:end], a run of the characters that credentials are made of; from == to: there
// is none. What it finds may reach beyond end: Azure's keys have characters of base64.
func credentialIn(text string, at, end int) (from, to int) {
	if end-at < shortestToken {
		return 0, 0
	}
	run := text[at:end]
	if from, to = ourKey(run); from != to {
		return at + from, at + to
	}
	// A foreign one may follow other words, as in openai-insecure-api-key.sk-...
	for start := 0; start < len(run); {
		if _, ok := Foreign(run[start:]); ok {
			return at + start, end
		}
		next := strings.IndexAny(run[start:], ".~")
		if next < 0 {
			break
		}
		start += next + 1
	}
	const random, sign, long = 52, "JQQJ9", 84
	if i := strings.Index(run, sign); i >= random && at+i-random+long <= len(text) && isAzureCommon(text[at+i-random:at+i-random+long]) {
		return at + i - random, at + i - random + long
	}
	return 0, 0
}

// ourKey finds what looks like a key of ours: a prefix, the mark and enough characters after it.
func ourKey(run string) (from, to int) {
	for i := 0; ; {
		at := strings.Index(run[i:], mark)
		if at < 0 {
			return 0, 0
		}
		i += at
		for _, p := range maskPrefixes {
			if !strings.HasSuffix(run[:i], p) {
				continue
			}
			to = i + len(mark)
			for to < len(run) && base62[run[to]] {
				to++
			}
			if to-i-len(mark) >= shortestTail {
				return i - len(p), to
			}
		}
		i += len(mark)
	}
}
