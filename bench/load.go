package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// loadResult is what a load measured in its window; it prints it as JSON.
type loadResult struct {
	Done    int64         // requests, or chunks of streams
	Failed  int64         // requests that were not answered with 200, and connections that broke
	CPU     time.Duration // of the watched processes
	Median  time.Duration // of a request
	Example string        // of a failure
}

// loader is one run of load: connections that each send the same requests in turn, again and again.
type loader struct {
	address  string
	requests [][]byte // alike but for their keys
	rate     int      // requests a second over all connections; 0: as many as there is time for
	chunks   bool
	done     atomic.Int64
	failed   atomic.Int64
	example  atomic.Pointer[string]

	mu    sync.Mutex
	times []time.Duration // guarded by mu
	timed atomic.Bool     // the window is open
}

func load(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("load", flag.ExitOnError)
	l := &loader{}
	f.StringVar(&l.address, "address", "", "where to")
	f.IntVar(&l.rate, "rate", 0, "requests a second; 0: saturate")
	conns := f.Int("connections", 32, "connections")
	credential := f.String("credential", "", "value of the header Authorization")
	credentials := f.String("credentials", "", "file of such values, one a line, that requests use in turn")
	model := f.String("model", "gpt-4o", "model asked for")
	size := f.Int("size", 2048, "bytes of the body")
	window := f.Duration("window", 3*time.Second, "what is measured, after a warm-up")
	warm := f.Duration("warm", time.Second, "the warm-up")
	watch := f.String("watch", "", "processes whose CPU is measured, comma-separated")
	stream := f.Bool("stream", false, "ask for streams; chunks are counted")
	hold := f.Bool("hold", false, "open streams, print a line, and keep them until stdin ends")
	if err := f.Parse(args); err != nil {
		return err
	}
	l.chunks = *stream || *hold
	values := []string{*credential}
	if *credentials != "" {
		text, err := os.ReadFile(*credentials)
		if err != nil {
			return err
		}
		values = strings.Split(strings.TrimSpace(string(text)), "\n")
	}
	for _, value := range values {
		l.requests = append(l.requests, request(l.address, value, *model, *size, l.chunks, *hold))
	}
	if *hold {
		return l.hold(*conns)
	}
	var pids []int
	for text := range strings.SplitSeq(*watch, ",") {
		if pid, err := strconv.Atoi(text); err == nil {
			pids = append(pids, pid)
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var running sync.WaitGroup
	for i := range *conns {
		running.Go(func() { l.run(ctx, i, *conns) }) // ends with ctx
	}
	time.Sleep(*warm)
	before, err := cpuOf(pids)
	if err != nil && *watch != "" {
		return err
	}
	done, failed := l.done.Load(), l.failed.Load()
	l.timed.Store(true)
	time.Sleep(*window)
	l.timed.Store(false)
	r := loadResult{Done: l.done.Load() - done, Failed: l.failed.Load() - failed}
	if *watch != "" {
		after, err := cpuOf(pids)
		if err != nil {
			return err
		}
		r.CPU = after - before
	}
	cancel()
	running.Wait()
	if len(l.times) > 0 {
		slices.Sort(l.times)
		r.Median = l.times[len(l.times)/2]
	}
	if e := l.example.Load(); e != nil {
		r.Example = *e
	}
	return json.NewEncoder(os.Stdout).Encode(r)
}

// request returns a chat request as an official SDK sends it, with a body of size bytes.
func request(host, credential, model string, size int, stream, hold bool) []byte {
	start := `{"model":"` + model + `",`
	if hold {
		start += `"metadata":{"hold":true},`
	}
	if stream {
		start += `"stream":true,`
	}
	start = strings.Replace(start, `"metadata":{"hold":true}`, `"hold":true`, 1)
	start += `"max_tokens":256,"temperature":0.7,"messages":[{"role":"system","content":"You are a careful assistant."},{"role":"user","content":"`
	const end = `"}]}`
	body := []byte(start)
	const words = "Explain in plain words how the keeper of a gate knows whom to let in, and why. "
	for len(body)+len(end) < size {
		body = append(body, words[:min(len(words), size-len(body)-len(end))]...)
	}
	body = append(body, end...)
	return append(fmt.Appendf(nil, "POST /v1/chat/completions HTTP/1.1\r\nHost: %s\r\nAccept: application/json\r\nContent-Type: application/json\r\n"+
		"User-Agent: OpenAI/Python 1.99.1\r\nX-Stainless-Lang: python\r\nX-Stainless-Package-Version: 1.99.1\r\nX-Stainless-OS: Linux\r\nX-Stainless-Arch: x64\r\n"+
		"X-Stainless-Runtime: CPython\r\nX-Stainless-Runtime-Version: 3.12.4\r\nX-Stainless-Retry-Count: 0\r\nAuthorization: %s\r\nContent-Length: %d\r\n\r\n",
		host, credential, len(body)), body...)
}

// run sends requests on one connection, and on a new one after each failure.
func (l *loader) run(ctx context.Context, i, of int) {
	var every time.Duration
	next := time.Now()
	if l.rate > 0 {
		every = time.Second * time.Duration(of) / time.Duration(l.rate)
		next = next.Add(every * time.Duration(i) / time.Duration(of))
	}
	turn := i * len(l.requests) / of
	for ctx.Err() == nil {
		c, err := net.DialTimeout("tcp", l.address, 5*time.Second)
		if err != nil {
			l.fail(err)
			time.Sleep(100 * time.Millisecond)
			continue
		}
		stop := context.AfterFunc(ctx, func() { _ = c.Close() }) // frees a read
		r := bufio.NewReaderSize(c, 16<<10)
		for ctx.Err() == nil {
			if every > 0 {
				time.Sleep(time.Until(next))
				next = next.Add(every)
			}
			began := time.Now()
			turn = (turn + 1) % len(l.requests)
			if _, err = c.Write(l.requests[turn]); err == nil {
				err = l.answer(r)
			}
			if err != nil {
				break
			}
			if l.timed.Load() && l.done.Load()%8 == 0 {
				l.mu.Lock()
				l.times = append(l.times, time.Since(began))
				l.mu.Unlock()
			}
		}
		if err != nil && ctx.Err() == nil {
			l.fail(err)
		}
		stop()
		_ = c.Close()
	}
}

func (l *loader) fail(err error) {
	l.failed.Add(1)
	text := err.Error()
	l.example.CompareAndSwap(nil, &text)
}

// answer reads one answer and counts it; of a stream it counts the chunks, until the stream ends.
func (l *loader) answer(r *bufio.Reader) error {
	status, length, chunked, err := head(r)
	if err != nil {
		return err
	}
	if status != 200 {
		text, _ := r.Peek(min(length, 300)) // what there is of it
		return fmt.Errorf("status %d: %s", status, text)
	}
	if !chunked {
		if _, err := r.Discard(length); err != nil {
			return err
		}
		l.done.Add(1)
		return nil
	}
	for {
		if _, err := r.Peek(1); err != nil {
			return err
		}
		b, _ := r.Peek(r.Buffered()) // what is there
		l.done.Add(int64(bytes.Count(b, []byte("data: "))))
		if _, err := r.Discard(len(b)); err != nil {
			return err
		}
	}
}

func head(r *bufio.Reader) (status, length int, chunked bool, err error) {
	for first := true; ; first = false {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return 0, 0, false, err
		}
		if first {
			if len(line) < 12 {
				return 0, 0, false, errors.New("no answer")
			}
			status, _ = strconv.Atoi(string(line[9:12])) // 0 is no status that is asked for
			continue
		}
		if len(line) <= 2 {
			return status, length, chunked, nil
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		switch {
		case bytes.EqualFold(name, []byte("content-length")):
			length, _ = strconv.Atoi(string(bytes.TrimSpace(value))) // then the next line will make no sense
		case bytes.EqualFold(name, []byte("transfer-encoding")):
			chunked = true
		}
	}
}

// hold opens streams, says so once each has its first event, and keeps them until stdin ends.
func (l *loader) hold(conns int) error {
	open := make([]net.Conn, 0, conns)
	for range conns {
		c, err := net.DialTimeout("tcp", l.address, 5*time.Second)
		if err != nil {
			return err
		}
		open = append(open, c)
		if _, err := c.Write(l.requests[0]); err != nil {
			return err
		}
		r := bufio.NewReaderSize(c, 1<<10)
		if status, _, _, err := head(r); err != nil || status != 200 {
			return fmt.Errorf("stream %d: status %d: %w", len(open), status, err)
		}
		if _, err := r.Peek(100); err != nil {
			return fmt.Errorf("stream %d: %w", len(open), err)
		}
	}
	fmt.Println("open")
	_, _ = os.Stdin.Read(make([]byte, 1)) // ends when the driver closes it
	for _, c := range open {
		_ = c.Close()
	}
	return nil
}
