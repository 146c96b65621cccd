// Package mock is the built-in upstream: OpenAI's wire under /v1, answered by a program instead of a model. It lets a stranger
// try Gatehouse without a provider account, and lets users test their own retry, timeout and billing code.
//
// It owns the content of its answers, their usage numbers, the knobs that make it misbehave, and the objects it keeps (files,
// responses, conversations, stored chat completions, batches, videos, fine-tuning jobs). It owns no listener, knows no Gatehouse key and keeps nothing on disk.
//
// # It never pretends
//
// Every answer bears the header x-gatehouse-mock: 1, every text begins with a label such as "[mock gpt-4o]", and pictures and
// sound carry the label in their metadata where the format has a place for it. Everything but ids and times follows from the
// request alone: the same request gets the same text, vectors, picture and usage.
//
// # Counting
//
// A token is one optional white-space byte followed by up to four bytes that are not white space, never cutting a UTF-8
// sequence; a white-space byte with no such bytes after it is a token of its own. What is counted is text as it reads, without
// JSON's escapes. On that unit:
//
//   - chat prompts: every text of every message (content, name, refusal, arguments of calls), 3 more for each message and 3
//     for the reply, and the definitions of tools as they stand in the JSON; responses count items in the same way
//   - a picture or file in a prompt is 85 tokens; sound is 10 tokens a second
//   - output: the tokens of the text that was sent, one per event of a stream, plus reasoning tokens for models that reason
//     (names beginning with o and a digit, or gpt-5): 64, or 0, 16, 32, 64, 128, 256 for the efforts none, minimal, low,
//     medium, high, xhigh
//   - speech: 50 tokens a second, one for each token of the input; transcription: 10 tokens for each second of sound, and one
//     second for each started second where a model counts time (whisper-1)
//   - images: OpenAI's published figures for size and quality (a size without one costs its share of a square's), 100 for each
//     partial picture of a stream and 194 for each picture that is edited; pictures themselves are always 64 by 64 pixels
//
// # Work that takes longer
//
// Background responses, batches, videos and fine-tuning jobs are queued when they are made and done when they are looked at for the
// first time. A batch's lines are answered like requests; its usage is their sum. A video is a label with the length that was asked
// for. A fine-tuning job has trained three times the tokens of its file, and what it made is a name only.
//
// # Knobs
//
// A request header sets each; one that is unknown or out of range is a 400 that says so.
//
//	x-mock-latency-ms        wait before answering, 0 to 600000
//	x-mock-chunk-delay-ms    wait before each event of a stream but the first, 0 to 60000
//	x-mock-tokens            length of the answer's text (or speech) in tokens, 1 to 100000; max_tokens still cuts it
//	x-mock-cached-tokens     how many prompt tokens are reported as cached (at most all of them)
//	x-mock-status            answer with this status, 400 to 599, and OpenAI's body for it
//	x-mock-error-rate        0 to 1, up to six decimals: this share of the project's requests that carry the knob fails, evenly
//	                         spread and deterministic (0.25: every fourth), with x-mock-status, or 503 without it
//	x-mock-retry-after-ms    what retry-after-ms and retry-after say on 429 and 503, 0 to 3600000; default 1000
//	x-mock-break-after       abort the connection after this many events of a stream, or bytes of any other answer
//	x-mock-stall-after       send nothing more after so many, until the caller leaves or ten minutes have passed
//	x-mock-no-usage          1: leave usage out
//
// # What is kept
//
// Objects belong to the project that the OpenAI-Project header names (none is a project too); for any other project they do
// not exist. A project holds at most 1,000 objects and 32 MiB, then its oldest give way; all projects together hold 256 MiB and
// at most 1,000 are kept, then the one unused for longest is forgotten. A restart forgets everything.
package mock
