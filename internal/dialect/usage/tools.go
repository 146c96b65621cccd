package usage

import (
	"strings"

	"gatehouse"
)

// The strings by which calls of hosted tools are known.
var (
	itemWords = map[string]Count{"web_search_call": webSearchCalls, "file_search_call": fileSearchCalls}
	pageWords = map[string]Count{"open_page": webPages, "find_in_page": webPages}
	toolWords = map[string]Count{
		"web_search_preview": previewTools, "web_search_preview_2025_03_11": previewTools,
		"web_search": searchTools, "web_search_2025_08_26": searchTools,
	}
)

// wordPaths are the places of those strings: in a response, in the events of its stream, in a line of a batch's output.
var wordPaths = map[string]map[string]Count{
	"output[].type": itemWords, "response.output[].type": itemWords, "response.body.output[].type": itemWords, "item.type": itemWords,
	"output[].action.type": pageWords, "response.output[].action.type": pageWords, "response.body.output[].action.type": pageWords, "item.action.type": pageWords,
	"tools[].type": toolWords, "response.tools[].type": toolWords, "response.body.tools[].type": toolWords,
}

// Calls are the calls of hosted tools that an answer shows.
type Calls struct {
	Web     int64 // searches of the web; a page that was opened or searched is none
	Files   int64
	Preview bool // what searches the web is the preview of that tool
}

// Calls returns the calls of hosted tools in what went through c.
func (c *Capture) Calls() Calls {
	return Calls{
		Web:     int64(max(c.counts[webSearchCalls]-c.counts[webPages], 0)),
		Files:   int64(c.counts[fileSearchCalls]),
		Preview: c.counts[previewTools] > 0 && c.counts[searchTools] == 0,
	}
}

// Count adds calls to units.
func (c Calls) Count(u *gatehouse.Units) {
	if c.Preview {
		u.WebSearchPreviews += c.Web
	} else {
		u.WebSearches += c.Web
	}
	u.FileSearches += c.Files
}

// Containers returns how many containers an answer names, each once. Want must have had MadeContainer.
func (c *Capture) Containers() (n int64) {
	for i, at := range c.made {
		if at.kind != MadeContainer {
			continue
		}
		id, again := string(c.buf[at.start:at.end]), false
		for _, before := range c.made[:i] {
			again = again || before.kind == MadeContainer && string(c.buf[before.start:before.end]) == id
		}
		if !again {
			n++
		}
	}
	return n
}

// Searches returns the searches of the web that an answer of a chat stands for: models that search with every request say so in their
// name and nowhere else.
func Searches(shape Shape, model string) Calls {
	switch {
	case shape != Chat:
	case strings.Contains(model, "-search-preview"):
		return Calls{Web: 1, Preview: true}
	case strings.Contains(model, "-search-api"):
		return Calls{Web: 1}
	}
	return Calls{}
}
