package mock

import (
	"encoding/base64"
	"encoding/json"
	"mime"
	"strconv"
	"strings"

	"gatehouse/internal/mock/media"
	"gatehouse/internal/mock/prose"
)

// imageRequest is what the three image endpoints have in common.
type imageRequest struct {
	Model      string `json:"model"`
	Prompt     string `json:"prompt"`
	N          *int   `json:"n"`
	Size       string `json:"size"`
	Quality    string `json:"quality"`
	Background string `json:"background"`
	Format     string `json:"output_format"`
	Response   string `json:"response_format"`
	Partial    *int   `json:"partial_images"`
	Stream     bool   `json:"stream"`
	Images     []struct {
		FileID string `json:"file_id"`
	} `json:"images"`

	seed   uint64
	inputs int // pictures that came with the request
	event  string
}

type imageUsage struct {
	Input        int            `json:"input_tokens"`
	InputDetails map[string]int `json:"input_tokens_details"`
	Output       int            `json:"output_tokens"`
	OutDetails   map[string]int `json:"output_tokens_details"`
	Total        int            `json:"total_tokens"`
}

// partialTokens is what OpenAI bills for each partial picture of a stream.
const partialTokens = 100

// inputImageTokens is what the mock counts for a picture that is edited.
const inputImageTokens = 194

func (c *call) generateImages() error {
	q := imageRequest{event: "image_generation"}
	if err := c.decode(&q); err != nil {
		return err
	}
	if q.Prompt == "" {
		return missing("prompt")
	}
	model := "dall-e-2"
	if q.Stream || q.Partial != nil || q.Background != "" || q.Format != "" || q.Quality == "low" || q.Quality == "medium" || q.Quality == "high" {
		model = "gpt-image-1" // OpenAI takes a GPT image model where a parameter only they know is there
	}
	return c.answerImages(&q, model)
}

// editImages reads JSON with ids of files, or a form with pictures.
func (c *call) editImages() error {
	q := imageRequest{event: "image_edit"}
	if t, _, _ := mime.ParseMediaType(c.r.Header.Get("Content-Type")); t == "application/json" {
		if err := c.decode(&q); err != nil {
			return err
		}
		var ids []string
		for _, i := range q.Images {
			q.seed = prose.Hash(q.seed, i.FileID)
			if i.FileID != "" {
				ids = append(ids, i.FileID)
			}
		}
		if err := c.checkFiles(ids); err != nil {
			return err
		}
		q.inputs = len(q.Images)
	} else if err := c.imageForm(&q); err != nil {
		return err
	}
	if q.inputs == 0 {
		return missing("image")
	}
	if q.Prompt == "" {
		return missing("prompt")
	}
	return c.answerImages(&q, "gpt-image-1.5")
}

func (c *call) varyImages() error {
	q := imageRequest{event: "image_variation"}
	if err := c.imageForm(&q); err != nil {
		return err
	}
	if q.inputs == 0 {
		return missing("image")
	}
	return c.answerImages(&q, "dall-e-2")
}

func (c *call) imageForm(q *imageRequest) error {
	f, err := c.form()
	if err != nil {
		return err
	}
	v := f.values
	q.Model, q.Prompt, q.Size, q.Quality, q.Background, q.Format, q.Response = v["model"], v["prompt"], v["size"], v["quality"], v["background"], v["output_format"], v["response_format"]
	q.Stream = v["stream"] == "true"
	for name, to := range map[string]**int{"n": &q.N, "partial_images": &q.Partial} {
		if v[name] == "" {
			continue
		}
		n, err := strconv.Atoi(v[name])
		if err != nil {
			return invalidType(name, "an integer")
		}
		*to = &n
	}
	for _, picture := range f.files["image"] {
		q.inputs++
		q.seed = prose.Hash(q.seed, picture.data)
	}
	return nil
}

// answerImages draws what q asks for. What OpenAI takes as the model where none is named is answered even where it is not
// declared.
func (c *call) answerImages(q *imageRequest, model string) error {
	if q.Model == "" {
		q.Model = model
	} else if err := c.model(q.Model); err != nil {
		return err
	}
	dalle := strings.HasPrefix(q.Model, "dall-e")
	n, partial := orDefault(q.N, 1), orDefault(q.Partial, 0)
	if q.Size == "" || q.Size == "auto" {
		q.Size = "1024x1024"
	}
	if q.Quality == "" || q.Quality == "auto" || q.Quality == "standard" || q.Quality == "hd" {
		q.Quality = "medium"
	}
	if q.Background == "" || q.Background == "auto" {
		q.Background = "opaque"
	}
	if q.Format == "" {
		q.Format = "png"
	}
	perImage := media.PictureTokens(q.Size, q.Quality)
	switch {
	case n < 1 || n > 10 || n > 1 && q.Model == "dall-e-3":
		return invalid("n", "must be an integer from 1 to 10, and 1 for dall-e-3.")
	case n > 1 && q.Stream:
		return invalid("n", "the mock upstream streams one picture at a time.")
	case partial < 0 || partial > 3:
		return invalid("partial_images", "must be an integer from 0 to 3.")
	case q.Format != "png" && q.Format != "jpeg":
		return &apiError{status: 400, code: "unsupported_value", param: "output_format", message: "The mock upstream draws 'png' and 'jpeg' only."}
	case dalle && q.Stream:
		return &apiError{status: 400, code: "unsupported_parameter", param: "stream", message: "This model does not support streaming."}
	case dalle && q.Response != "" && q.Response != "url" && q.Response != "b64_json":
		return invalid("response_format", "must be 'url' or 'b64_json'.")
	case !dalle && q.Response != "":
		return &apiError{status: 400, code: "unknown_parameter", param: "response_format", message: "Unknown parameter: 'response_format'."}
	case !dalle && perImage == 0:
		return invalid("size", "size %q with quality %q is not supported.", q.Size, q.Quality)
	}
	seed := prose.Hash(prose.Hash(q.seed^prose.Seed, q.Prompt), q.Model)
	text := prose.Tokens(q.Prompt)
	pixels := q.inputs * inputImageTokens
	usage := &imageUsage{
		Input: text + pixels, InputDetails: map[string]int{"text_tokens": text, "image_tokens": pixels},
		Output: n * perImage, OutDetails: map[string]int{"image_tokens": n * perImage, "text_tokens": 0}, Total: text + pixels + n*perImage,
	}
	if q.Stream {
		usage.Output += partial * partialTokens
		usage.Total += partial * partialTokens
		usage.OutDetails["image_tokens"] = usage.Output
		return c.streamImages(q, partial, seed, usage)
	}
	var data []map[string]any
	for range n {
		picture, err := media.Picture(media.Format(q.Format), prose.Mix(seed), prose.Label(q.Model))
		if err != nil {
			return err
		}
		b := base64.StdEncoding.EncodeToString(picture)
		seed = prose.Mix(seed)
		one := map[string]any{}
		switch {
		case dalle && q.Response != "b64_json":
			// A link to the mock would be of no use to a caller who sees the gateway only: the URL is the picture.
			one["url"] = "data:image/" + q.Format + ";base64," + b
		default:
			one["b64_json"] = b
		}
		if q.Model == "dall-e-3" {
			one["revised_prompt"] = prose.Label(q.Model) + " " + q.Prompt
		}
		data = append(data, one)
	}
	out := map[string]any{"created": c.started.Unix(), "data": data}
	if !dalle {
		out["background"], out["output_format"], out["size"], out["quality"] = q.Background, q.Format, q.Size, q.Quality
		if !c.knobs.noUsage {
			out["usage"] = usage
		}
	}
	return c.json(out)
}

// streamImages sends the partial pictures, then the whole one with the usage.
func (c *call) streamImages(q *imageRequest, partial int, seed uint64, usage *imageUsage) error {
	e := c.stream()
	for k := range partial + 1 {
		picture, err := media.Picture(media.Format(q.Format), prose.Mix(seed+uint64(partial-k)), prose.Label(q.Model))
		if err != nil {
			return err
		}
		name := q.event + ".partial_image"
		event := map[string]any{"b64_json": picture, "created_at": c.started.Unix(), "size": q.Size, "quality": q.Quality, "background": q.Background, "output_format": q.Format}
		if k < partial {
			event["partial_image_index"] = k
		} else {
			name = q.event + ".completed"
			if !c.knobs.noUsage {
				event["usage"] = usage
			}
		}
		event["type"] = name
		line, err := json.Marshal(event)
		if err != nil {
			return err
		}
		if err := e.send(name, line); err != nil {
			return err
		}
	}
	return nil
}
