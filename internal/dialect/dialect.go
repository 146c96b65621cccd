// Package dialect owns the wire facts of OpenAI's API and of Azure OpenAI: which paths exist and what each one reads, creates and
// needs ([Parse], [Op], [Call]), where a caller puts a credential ([Presented]), how an error looks ([AppendError],
// [TranslateError]), and what an outgoing request to an upstream of either wire looks like ([Call.Target], [Call.BodyModel],
// [CredentialHeader], the header sets). It is the only package with vendors' path strings in it.
//
// It is pure: no I/O, no clock, no state that changes after start. It does not read bodies: its sub-packages do (strictjson finds
// and replaces fields of a JSON body, form those of a multipart body, sse taps an event stream, usage reads what a provider
// counted). It decides nothing about who may call: it says what a call is.
//
// The facts come from OpenAI's OpenAPI document 2.3.0 (github.com/openai/openai-openapi, MIT), the official clients openai-node
// 7.55 and openai-go 3.95, and Microsoft's published documentation of Azure OpenAI.
package dialect

import "gatehouse"

// Face is the wire a caller speaks. It decides how paths are read and how errors look.
type Face uint8

// The faces.
const (
	FaceOpenAI  Face = iota // /v1/...
	FaceAzure               // /openai/deployments/{deployment}/... and /openai/...: a dated api-version is required
	FaceAzureV1             // /openai/v1/...: the deployment is the body's model, api-version is optional
	FaceAzureAI             // /models/...: Azure AI model inference; the deployment is the body's model
)

// Faces is how many faces there are.
const Faces = len(faceNames)

var faceNames = [...]string{"openai", "azure", "azure_v1", "azure_ai"}

// String returns the face's name as metrics and logs show it.
func (f Face) String() string { return faceNames[f] }

// IsAzure reports whether errors and headers have Azure's form.
func (f Face) IsAzure() bool { return f != FaceOpenAI }

// FaceOf returns the face whose error bodies an upstream answers with.
func FaceOf(up *gatehouse.Upstream) Face {
	switch {
	case up.Dialect != gatehouse.Azure:
		return FaceOpenAI
	case isClassic(up):
		return FaceAzure
	}
	return FaceAzureV1
}
