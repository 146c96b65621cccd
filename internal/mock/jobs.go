package mock

import (
	"encoding/json"
	"net/http"
	"strings"

	"gatehouse"
	"gatehouse/internal/mock/prose"
)

// video is a video as the API shows it. It is queued until it is looked at for the first time, and there from then on.
type video struct {
	ID          string  `json:"id"`
	Object      string  `json:"object"`
	CreatedAt   int64   `json:"created_at"`
	CompletedAt *int64  `json:"completed_at"`
	ExpiresAt   *int64  `json:"expires_at"`
	Status      string  `json:"status"`
	Progress    int     `json:"progress"`
	Model       string  `json:"model"`
	Prompt      string  `json:"prompt"`
	Seconds     string  `json:"seconds"`
	Size        string  `json:"size"`
	RemixOf     *string `json:"remixed_from_video_id"`
	Error       *string `json:"error"` // never there
}

// videoSeconds are the lengths that OpenAI makes.
var videoSeconds = map[string]bool{"4": true, "8": true, "12": true}

func (c *call) createVideo() error {
	var q struct {
		Model   string `json:"model"`
		Prompt  string `json:"prompt"`
		Seconds string `json:"seconds"`
		Size    string `json:"size"`
	}
	if strings.HasPrefix(c.r.Header.Get("Content-Type"), "multipart/") {
		f, err := c.form()
		if err != nil {
			return err
		}
		q.Model, q.Prompt, q.Seconds, q.Size = f.values["model"], f.values["prompt"], f.values["seconds"], f.values["size"]
	} else if err := c.decode(&q); err != nil {
		return err
	}
	if q.Model == "" {
		q.Model = "sora-2"
	}
	if err := c.model(q.Model); err != nil {
		return err
	}
	return c.makeVideo(&video{Model: q.Model, Prompt: q.Prompt, Seconds: q.Seconds, Size: q.Size})
}

func (c *call) remixVideo() error {
	of, err := c.video()
	if err != nil {
		return err
	}
	var q struct {
		Prompt string `json:"prompt"`
	}
	if err := c.decode(&q); err != nil {
		return err
	}
	return c.makeVideo(&video{Model: of.Model, Prompt: q.Prompt, Seconds: of.Seconds, Size: of.Size, RemixOf: &of.ID})
}

func (c *call) makeVideo(v *video) error {
	if v.Prompt == "" {
		return missing("prompt")
	}
	if v.Seconds == "" {
		v.Seconds = "4"
	}
	if !videoSeconds[v.Seconds] {
		return invalid("seconds", "must be '4', '8' or '12'.")
	}
	if v.Size == "" {
		v.Size = "720x1280"
	}
	v.ID, v.Object, v.CreatedAt, v.Status = gatehouse.NewID("video_"), "video", c.started.Unix(), "queued"
	if err := c.keepVideo(v); err != nil {
		return err
	}
	return c.json(v)
}

func (c *call) keepVideo(v *video) error {
	return c.s.store.put(c.project, kindVideo, v.ID, v, 512+len(v.Prompt))
}

func (c *call) video() (*video, error) {
	v, ok := find[*video](c.s.store, c.project, kindVideo, c.args[0])
	if !ok {
		return nil, notFound("Video with id '%s' not found.", c.args[0])
	}
	return v, nil
}

func (c *call) getVideo() error {
	v, err := c.video()
	if err != nil {
		return err
	}
	if v.Status == "queued" {
		over := *v
		now := c.started.Unix()
		over.Status, over.Progress, over.CompletedAt = "completed", 100, &now
		v = &over
		if err := c.keepVideo(v); err != nil {
			return err
		}
	}
	return c.json(v)
}

// videoContent answers with a label instead of a film: the mock has no codec.
func (c *call) videoContent() error {
	v, err := c.video()
	if err != nil {
		return err
	}
	if v.Status != "completed" {
		return &apiError{status: 404, message: "The video is not there yet."}
	}
	return c.write(http.StatusOK, "video/mp4", []byte("[mock "+v.Model+"] "+v.Seconds+" seconds of "+v.Size))
}

func (c *call) listVideos() error {
	out, err := page(all[*video](c.s.store, c.project, kindVideo), func(v *video) string { return v.ID }, c.r.URL.Query(), "desc", 20, 100)
	if err != nil {
		return err
	}
	return c.json(out)
}

func (c *call) deleteVideo() error {
	if !c.s.store.remove(c.project, kindVideo, c.args[0]) {
		return notFound("Video with id '%s' not found.", c.args[0])
	}
	return c.json(deleted{ID: c.args[0], Object: "video.deleted", Deleted: true})
}

// tuning is a fine-tuning job as the API shows it. It runs until it is looked at for the first time.
type tuning struct {
	ID           string          `json:"id"`
	Object       string          `json:"object"`
	CreatedAt    int64           `json:"created_at"`
	FinishedAt   *int64          `json:"finished_at"`
	Model        string          `json:"model"`
	FineTuned    *string         `json:"fine_tuned_model"`
	Organization string          `json:"organization_id"`
	Status       string          `json:"status"`
	Trained      *int            `json:"trained_tokens"`
	Training     string          `json:"training_file"`
	Validation   *string         `json:"validation_file"`
	Results      []string        `json:"result_files"`
	Error        *string         `json:"error"` // never there
	Parameters   map[string]int  `json:"hyperparameters"`
	Metadata     json.RawMessage `json:"metadata"`

	tokens int
}

// epochs is how often a job reads its training file.
const epochs = 3

func (c *call) createTuning() error {
	var q struct {
		Model      string          `json:"model"`
		Training   string          `json:"training_file"`
		Validation *string         `json:"validation_file"`
		Suffix     string          `json:"suffix"`
		Metadata   json.RawMessage `json:"metadata"`
	}
	if err := c.decode(&q); err != nil {
		return err
	}
	if err := c.model(q.Model); err != nil {
		return err
	}
	if q.Training == "" {
		return missing("training_file")
	}
	f, ok := find[*file](c.s.store, c.project, kindFile, q.Training)
	if !ok || c.expired(f) || f.Purpose != "fine-tune" {
		return invalid("training_file", "there is no file %q with the purpose 'fine-tune'.", q.Training)
	}
	j := &tuning{ID: gatehouse.NewID("ftjob-"), Object: "fine_tuning.job", CreatedAt: c.started.Unix(), Model: q.Model, Organization: "org-mock", Status: "validating_files",
		Training: q.Training, Validation: q.Validation, Results: []string{}, Parameters: map[string]int{"n_epochs": epochs}, Metadata: or(q.Metadata, "null"),
		tokens: epochs * prose.Tokens(f.data)}
	if err := c.keepTuning(j); err != nil {
		return err
	}
	return c.json(j)
}

func (c *call) keepTuning(j *tuning) error {
	return c.s.store.put(c.project, kindTuning, j.ID, j, 1024+len(j.Metadata))
}

func (c *call) tuning() (*tuning, error) {
	j, ok := find[*tuning](c.s.store, c.project, kindTuning, c.args[0])
	if !ok {
		return nil, notFound("Could not find fine tune: %s", c.args[0])
	}
	return j, nil
}

func (c *call) getTuning() error { return c.endTuning("succeeded") }

func (c *call) cancelTuning() error { return c.endTuning("cancelled") }

// endTuning ends a job that runs, and shows it. The model it made is a name only: the mock answers for the models it was given.
func (c *call) endTuning(status string) error {
	j, err := c.tuning()
	if err != nil {
		return err
	}
	if j.Status == "validating_files" {
		over := *j
		now := c.started.Unix()
		over.Status, over.FinishedAt = status, &now
		if status == "succeeded" {
			name := "ft:" + j.Model + ":mock::" + strings.TrimPrefix(j.ID, "ftjob-")
			over.FineTuned, over.Trained = &name, &j.tokens
		}
		j = &over
		if err := c.keepTuning(j); err != nil {
			return err
		}
	}
	return c.json(j)
}

func (c *call) listTunings() error {
	out, err := page(all[*tuning](c.s.store, c.project, kindTuning), func(j *tuning) string { return j.ID }, c.r.URL.Query(), "desc", 20, 100)
	if err != nil {
		return err
	}
	return c.json(out)
}
