package dialect

import (
	"strings"

	"gatehouse"
)

// Tool is what a tool of a request is by the type it names: the one list that what a project may use and what a request may cost are
// both judged by.
type Tool uint8

// The tools, as OpenAI's API document has them.
const (
	UnknownTool      Tool = iota // a type of which nobody here knows where it runs
	CallerTool                   // runs at the caller, whatever it does: the upstream only says how to call it
	ToolSearch                   // runs at the upstream and finds nothing but tools that the request itself lists
	WebSearchTool                // runs at the upstream, as all that follow
	WebSearchPreview             // has another price
	FileSearchTool
	ContainerTool // a code interpreter or a shell
	ImageTool
	MCPTool
)

// toolTypes are the types of tools but those that search the web, whose names go on with a date.
var toolTypes = map[string]Tool{
	"function": CallerTool, "custom": CallerTool, "namespace": CallerTool, "local_shell": CallerTool, "apply_patch": CallerTool,
	"computer": CallerTool, "computer_use": CallerTool, "computer_use_preview": CallerTool,
	"tool_search":      ToolSearch,
	"file_search":      FileSearchTool,
	"retrieval":        FileSearchTool, // the first Assistants called it so
	"code_interpreter": ContainerTool, "shell": ContainerTool,
	"image_generation": ImageTool,
	"mcp":              MCPTool,
}

// ToolOf returns the tool of a type as OpenAI's API spells it.
func ToolOf(kind string) Tool {
	if t, ok := toolTypes[kind]; ok {
		return t
	}
	switch {
	case strings.HasPrefix(kind, "web_search_preview"):
		return WebSearchPreview
	case strings.HasPrefix(kind, "web_search"):
		return WebSearchTool
	}
	return UnknownTool
}

// Permission returns what a project needs to use the tool: nothing for one that runs at its caller, and every permission there is for
// one that nobody here knows, which may be any of them under a new name.
func (t Tool) Permission() gatehouse.ToolSet {
	switch t {
	case CallerTool, ToolSearch:
		return 0
	case WebSearchTool, WebSearchPreview:
		return gatehouse.ToolWebSearch
	case FileSearchTool:
		return gatehouse.ToolFileSearch
	case ContainerTool:
		return gatehouse.ToolCodeInterpreter
	case ImageTool:
		return gatehouse.ToolImageGeneration
	case MCPTool:
		return gatehouse.ToolMCP
	}
	return gatehouse.AllTools
}
