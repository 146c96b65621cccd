package server

import (
	"strings"
	"testing"
	"time"
)

// least is a configuration with what is required and nothing else.
const least = "data: /var/lib/gatehouse\ndatabase: sqlite:/var/lib/gatehouse/gatehouse.db\nkek: file:///etc/gatehouse/kek\npepper: file:///etc/gatehouse/pepper\n"

func TestConfigDurationsAndSizes(t *testing.T) {
	// Values in every position: before another key, before a comment, quoted, as a number, at the end.
	cfg, err := parseConfig([]byte("max_staleness: 3s\njournal_sync: 250ms # at most\ndrain: \"1m\"\nlimits: {body: 65536, memory: 64MiB, streams: 7}\n" + least))
	if err != nil {
		t.Fatal(err)
	}
	if time.Duration(cfg.MaxStaleness) != 3*time.Second || time.Duration(*cfg.JournalSync) != 250*time.Millisecond || time.Duration(cfg.Drain) != time.Minute {
		t.Errorf("durations: %v, %v, %v", time.Duration(cfg.MaxStaleness), time.Duration(*cfg.JournalSync), time.Duration(cfg.Drain))
	}
	if cfg.Limits != (Limits{Body: 65536, Memory: 64 << 20, Streams: 7}) {
		t.Errorf("limits: %+v", cfg.Limits)
	}
	cfg, err = parseConfig([]byte(least + "limits:\n  body: 1GiB\n  memory: \"2GiB\"\ndrain: 5s"))
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Limits.Body != 1<<30 || cfg.Limits.Memory != 2<<30 || time.Duration(cfg.Drain) != 5*time.Second {
		t.Errorf("limits: %+v, drain %v", cfg.Limits, time.Duration(cfg.Drain))
	}
}

func TestConfigRefusals(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"unknown key":        {least + "listn: 127.0.0.1:1\n", "listn"},
		"unknown inner key":  {least + "limits: {bodies: 1}\n", "bodies"},
		"unknown server":     {least + "http: {server: fast}\n", "http.server must be own or standard"},
		"key twice":          {least + "data: /elsewhere\n", "data"},
		"empty":              {"\n", "empty"},
		"no pepper":          {strings.Replace(least, "pepper", "# pepper", 1), "pepper is required"},
		"no kek":             {strings.Replace(least, "kek", "# kek", 1), "kek is required"},
		"pepper written out": {strings.Replace(least, "file:///etc/gatehouse/pepper", "c2VjcmV0", 1), "secret reference"},
		"no duration":        {least + "drain: soon\n", "not a duration"},
		"bare duration":      {least + "drain: 30\n", "not a duration"},
		"no size":            {least + "limits: {body: lots}\n", "not a size"},
		"negative size":      {least + "limits: {body: -1}\n", "not a size"},
		"size overflows":     {least + "limits: {body: 9000000000GiB}\n", "not a size"},
		"stale for too long": {least + "max_staleness: 2h\n", "max_staleness"},
		"beside a password":  {"valkey: redis://:c2VjcmV0@127.0.0.1\nlistn: 1\n" + least, "listn"},
		"half a TLS":         {least + "tls: {cert: /c.pem}\n", "tls"},
		"bad proxy":          {least + "trusted_proxies: [everyone]\n", "trusted_proxies"},
		"bad level":          {least + "log: {level: loud}\n", "log.level"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parseConfig([]byte(c.text))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error = %v, want one that says %q", err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), "c2VjcmV0") {
				t.Errorf("the error shows a secret: %v", err)
			}
		})
	}
}
