// Package gatehousetest is for tests, Gatehouse's own and its users': a whole Gatehouse that runs inside the test's process, an
// upstream that follows a script, which answers byte for byte what a test wants and records byte for byte what it got, and a guard
// that keeps a test off the network.
//
// A test of a program that calls models starts a Gatehouse and gives the program its URL and key. Every model of Server is the
// built-in mock's: it costs nothing, answers the same every time, and misbehaves where a request header asks for it
// (x-mock-status: 429).
//
//	func TestSummary(t *testing.T) {
//		s := gatehousetest.Start(t, gatehousetest.Options{})
//		client := openai.NewClient(option.WithBaseURL(s.URL+"/v1/"), option.WithAPIKey(s.APIKey))
//		...
//		for _, u := range s.Usage("model") {
//			t.Logf("%s: %d requests, %d tokens", u.Model, u.Requests, u.Input+u.Output)
//		}
//	}
//
// A test that wants to choose the answers sends a model to an Upstream with Server.Forward; one that wants Azure OpenAI behind the
// gateway runs an AzureService, which answers in recorded shapes and looks strictly at what it gets.
//
// It owns no other provider's manners: answers that look like a model's are the mock's, and what Gatehouse does is decided elsewhere.
package gatehousetest
