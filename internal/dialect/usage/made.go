package usage

// Made is a set of the kinds of objects whose ids an answer may hold beside its own.
type Made uint16

// The kinds. Whether what an answer of an operation says at their places was made by it, is in that operation's row.
const (
	MadeItem        Made = 1 << iota // an output item
	MadeContainer                    // a container that a tool worked in
	MadeAudio                        // audio that an answer spoke
	MadeListed                       // an element of a list of items
	MadeFile                         // a file: of results, of an upload, of what code wrote
	MadeModel                        // a fine-tuned model or a checkpoint of one
	MadeThread                       // the thread of a run
	MadeSession                      // an agent's session
	MadeEnvironment                  // the environment of a session
	MadeStore                        // a vector store made for an assistant or a thread
	MadeCited                        // a file in a container that an answer cites

	// MadeInside are what an answer of a model may hold.
	MadeInside = MadeItem | MadeContainer | MadeAudio | MadeCited
)

// Kind returns the kind of object, as the database names it.
func (m Made) Kind() string {
	switch m {
	case MadeContainer:
		return "container"
	case MadeFile:
		return "file"
	case MadeModel:
		return "model"
	case MadeThread:
		return "thread"
	case MadeSession:
		return "agent.session"
	case MadeEnvironment:
		return "agent.environment"
	case MadeStore:
		return "vector_store"
	case MadeCited:
		return "container.file"
	}
	return "item"
}

// madePaths are the ids by which later requests may refer to what an answer made.
var madePaths = map[Made][]string{
	MadeItem:      {"output[].id", "item.id", "response.output[].id"},
	MadeContainer: {"output[].container_id", "item.container_id", "response.output[].container_id", "output[].environment.container_id", "item.environment.container_id", "response.output[].environment.container_id"},
	MadeAudio:     {"choices[].message.audio.id", "choices[].delta.audio.id"},
	MadeListed:    {"data[].id"},
	MadeFile: {
		"output_file_id", "error_file_id", "file.id", "result_files[]",
		// A message of a thread, alone, in a list, and in the events of a stream; a step of a run in the same places.
		"content[].image_file.file_id", "content[].text.annotations[].file_path.file_id",
		"data[].content[].image_file.file_id", "data[].content[].text.annotations[].file_path.file_id",
		"delta.content[].image_file.file_id", "delta.content[].text.annotations[].file_path.file_id",
		"step_details.tool_calls[].code_interpreter.outputs[].image.file_id",
		"data[].step_details.tool_calls[].code_interpreter.outputs[].image.file_id",
		"delta.step_details.tool_calls[].code_interpreter.outputs[].image.file_id",
	},
	MadeModel:       {"fine_tuned_model", "data[].fine_tuned_model_checkpoint"},
	MadeThread:      {"thread_id"},
	MadeStore:       {"tool_resources.file_search.vector_store_ids[]"},
	MadeCited:       {"output[].content[].annotations[].file_id", "item.content[].annotations[].file_id", "response.output[].content[].annotations[].file_id", "annotation.file_id"},
	MadeSession:     {"session_id", "session.id"},
	MadeEnvironment: {"environment.id", "environment.environment_id", "session.environment.id", "session.environment.environment_id"},
}
