// Package sdk holds no code: its tests run the official clients, unmodified, against a whole Gatehouse. The npm client and the Node
// it needs are below node, where `npm ci` installs them; openai-go is a module like any other. Where the npm client is missing its
// tests are skipped and say how to include them; with GATEHOUSE_TEST_REQUIRE=1 that is a failure.
package sdk
