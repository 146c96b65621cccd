package adminapi

import (
	"context"
	"net/http"
	"strings"

	"github.com/go-json-experiment/json"

	"gatehouse"
)

// Two people who edit one object: its GET answers with an ETag, and a POST or DELETE of the same path with If-Match changes it only while it
// is still that (RFC 9110, sections 8.8.3 and 13.1.1). The check is a part of the change's transaction.

// versioned are the paths of single objects that are read and changed.
func versioned(table []Route) map[string]bool {
	has := map[string]bool{}
	for _, rt := range table {
		has[rt.Pattern] = true
	}
	paths := map[string]bool{}
	for _, rt := range table {
		if path, ok := strings.CutPrefix(rt.Pattern, "GET "); ok && strings.HasSuffix(path, "}") && has["POST "+path] {
			paths[path] = true
		}
	}
	return paths
}

// applyPath is where a manifest is applied.
const applyPath = "/gatehouse/v1/apply"

// memberPath is the one path whose object goes by two ids.
const memberPath = "/v1/organization/projects/{project_id}/users/{user_id}"

// subject is what events call the object of a path.
func subject(c *call, path string) string {
	name := path[strings.LastIndexByte(path, '{')+1 : len(path)-1]
	if path == memberPath {
		return c.PathValue("project_id") + "/" + c.PathValue(name)
	}
	return c.PathValue(name)
}

// readVersioned reads an object and its version. The version is read first: with one that is older than the object a change is refused, with
// one that is newer it would be lost.
func (a *API) readVersioned(ctx context.Context, c *call, rt *route, path string) (any, error) {
	id := subject(c, path)
	version, err := a.cfg.Admin.Version(ctx, c.who, id)
	if err != nil {
		return nil, err
	}
	answer, err := rt.handler(ctx, c)
	if err != nil {
		return nil, err
	}
	if path == "/gatehouse/v1/budgets/{budget}" { // which may be asked for by its name
		var named struct {
			ID string `json:"id"`
		}
		text, err := json.Marshal(answer)
		if err != nil {
			return nil, err
		}
		if err := json.Unmarshal(text, &named); err != nil {
			return nil, err
		}
		if named.ID != id {
			if version, err = a.cfg.Admin.Version(ctx, c.who, named.ID); err != nil {
				return nil, err
			}
			if answer, err = rt.handler(ctx, c); err != nil {
				return nil, err
			}
		}
	}
	c.w.Set("ETag", `"`+version+`"`)
	return answer, nil
}

// ifMatch returns the versions that a change asks for; none where it asks for none.
func (a *API) ifMatch(r *http.Request, path string) (versions []string, err error) {
	text := strings.Join(r.Header.Values("If-Match"), ",")
	if text == "" || strings.TrimSpace(text) == "*" || path == applyPath { // whose version is of the whole manifest
		return nil, nil
	}
	if !a.versioned[path] {
		return nil, gatehouse.Errorf(gatehouse.Invalid, "If-Match is not supported here, and nothing was changed. It is for objects whose GET answers with an ETag.")
	}
	for tag := range strings.SplitSeq(text, ",") {
		tag = strings.TrimSpace(tag)
		opened, ok := strings.CutPrefix(tag, `"`)
		name, closed := strings.CutSuffix(opened, `"`)
		if !ok || !closed {
			return nil, gatehouse.Errorf(gatehouse.Invalid, "Invalid If-Match: send the ETag of the object as it was answered, with its quotes.")
		}
		versions = append(versions, name)
	}
	return versions, nil
}
