package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"time"
)

// face is a dialect in which a call is made: where, and with which header.
type face struct {
	path          string
	authorization string
}

// chatFace returns where a chat call of a deployment goes.
func (t *tenant) chatFace(azure bool, deployment string) face {
	switch {
	case !azure:
		return face{"/v1/chat/completions", "Bearer " + t.key}
	case rand.IntN(2) == 0:
		return face{"/openai/v1/chat/completions", "api-key " + t.key}
	}
	return face{"/openai/deployments/" + deployment + "/chat/completions?api-version=2024-10-21", "api-key " + t.key}
}

// one makes one request of a kind in one dialect and judges its answer.
func (d *driver) one(k kind, azure bool) {
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	defer stop()
	d.requests.Add(1)
	d.kinds[k].Add(1)
	words := strings.Repeat("some words to count ", 1+rand.IntN(20))
	chat := func(model string, stream bool) object {
		body := object{"model": model, "messages": []object{{"role": "user", "content": words}}}
		if stream {
			body["stream"] = true
			body["stream_options"] = object{"include_usage": true}
		}
		return body
	}
	tokens := []string{"X-Mock-Tokens", fmt.Sprint(1 + rand.IntN(60))}
	switch k {
	case jsonChat:
		f := d.clean.chatFace(azure, "steady")
		status, text, err := d.ask(ctx, http.MethodPost, f.path, f.authorization, chat("steady", false), tokens...)
		d.paid(k, status, text, err)
	case streamChat:
		f := d.clean.chatFace(azure, "steady")
		s, err := d.stream(ctx, f, chat("steady", true), -1, tokens...)
		if err != nil || s.status != http.StatusOK || !s.whole || s.usage == nil {
			d.wrong(k, "status %d, whole %v, usage %v, %v: %s", s.status, s.whole, s.usage != nil, err, clipped(s.text))
			return
		}
		d.clean.count(s.usage)
	case embedding:
		f := face{"/v1/embeddings", "Bearer " + d.clean.key}
		if azure {
			f = face{"/openai/deployments/vectors/embeddings?api-version=2024-10-21", "api-key " + d.clean.key}
		}
		status, text, err := d.ask(ctx, http.MethodPost, f.path, f.authorization, object{"model": "vectors", "input": words})
		d.paid(k, status, text, err)
	case listing:
		f := face{"/v1/models", "Bearer " + d.clean.key}
		if azure {
			f = face{"/openai/v1/models", "api-key " + d.clean.key}
		}
		if status, text, err := d.ask(ctx, http.MethodGet, f.path, f.authorization, nil); err != nil || status != http.StatusOK {
			d.wrong(k, "status %d, %v: %s", status, err, clipped(text))
		}
	case upload:
		d.upload(ctx, azure)
	case cancelled:
		f := d.dirty.chatFace(azure, "steady")
		s, err := d.stream(ctx, f, chat("steady", true), 1+rand.IntN(4), "X-Mock-Tokens", "200", "X-Mock-Chunk-Delay-Ms", "20")
		if s.status != http.StatusOK || s.whole {
			d.wrong(k, "status %d, whole %v, %v", s.status, s.whole, err)
		}
	case failed:
		f := d.dirty.chatFace(azure, "faulty")
		status, text, err := d.ask(ctx, http.MethodPost, f.path, f.authorization, chat("faulty", false), "X-Mock-Status", []string{"400", "429", "500", "503"}[rand.IntN(4)], "X-Mock-Retry-After-Ms", "60000")
		if err != nil || status < 400 || status == http.StatusUnauthorized || status == http.StatusNotFound {
			d.wrong(k, "status %d, %v: %s", status, err, clipped(text))
		}
	case cut:
		f := d.dirty.chatFace(azure, "faulty")
		s, err := d.stream(ctx, f, chat("faulty", true), -1, "X-Mock-Break-After", "3")
		// The upstream may be thought broken after so many failures, and then the answer is an error at once.
		if s.whole || s.status != http.StatusOK && s.status < 500 {
			d.wrong(k, "status %d, whole %v, %v: %s", s.status, s.whole, err, clipped(s.text))
		}
	}
}

// paid judges an answer that costs and counts it.
func (d *driver) paid(k kind, status int, text []byte, err error) {
	var answer struct{ Usage *usage }
	if err != nil || status != http.StatusOK || json.Unmarshal(text, &answer) != nil || answer.Usage == nil {
		d.wrong(k, "status %d, %v: %s", status, err, clipped(text))
		return
	}
	d.clean.count(answer.Usage)
}

// usage is what an answer says it cost.
type usage struct {
	Prompt     int64 `json:"prompt_tokens"`
	Completion int64 `json:"completion_tokens"`
}

func (t *tenant) count(u *usage) {
	t.answers.Add(1)
	t.input.Add(u.Prompt)
	t.output.Add(u.Completion)
}

// streamed is what a client saw of a stream.
type streamed struct {
	status int
	whole  bool // it ended as a stream ends
	usage  *usage
	text   []byte // of an answer that is no stream
}

// stream makes one streaming call and leaves after some events; below 0: it stays to the end.
func (d *driver) stream(ctx context.Context, f face, body object, leaveAfter int, header ...string) (s streamed, err error) {
	ctx, leave := context.WithCancel(ctx)
	defer leave()
	text, err := json.Marshal(body)
	if err != nil {
		return s, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.g.URL+f.path, bytes.NewReader(text))
	if err != nil {
		return s, err
	}
	name, value, _ := strings.Cut(f.authorization, " ")
	if name == "api-key" {
		req.Header.Set("Api-Key", value)
	} else {
		req.Header.Set("Authorization", f.authorization)
	}
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := d.client.Do(req)
	if err != nil {
		return s, err
	}
	defer resp.Body.Close()
	if s.status = resp.StatusCode; s.status != http.StatusOK {
		s.text, err = io.ReadAll(resp.Body)
		return s, err
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	for events := 0; lines.Scan(); {
		data, ok := bytes.CutPrefix(lines.Bytes(), []byte("data: "))
		if !ok {
			continue
		}
		if string(data) == "[DONE]" {
			s.whole = true
			continue
		}
		var chunk struct{ Usage *usage }
		if json.Unmarshal(data, &chunk) == nil && chunk.Usage != nil {
			s.usage = chunk.Usage
		}
		if events++; events == leaveAfter {
			return s, nil
		}
	}
	return s, lines.Err()
}

// upload stores a file, reads it back, and deletes it.
func (d *driver) upload(ctx context.Context, azure bool) {
	base, authorization := "/v1/files", "Bearer "+d.clean.key
	if azure {
		base, authorization = "/openai/v1/files", "api-key "+d.clean.key
	}
	content := bytes.Repeat([]byte("a line of a file\n"), 1+rand.IntN(4000))
	const boundary = "soak-boundary"
	var form bytes.Buffer
	fmt.Fprintf(&form, "--%s\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nuser_data\r\n--%s\r\nContent-Disposition: form-data; name=\"file\"; filename=\"soak.txt\"\r\nContent-Type: text/plain\r\n\r\n", boundary, boundary)
	form.Write(content)
	fmt.Fprintf(&form, "\r\n--%s--\r\n", boundary)
	var made struct{ ID string }
	status, text, err := d.ask(ctx, http.MethodPost, base, authorization, form.Bytes(), "Content-Type", "multipart/form-data; boundary="+boundary)
	if err != nil || status != http.StatusOK || json.Unmarshal(text, &made) != nil || made.ID == "" {
		d.wrong(upload, "store: status %d, %v: %s", status, err, clipped(text))
		return
	}
	d.requests.Add(2)
	if status, got, err := d.ask(ctx, http.MethodGet, base+"/"+made.ID+"/content", authorization, nil); err != nil || status != http.StatusOK || !bytes.Equal(got, content) {
		d.wrong(upload, "read: status %d, %v, %d bytes of %d", status, err, len(got), len(content))
	}
	if status, text, err := d.ask(ctx, http.MethodDelete, base+"/"+made.ID, authorization, nil); err != nil || status != http.StatusOK {
		d.wrong(upload, "delete: status %d, %v: %s", status, err, clipped(text))
	}
}

// models asks with a key for the list of models and returns the status.
func (d *driver) models(ctx context.Context, key string) int {
	d.requests.Add(1)
	status, _, err := d.ask(ctx, http.MethodGet, "/v1/models", "Bearer "+key, nil)
	if err != nil {
		return 0
	}
	return status
}

// changes creates keys, suspends, resumes and revokes them, lets others expire, and applies manifests, a few a second.
func (d *driver) changes(ctx context.Context) {
	path := "/v1/organization/projects/" + d.dirty.project + "/service_accounts/" + d.dirty.account + "/api_keys"
	speed := float64(d.plan.clock) / float64(d.plan.duration)
	type expiring struct {
		key string
		at  time.Time // when it has expired for certain
	}
	var waiting []expiring
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			return
		case <-time.After(500 * time.Millisecond):
		}
		d.within(func() {
			work, stop := context.WithTimeout(context.Background(), time.Minute)
			defer stop()
			d.kinds[lifecycle].Add(1)
			step := func(what, method, path string, body, out any) bool {
				d.requests.Add(1)
				err := d.admin(work, method, path, body, out)
				if err != nil {
					d.wrong(lifecycle, "%s: %v", what, err)
				}
				return err == nil
			}
			expect := func(what, key string, want int) {
				if got := d.models(work, key); got != want {
					d.wrong(lifecycle, "%s key is answered %d, want %d", what, got, want)
				}
			}
			body := object{"name": "soak"}
			short := i%4 == 0 && len(waiting) < 64
			if short {
				body["expires_in_seconds"] = max(1, int(5*speed))
			}
			var made struct{ ID, Value string }
			if !step("create", http.MethodPost, path, body, &made) {
				return
			}
			expect("a new", made.Value, http.StatusOK)
			if short {
				waiting = append(waiting, expiring{made.Value, time.Now().Add(6 * time.Second)})
			} else {
				own := "/gatehouse/v1/keys/" + made.ID
				if step("suspend", http.MethodPost, own+"/suspend", nil, nil) {
					expect("a suspended", made.Value, http.StatusUnauthorized)
				}
				if step("resume", http.MethodPost, own+"/resume", nil, nil) {
					expect("a resumed", made.Value, http.StatusOK)
				}
				if step("revoke", http.MethodDelete, own, nil, nil) {
					expect("a revoked", made.Value, http.StatusUnauthorized)
				}
			}
			waiting = slices.DeleteFunc(waiting, func(e expiring) bool {
				if time.Now().Before(e.at) {
					return false
				}
				expect("an expired", e.key, http.StatusUnauthorized)
				return true
			})
			if i%10 == 0 {
				d.kinds[apply].Add(1)
				step("apply", http.MethodPost, "/gatehouse/v1/apply", []byte(fmt.Sprintf(manifest, 1+i%7)), nil)
			}
		})
	}
}

// regenerations makes the two keys of a Resource anew in turn: the one that is not calls all the while.
func (d *driver) regenerations(ctx context.Context) {
	type pairOfKeys struct {
		ID   string
		Key1 struct{ Value string }
		Key2 struct{ Value string }
	}
	var r pairOfKeys
	d.within(func() {
		if err := d.admin(ctx, http.MethodPost, "/gatehouse/v1/resources", object{"project_id": d.dirty.project, "name": "soak"}, &r); err != nil {
			d.wrong(lifecycle, "make a resource: %v", err)
		}
	})
	keys := [2]string{r.Key1.Value, r.Key2.Value}
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			return
		case <-time.After(2 * time.Second):
		}
		d.within(func() {
			work, stop := context.WithTimeout(context.Background(), time.Minute)
			defer stop()
			d.kinds[lifecycle].Add(1)
			d.requests.Add(1)
			var made pairOfKeys
			turn := i % 2
			if err := d.admin(work, http.MethodPost, "/gatehouse/v1/resources/"+r.ID+"/regenerate_key", object{"key_name": fmt.Sprintf("Key%d", turn+1)}, &made); err != nil {
				d.wrong(lifecycle, "regenerate: %v", err)
				return
			}
			old := keys[turn]
			keys[turn] = [2]string{made.Key1.Value, made.Key2.Value}[turn]
			for _, c := range []struct {
				what, key string
				want      int
			}{{"a regenerated", keys[turn], http.StatusOK}, {"the other", keys[1-turn], http.StatusOK}, {"a replaced", old, http.StatusUnauthorized}} {
				if got := d.models(work, c.key); got != c.want {
					d.wrong(lifecycle, "%s key is answered %d, want %d", c.what, got, c.want)
				}
			}
		})
	}
}
