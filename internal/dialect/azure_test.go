package dialect

import (
	"net/http"
	"testing"

	"gatehouse"
)

// TestWhatAzuresClientsSend holds the wire to the requests that unmodified clients were seen to make: what each is read as, whose
// credential it bears, and the request line it becomes at each kind of upstream, where the deployment is called "there".
func TestWhatAzuresClientsSend(t *testing.T) {
	const key = "sk-azure-key"
	apiKey, bearer := http.Header{"Api-Key": {key}}, http.Header{"Authorization": {"Bearer " + key}}
	both := http.Header{"Api-Key": {key}, "Authorization": {"Bearer other"}}
	const node, golang, python = "openai-node", "openai-go", "openai-python"
	type targets struct{ openai, classic, v1 string }
	for _, tt := range []struct {
		client, call        string
		header              http.Header
		method, path, query string
		op                  string
		face                Face
		deployment          string // of the path
		body                string // the body's model; "-" for a body without one
		want                targets
	}{
		{node, "AzureOpenAI chat: the body repeats the model", apiKey, "POST", "/openai/deployments/dep1/chat/completions", "api-version=2024-10-21", "chat.completions.create", FaceAzure, "dep1", "dep1",
			targets{"/v1/chat/completions", "/openai/deployments/there/chat/completions?api-version=2024-10-21", "/openai/v1/chat/completions"}},
		{node, "embeddings", apiKey, "POST", "/openai/deployments/dep1/embeddings", "api-version=2024-10-21", "embeddings.create", FaceAzure, "dep1", "dep1",
			targets{"/v1/embeddings", "/openai/deployments/there/embeddings?api-version=2024-10-21", "/openai/v1/embeddings"}},
		{node, "completions", apiKey, "POST", "/openai/deployments/dep1/completions", "api-version=2024-10-21", "completions.create", FaceAzure, "dep1", "dep1",
			targets{"/v1/completions", "/openai/deployments/there/completions?api-version=2024-10-21", "/openai/v1/completions"}},
		{node, "responses", apiKey, "POST", "/openai/responses", "api-version=2025-04-01-preview", "responses.create", FaceAzure, "", "dep1",
			targets{"/v1/responses", "/openai/responses?api-version=2024-10-21", "/openai/v1/responses"}},
		{node, "moderations", apiKey, "POST", "/openai/moderations", "api-version=2024-10-21", "moderations.create", FaceAzure, "", "-",
			targets{"/v1/moderations", "/openai/moderations?api-version=2024-10-21", "/openai/v1/moderations"}},
		{node, "models.list", apiKey, "GET", "/openai/models", "api-version=2024-10-21", "models.list", FaceAzure, "", "", targets{}},
		{node, "files.list", apiKey, "GET", "/openai/files", "api-version=2024-10-21", "files.list", FaceAzure, "", "",
			targets{"/v1/files", "/openai/files?api-version=2024-10-21", "/openai/v1/files"}},
		{node, "assistants.create", apiKey, "POST", "/openai/assistants", "api-version=2024-05-01-preview", "assistants.create", FaceAzure, "", "dep1",
			targets{"/v1/assistants", "/openai/assistants?api-version=2024-10-21", "/openai/v1/assistants"}},
		{node, "vectorStores.list", apiKey, "GET", "/openai/vector_stores", "limit=2&api-version=2024-05-01-preview", "vector_stores.list", FaceAzure, "", "",
			targets{"/v1/vector_stores?limit=2", "/openai/vector_stores?api-version=2024-10-21&limit=2", "/openai/v1/vector_stores?limit=2"}},
		{node, "batches.create", apiKey, "POST", "/openai/batches", "api-version=2024-10-21", "batches.create", FaceAzure, "", "-",
			targets{"/v1/batches", "/openai/batches?api-version=2024-10-21", "/openai/v1/batches"}},
		{node, "batches.create with a model in the body", apiKey, "POST", "/openai/deployments/dep1/batches", "api-version=2024-10-21", "batches.create", FaceAzure, "dep1", "dep1",
			targets{"/v1/batches", "/openai/batches?api-version=2024-10-21", "/openai/v1/batches"}},
		{node, "images.generate", apiKey, "POST", "/openai/deployments/dall-e-3/images/generations", "api-version=2024-10-21", "images.generate", FaceAzure, "dall-e-3", "dall-e-3",
			targets{"/v1/images/generations", "/openai/deployments/there/images/generations?api-version=2024-10-21", "/openai/v1/images/generations"}},
		{node, "6.49 images.edit: no deployment in the path", apiKey, "POST", "/openai/images/edits", "api-version=2025-04-01-preview", "images.edit", FaceAzure, "", "gpt-image-1",
			targets{"/v1/images/edits", "/openai/deployments/there/images/edits?api-version=2024-10-21", "/openai/v1/images/edits"}},
		{golang, "images.edit", apiKey, "POST", "/openai/deployments/gpt-image-1/images/edits", "api-version=2025-04-01-preview", "images.edit", FaceAzure, "gpt-image-1", "gpt-image-1",
			targets{"/v1/images/edits", "/openai/deployments/there/images/edits?api-version=2024-10-21", "/openai/v1/images/edits"}},
		{node, "audio.transcriptions: the form repeats the model", apiKey, "POST", "/openai/deployments/whisper/audio/transcriptions", "api-version=2024-10-21", "audio.transcriptions.create", FaceAzure, "whisper", "whisper",
			targets{"/v1/audio/transcriptions", "/openai/deployments/there/audio/transcriptions?api-version=2024-10-21", "/openai/v1/audio/transcriptions"}},
		{node, "audio.speech", apiKey, "POST", "/openai/deployments/tts/audio/speech", "api-version=2025-04-01-preview", "audio.speech.create", FaceAzure, "tts", "tts",
			targets{"/v1/audio/speech", "/openai/deployments/there/audio/speech?api-version=2024-10-21", "/openai/v1/audio/speech"}},
		{node, "deployment 'fixed', model 'other': the path wins", apiKey, "POST", "/openai/deployments/fixed/chat/completions", "api-version=2024-10-21", "chat.completions.create", FaceAzure, "fixed", "other",
			targets{"/v1/chat/completions", "/openai/deployments/there/chat/completions?api-version=2024-10-21", "/openai/v1/chat/completions"}},
		{node, "6.49: a space is escaped and a slash is not", apiKey, "POST", "/openai/deployments/dep%20e/1/embeddings", "api-version=2024-10-21", "embeddings.create", FaceAzure, "dep e/1", "dep e/1",
			targets{"/v1/embeddings", "/openai/deployments/there/embeddings?api-version=2024-10-21", "/openai/v1/embeddings"}},
		{node, "7.55: both are", apiKey, "POST", "/openai/deployments/dep%20e%2F1/embeddings", "api-version=2024-10-21", "embeddings.create", FaceAzure, "dep e/1", "dep e/1",
			targets{"/v1/embeddings", "/openai/deployments/there/embeddings?api-version=2024-10-21", "/openai/v1/embeddings"}},
		{golang, "a space", apiKey, "POST", "/openai/deployments/my%20dep/chat/completions", "api-version=2024-10-21", "chat.completions.create", FaceAzure, "my dep", "my dep",
			targets{"/v1/chat/completions", "/openai/deployments/there/chat/completions?api-version=2024-10-21", "/openai/v1/chat/completions"}},
		{node, "OpenAI at /openai/v1/ with a token", bearer, "POST", "/openai/v1/chat/completions", "", "chat.completions.create", FaceAzureV1, "", "dep1",
			targets{"/v1/chat/completions", "/openai/deployments/there/chat/completions?api-version=2024-10-21", "/openai/v1/chat/completions"}},
		{node, "OpenAI at /openai/v1/ with a static key", bearer, "POST", "/openai/v1/responses", "", "responses.create", FaceAzureV1, "", "dep1",
			targets{"/v1/responses", "/openai/responses?api-version=2024-10-21", "/openai/v1/responses"}},
		{golang, "azure.WithEndpoint and WithAPIKey: the rest", apiKey, "GET", "/openai/batches/batch_1", "api-version=2024-10-21", "batches.retrieve", FaceAzure, "", "",
			targets{"/v1/batches/batch_1", "/openai/batches/batch_1?api-version=2024-10-21", "/openai/v1/batches/batch_1"}},
		{python, "api_version='preview' at /openai/v1/", apiKey, "POST", "/openai/v1/chat/completions", "api-version=preview", "chat.completions.create", FaceAzureV1, "", "dep1",
			targets{"/v1/chat/completions", "/openai/deployments/there/chat/completions?api-version=2024-10-21", "/openai/v1/chat/completions"}},
		{python, "up to 2.33: an api-key and a bearer", both, "POST", "/openai/deployments/dep1/chat/completions", "api-version=2024-10-21", "chat.completions.create", FaceAzure, "dep1", "dep1",
			targets{"/v1/chat/completions", "/openai/deployments/there/chat/completions?api-version=2024-10-21", "/openai/v1/chat/completions"}},
		{python, "2023: extensions", apiKey, "POST", "/openai/deployments/dep1/extensions/chat/completions", "api-version=2023-08-01-preview", "chat.completions.create", FaceAzure, "dep1", "-",
			targets{"/v1/chat/completions", "/openai/deployments/there/chat/completions?api-version=2024-10-21", "/openai/v1/chat/completions"}},
		{"behind API Management", "its own header", http.Header{"Ocp-Apim-Subscription-Key": {key}}, "POST", "/openai/deployments/dep1/chat/completions", "api-version=2024-10-21", "chat.completions.create", FaceAzure, "dep1", "-",
			targets{"/v1/chat/completions", "/openai/deployments/there/chat/completions?api-version=2024-10-21", "/openai/v1/chat/completions"}},
		{"azure-ai-inference", "complete", apiKey, "POST", "/models/chat/completions", "api-version=2024-05-01-preview", "chat.completions.create", FaceAzureAI, "", "dep1",
			targets{"/v1/chat/completions", "/openai/deployments/there/chat/completions?api-version=2024-10-21", "/openai/v1/chat/completions"}},
		{"azure-ai-inference", "embed, with a token", bearer, "POST", "/models/embeddings", "api-version=2024-05-01-preview", "embeddings.create", FaceAzureAI, "", "dep1",
			targets{"/v1/embeddings", "/openai/deployments/there/embeddings?api-version=2024-10-21", "/openai/v1/embeddings"}},
		{"azure-ai-inference", "get_model_info", apiKey, "GET", "/models/info", "api-version=2024-05-01-preview", "models.info", FaceAzureAI, "", "", targets{}},
		{"2022's authoring API", "deployments", apiKey, "GET", "/openai/deployments", "api-version=2022-12-01", "deployments.list", FaceAzure, "", "", targets{}},
	} {
		t.Run(tt.client+" "+tt.call, func(t *testing.T) {
			if got, _, err := Presented(tt.header); got != key || err != nil {
				t.Errorf("its credential is read as %q, %v", got, err)
			}
			c, err := Parse(tt.method, tt.path, tt.query)
			if err != nil {
				t.Fatal(err)
			}
			if c.Op.Name != tt.op || c.Face != tt.face || c.Deployment != tt.deployment {
				t.Errorf("read as %s in face %s, deployment %q", c.Op.Name, c.Face, c.Deployment)
			}
			if c.Op.Local {
				return
			}
			var got targets
			for _, w := range []struct {
				up  *gatehouse.Upstream
				got *string
			}{{upOpenAI, &got.openai}, {upClassic, &got.classic}, {upV1, &got.v1}} {
				if *w.got, err = c.Target(w.up, "there"); err != nil {
					t.Errorf("at %+v: %v", *w.up, err)
				}
				// Wherever a body names a model the upstream reads its own name for it there, and nowhere an older one is left.
				edit := c.BodyModel(w.up, tt.body != "-" && tt.body != "", tt.body, "there")
				switch want := ModelReplace; {
				case c.Op.Model == ModelNone || tt.body == "":
					if edit != ModelKeep {
						t.Errorf("edit %d of a body without a model of its own", edit)
					}
				case tt.body != "-":
					if edit != want {
						t.Errorf("edit %d at %s, want the model replaced", edit, w.up.Dialect)
					}
				case c.Op.inPath(w.up):
					if edit != ModelKeep {
						t.Errorf("edit %d where the path names the model", edit)
					}
				default:
					if edit != ModelInsert {
						t.Errorf("edit %d at %s, want the model inserted", edit, w.up.Dialect)
					}
				}
			}
			if got != tt.want {
				t.Errorf("becomes %+v\nwant %+v", got, tt.want)
			}
		})
	}
}
