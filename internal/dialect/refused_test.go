package dialect_test

import (
	"testing"

	"gatehouse/internal/dialect"
)

func TestCredentialRefused(t *testing.T) {
	for _, c := range []struct {
		status int
		body   string
		want   bool
	}{
		{401, `{"error":{"message":"Incorrect API key provided: sk-proj-***.","code":"invalid_api_key"}}`, true},
		{401, `{"statusCode":401,"message":"Unauthorized. Access token is missing, invalid, audience is incorrect (https://cognitiveservices.azure.com), or have expired."}`, true},
		{401, ``, true},
		{401, `{"error":"You have insufficient permissions for this operation. Missing scopes: api.management.read."}`, false},
		{401, `{"error":{"code":"PermissionDenied","message":"Principal does not have access to API/Operation."}}`, false},
		{403, `{"error":{"code":"AuthenticationTypeDisabled","message":"Key based authentication is disabled for this resource."}}`, true},
		{403, `{"error":{"code":"403","message":"Access denied due to Virtual Network/Firewall rules."}}`, true},
		{403, "{\"error\":{\"message\":\"Project `proj_x` does not have access to model `gpt-4o`\",\"code\":\"model_not_found\"}}", false},
		{403, ``, false},
		{404, `invalid_api_key`, false},
	} {
		if got := dialect.CredentialRefused(c.status, []byte(c.body)); got != c.want {
			t.Errorf("%d %s: got %v, want %v", c.status, c.body, got, c.want)
		}
	}
}
