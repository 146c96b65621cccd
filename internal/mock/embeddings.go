package mock

import (
	"encoding/base64"
	"encoding/binary"
	"math"
	"net/http"
	"strconv"
	"strings"

	"gatehouse/internal/mock/prose"
	"gatehouse/internal/mock/scan"
)

// dimensions returns how long a model's vectors are, and whether a request may shorten them.
func dimensions(model string) (n int, shorten bool) {
	switch {
	case strings.Contains(model, "embedding-3-large"):
		return 3072, true
	case strings.Contains(model, "ada-002"):
		return 1536, false
	}
	return 1536, true
}

// embeddings answers POST /embeddings. A vector has length 1 and follows from its text and model; texts that mean the same have
// nothing in common.
func (c *call) embeddings() error {
	var q struct {
		Model      string  `json:"model"`
		Input      prompts `json:"input"`
		Format     string  `json:"encoding_format"`
		Dimensions *int    `json:"dimensions"`
	}
	if err := c.decode(&q); err != nil {
		return err
	}
	if err := c.model(q.Model); err != nil {
		return err
	}
	n, shorten := dimensions(q.Model)
	switch {
	case len(q.Input.list) == 0:
		return missing("input")
	case len(q.Input.list) > 2048:
		return invalid("input", "at most 2048 inputs are allowed.")
	case q.Format != "" && q.Format != "float" && q.Format != "base64":
		return invalid("encoding_format", "must be 'float' or 'base64'.")
	case q.Dimensions != nil && !shorten:
		return &apiError{status: 400, code: "unsupported_parameter", param: "dimensions", message: "This model does not support specifying dimensions."}
	case q.Dimensions != nil && (*q.Dimensions < 1 || *q.Dimensions > n):
		return invalid("dimensions", "must be an integer from 1 to %d.", n)
	}
	n = orDefault(q.Dimensions, n)
	b := make([]byte, 0, 256+len(q.Input.list)*n*12)
	b = append(b, `{"object":"list","data":[`...)
	var vector []float32
	var packed []byte
	for i, in := range q.Input.list {
		if in.zero {
			return invalid("input["+strconv.Itoa(i)+"]", "must not be empty.")
		}
		if i > 0 {
			b = append(b, ',')
		}
		vector = embed(vector[:0], prose.Hash(prose.Hash(prose.Seed, in.text), q.Model), n)
		b = appendInt(append(b, `{"object":"embedding","index":`...), i)
		b = append(b, `,"embedding":`...)
		if q.Format == "base64" {
			packed = packed[:0]
			for _, f := range vector {
				packed = binary.LittleEndian.AppendUint32(packed, math.Float32bits(f))
			}
			b = append(base64.StdEncoding.AppendEncode(append(b, '"'), packed), `"}`...)
			continue
		}
		for k, f := range vector {
			if k == 0 {
				b = append(b, '[')
			} else {
				b = append(b, ',')
			}
			b = strconv.AppendFloat(b, float64(f), 'f', -1, 32)
		}
		b = append(b, "]}"...)
	}
	b = scan.AppendString(append(b, `],"model":`...), q.Model)
	if !c.knobs.noUsage {
		count := q.Input.tokens()
		b = appendInt(append(b, `,"usage":{"prompt_tokens":`...), count)
		b = append(appendInt(append(b, `,"total_tokens":`...), count), '}')
	}
	return c.write(http.StatusOK, "application/json", append(b, '}'))
}

// embed appends a vector of n numbers and length 1.
func embed(v []float32, seed uint64, n int) []float32 {
	sum := 0.0
	for range n {
		seed = prose.Mix(seed)
		f := float64(int64(seed)>>11) / (1 << 52)
		sum += f * f
		v = append(v, float32(f))
	}
	if sum == 0 {
		v[0], sum = 1, 1
	}
	scale := float32(1 / math.Sqrt(sum))
	for i := range v {
		v[i] *= scale
	}
	return v
}
