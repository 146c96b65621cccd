package dialect

import "gatehouse"

// begins are the operations whose answers begin work that outlives them. A response does so only in the background.
var begins = map[string]gatehouse.WorkKind{
	"responses.create":         gatehouse.WorkResponse,
	"threads.runs.create":      gatehouse.WorkRun,
	"threads.create_and_run":   gatehouse.WorkRun,
	"videos.create":            gatehouse.WorkVideo,
	"videos.edits.create":      gatehouse.WorkVideo,
	"videos.extensions.create": gatehouse.WorkVideo,
	"videos.remix":             gatehouse.WorkVideo,
	"fine_tuning.jobs.create":  gatehouse.WorkFineTuning,
	"batches.create":           gatehouse.WorkBatch,
}

// shows are the operations whose answers say how far such work is.
var shows = map[string]gatehouse.WorkKind{
	"responses.retrieve":               gatehouse.WorkResponse,
	"responses.cancel":                 gatehouse.WorkResponse,
	"threads.runs.retrieve":            gatehouse.WorkRun,
	"threads.runs.update":              gatehouse.WorkRun,
	"threads.runs.cancel":              gatehouse.WorkRun,
	"threads.runs.submit_tool_outputs": gatehouse.WorkRun, // of the run that exists, which counts once
	"videos.retrieve":                  gatehouse.WorkVideo,
	"fine_tuning.jobs.retrieve":        gatehouse.WorkFineTuning,
	"fine_tuning.jobs.cancel":          gatehouse.WorkFineTuning,
	"fine_tuning.jobs.pause":           gatehouse.WorkFineTuning,
	"fine_tuning.jobs.resume":          gatehouse.WorkFineTuning,
	"batches.retrieve":                 gatehouse.WorkBatch,
	"batches.cancel":                   gatehouse.WorkBatch,
}

// workMeters are what work counts in where the answer that begins it counts nothing. A batch counts in what its lines call.
var workMeters = map[gatehouse.WorkKind]string{
	gatehouse.WorkVideo:      "videos",
	gatehouse.WorkFineTuning: "fine_tuning",
	gatehouse.WorkBatch:      "batches",
}

// readWork fills in what an operation begins and shows.
func (o *Op) readWork() {
	o.Begins, o.Shows = begins[o.Name], shows[o.Name]
	if o.Meter == "" {
		o.Meter = workMeters[o.Begins]
	}
	o.BatchInput = o.Name == "files.create"
}
