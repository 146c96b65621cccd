package gatehouse

import (
	"fmt"
	"time"
)

// RouteState is whether requests are sent along a route.
type RouteState string

// The states of a route. Open and half-open are its upstream's circuit: while it is open nothing is sent there, while it is
// half-open single requests find out whether it answers again. An ejected or throttled route is used when no other is left.
const (
	RouteClosed    RouteState = "closed"
	RouteOpen      RouteState = "open"
	RouteHalfOpen  RouteState = "half-open"
	RouteEjected   RouteState = "ejected"   // far worse than its peers
	RouteThrottled RouteState = "throttled" // it answered 429
)

// RouteHealth is what one node knows of an upstream's circuit, or of one route of a deployment.
type RouteHealth struct {
	Deployment string     `json:"deployment,omitempty"` // id; empty: the circuit of the upstream, which all its routes share
	Upstream   string     `json:"upstream"`             // id
	Model      string     `json:"model,omitempty"`      // as the route declares it
	State      RouteState `json:"state"`
	Reason     string     `json:"reason,omitempty"` // one of a closed set, e.g. "failures_in_a_row"; empty when closed
	Why        string     `json:"why,omitempty"`    // the same for people, with numbers
	Since      Millis     `json:"since,omitempty"`
	Until      Millis     `json:"until,omitempty"`    // when it is tried again
	Requests   int64      `json:"requests,omitempty"` // lately: of a circuit in 10 s, of a route the last 32 within a minute
	Failures   int64      `json:"failures,omitempty"` // of Requests
	// FirstByteMillis is the median time to the first byte of Requests that were served; of a circuit it is 0.
	FirstByteMillis int64 `json:"first_byte_ms,omitempty"`
}

// NodeHealth is what a node last said about the routes it uses: those that are not closed, and those it has used lately.
type NodeHealth struct {
	Node    string        // its name
	Process string        // new with every start
	At      Millis        // when it said so
	Routes  []RouteHealth // circuits before routes
}

// Timeouts bound the parts of one attempt at an upstream; 0 leaves a part to whatever declares the same less precisely.
type Timeouts struct {
	ConnectMillis   int64 `json:"connect_ms,omitempty"`    // name lookup, connection and TLS
	FirstByteMillis int64 `json:"first_byte_ms,omitempty"` // from the last byte sent to the head of the answer
	IdleMillis      int64 `json:"idle_ms,omitempty"`       // between two pieces of an answer
	TotalMillis     int64 `json:"total_ms,omitempty"`      // from the connection to the last byte of the answer
}

// Or returns t, with what it leaves open taken from less.
func (t Timeouts) Or(less Timeouts) Timeouts {
	for i, n := range less.parts() {
		if own := t.parts()[i]; *own == 0 {
			*own = *n
		}
	}
	return t
}

func (t *Timeouts) parts() [4]*int64 {
	return [...]*int64{&t.ConnectMillis, &t.FirstByteMillis, &t.IdleMillis, &t.TotalMillis}
}

// TimeoutSpec is Timeouts as they are written down: durations such as "30s"; empty leaves a part open.
type TimeoutSpec struct {
	Connect   string `json:"connect,omitempty" yaml:"connect"`
	FirstByte string `json:"first_byte,omitempty" yaml:"first_byte"`
	Idle      string `json:"idle,omitempty" yaml:"idle"`
	Total     string `json:"total,omitempty" yaml:"total"`
}

func (s *TimeoutSpec) parts() [4]*string {
	return [...]*string{&s.Connect, &s.FirstByte, &s.Idle, &s.Total}
}

var timeoutNames = [4]string{"connect", "first_byte", "idle", "total"}

// The bounds of a timeout.
const (
	minTimeout = 10 * time.Millisecond
	maxTimeout = 24 * time.Hour
)

// Timeouts reads what is written down. Its error names the part.
func (s TimeoutSpec) Timeouts() (Timeouts, error) {
	var t Timeouts
	for i, text := range s.parts() {
		if *text == "" {
			continue
		}
		d, err := time.ParseDuration(*text)
		if err != nil || d < minTimeout || d > maxTimeout {
			return Timeouts{}, InvalidParam("timeouts."+timeoutNames[i], "Invalid 'timeouts.%s': %q is not a duration between %s and 24h, such as 30s or 2m.", timeoutNames[i], *text, minTimeout)
		}
		*t.parts()[i] = d.Milliseconds()
	}
	return t, nil
}

// Spec writes t down.
func (t Timeouts) Spec() (s TimeoutSpec) {
	for i, n := range t.parts() {
		if *n != 0 {
			*s.parts()[i] = shortDuration(time.Duration(*n) * time.Millisecond)
		}
	}
	return s
}

// shortDuration writes a duration in its largest whole unit: 10m, not 10m0s.
func shortDuration(d time.Duration) string {
	for _, unit := range []struct {
		d    time.Duration
		name string
	}{{time.Hour, "h"}, {time.Minute, "m"}, {time.Second, "s"}} {
		if d%unit.d == 0 {
			return fmt.Sprintf("%d%s", d/unit.d, unit.name)
		}
	}
	return d.String()
}
