// Package storetest owns what tests of storage need: the suite that every engine must pass, and real PostgreSQL and Redis servers
// that the tests start themselves, on loopback and in temporary folders. It is for tests only and no part of the program.
package storetest

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib" // creates the databases
)

// RequireEnv is the environment variable that turns a missing server from a skipped test into a failed one when it is "1".
const RequireEnv = "GATEHOUSE_TEST_REQUIRE"

var postgres struct {
	once      sync.Once
	url       string // of a server, without a database's name
	err       error
	databases atomic.Int64
}

// errMissing is the error for a server that is not installed.
var errMissing = errors.New("not installed")

// Postgres returns the URL of a new, empty database on a PostgreSQL server that is started on the first call and ends with the
// test binary. Without PostgreSQL (initdb and pg_ctl in PATH or in /usr/lib/postgresql) the test is skipped, or fails when
// GATEHOUSE_TEST_REQUIRE=1. The server does not sync to disk: what it promises about power loss is not what we test.
func Postgres(tb testing.TB) string {
	tb.Helper()
	postgres.once.Do(func() { postgres.url, _, postgres.err = startPostgres() })
	if postgres.err != nil {
		missing(tb, "PostgreSQL", postgres.err)
	}
	name := fmt.Sprintf("test_%d", postgres.databases.Add(1))
	if err := createDatabase(tb.Context(), name); err != nil {
		tb.Fatalf("create database %s: %v", name, err)
	}
	return postgres.url + "/" + name
}

// createDatabase makes a database whose default order is a language's, not that of bytes, where the server can: so that a column
// without a collation of its own shows.
func createDatabase(ctx context.Context, name string) error {
	db, err := sql.Open("pgx", postgres.url+"/postgres")
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }() // the server outlives it
	_, err = db.ExecContext(ctx, "CREATE DATABASE "+name+" TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en'")
	if err != nil {
		_, err = db.ExecContext(ctx, "CREATE DATABASE "+name)
	}
	return err
}

// missing skips or fails a test for want of a server.
func missing(tb testing.TB, server string, err error) {
	tb.Helper()
	if os.Getenv(RequireEnv) == "1" || !errors.Is(err, errMissing) {
		tb.Fatalf("%s: %v", server, err)
	}
	tb.Skipf("%s is %v: this test is left out; install it, or set %s=1 to make this an error", server, err, RequireEnv)
}

// postgresScript runs a server until its input ends, which it does when the process that holds the other end is gone, however it
// went: no server outlives its tests.
const postgresScript = `
initdb=$1 pg_ctl=$2 dir=$3 port=$4
start() {
	"$pg_ctl" -D "$dir/data" -l "$dir/log" -w -t 60 -o "-c listen_addresses=127.0.0.1 -c port=$port -c unix_socket_directories='' -c fsync=off -c full_page_writes=off -c max_connections=200 -c log_min_messages=fatal" start >>"$dir/log" 2>&1
}
stop() { "$pg_ctl" -D "$dir/data" -m immediate -w stop >>"$dir/log" 2>&1; }
"$initdb" -D "$dir/data" -U gatehouse -A trust -E UTF8 --locale=C --no-sync >"$dir/log" 2>&1 && start || exit 1
echo ready
while read -r command; do
	$command && echo ready || echo "$command: $?"
done
stop
rm -rf "$dir"
`

// PostgresServer is a PostgreSQL server of one test's own, which the test may stop and start again.
type PostgresServer struct {
	URL string // of an empty database

	tb      testing.TB
	process *process
}

// OwnPostgres starts a server for one test; it ends with the test binary. Without PostgreSQL it does as Postgres does.
func OwnPostgres(tb testing.TB) *PostgresServer {
	tb.Helper()
	server, p, err := startPostgres()
	if err != nil {
		missing(tb, "PostgreSQL", err)
	}
	return &PostgresServer{URL: server + "/postgres", tb: tb, process: p}
}

// Stop ends the server as a crash would: connections break, nothing is flushed.
func (s *PostgresServer) Stop() { s.tb.Helper(); s.command("stop") }

// Start starts the server again on the same data and port, and returns when it accepts connections.
func (s *PostgresServer) Start() { s.tb.Helper(); s.command("start") }

func (s *PostgresServer) command(name string) {
	s.tb.Helper()
	if _, err := io.WriteString(s.process.in, name+"\n"); err != nil {
		s.tb.Fatalf("%s PostgreSQL: %v", name, err)
	}
	if line, err := s.process.out.ReadString('\n'); err != nil || line != "ready\n" {
		s.tb.Fatalf("%s PostgreSQL: %q, %v", name, line, err)
	}
}

func startPostgres() (url string, p *process, err error) {
	initdb, pgCtl := findPostgres("initdb"), findPostgres("pg_ctl")
	if initdb == "" || pgCtl == "" {
		return "", nil, errMissing
	}
	// Another program may take the port between our look and the server's start.
	for range 3 {
		var port int
		if port, err = freePort(); err != nil {
			return "", nil, err
		}
		if p, err = startServer("postgres", postgresScript, initdb, pgCtl, "$dir", strconv.Itoa(port)); err == nil {
			return fmt.Sprintf("postgres://gatehouse@127.0.0.1:%d", port), p, nil
		}
	}
	return "", nil, err
}

// findPostgres returns the path of one of PostgreSQL's programs, the newest installed where it is not in PATH, or "".
func findPostgres(name string) string {
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name) // the pattern is well-formed
	if len(found) == 0 {
		return ""
	}
	return found[len(found)-1]
}

const redisScript = `
server=$1 dir=$2 port=$3
"$server" --bind 127.0.0.1 --port "$port" --dir "$dir" --save '' --appendonly no --daemonize no >"$dir/log" 2>&1 &
pid=$!
until grep -q 'Ready to accept connections' "$dir/log" 2>/dev/null; do
	kill -0 $pid 2>/dev/null || exit 1
	sleep 0.02
done
echo ready
read -r _
kill -KILL $pid
wait
rm -rf "$dir"
`

// Redis starts a Redis or Valkey server for one test and returns its address. It ends with the test binary. Without one in PATH
// the test is skipped, or fails when GATEHOUSE_TEST_REQUIRE=1.
func Redis(tb testing.TB) string {
	tb.Helper()
	server, err := exec.LookPath("valkey-server")
	if err != nil {
		if server, err = exec.LookPath("redis-server"); err != nil {
			missing(tb, "Redis", errMissing)
		}
	}
	for range 3 {
		var port int
		if port, err = freePort(); err != nil {
			tb.Fatal(err)
		}
		if _, err = startServer("redis", redisScript, server, "$dir", strconv.Itoa(port)); err == nil {
			return fmt.Sprintf("127.0.0.1:%d", port)
		}
	}
	tb.Fatalf("Redis: %v", err)
	return ""
}

// process is a script that runs a server: it ends when its input does.
type process struct {
	in  io.WriteCloser
	out *bufio.Reader
}

// held keeps the ends of the servers' pipes: a collected file is a closed one.
var held struct {
	mu        sync.Mutex
	processes []*process
}

// startServer runs a script in a folder of its own, for which "$dir" in args stands, and returns when the script says that the
// server is ready. PostgreSQL does not run as root, so as root the script runs as the user postgres, or nobody.
func startServer(name, script string, args ...string) (*process, error) {
	dir, err := os.MkdirTemp("", "gatehouse-"+name+"-")
	if err != nil {
		return nil, err
	}
	for i := range args {
		if args[i] == "$dir" {
			args[i] = dir
		}
	}
	cmd := exec.Command("sh", append([]string{"-c", script, name}, args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C", "TZ=America/St_Johns") // neither language nor zone may matter
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}              // an interrupt from the terminal is for the tests
	if os.Geteuid() == 0 {
		uid, gid, err := unprivileged()
		if err != nil {
			return nil, err
		}
		if err := os.Chown(dir, int(uid), int(gid)); err != nil {
			return nil, err
		}
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uid, Gid: gid}
	}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{stdin, bufio.NewReader(stdout)}
	if line, _ := p.out.ReadString('\n'); line != "ready\n" {
		_ = stdin.Close()
		err := cmd.Wait()
		log, _ := os.ReadFile(filepath.Join(dir, "log")) // says why, where there is one
		_ = os.RemoveAll(dir)
		return nil, fmt.Errorf("%s did not start: %v\n%s", name, err, log)
	}
	held.mu.Lock()
	defer held.mu.Unlock()
	held.processes = append(held.processes, p)
	return p, nil
}

// unprivileged returns a user that is not root.
func unprivileged() (uid, gid uint32, err error) {
	for _, name := range []string{"postgres", "nobody"} {
		u, lookupErr := user.Lookup(name)
		if lookupErr != nil {
			err = lookupErr
			continue
		}
		id, err := strconv.ParseUint(u.Uid, 10, 32)
		if err != nil {
			return 0, 0, err
		}
		group, err := strconv.ParseUint(u.Gid, 10, 32)
		if err != nil {
			return 0, 0, err
		}
		return uint32(id), uint32(group), nil
	}
	return 0, 0, err
}

// freePort returns a port of 127.0.0.1 that nobody listens on at the moment.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer func() { _ = l.Close() }() // it has served its purpose
	return l.Addr().(*net.TCPAddr).Port, nil
}
