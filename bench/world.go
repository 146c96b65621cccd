package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"gatehouse/client"
)

// maxKeys is how many keys each proxy knows, as in the figures others are compared by.
const maxKeys = 1001

// world is everything that runs during a comparison: an upstream, and the proxies in front of it.
type world struct {
	dir      string
	plain    string // addresses of the upstream
	secure   string
	control  string
	keys     []string // what nginx's map holds
	children []*exec.Cmd
}

// proxy is one of the programs that are compared.
type proxy struct {
	name       string
	address    string // for the plain upstream
	tls        string // for the upstream behind TLS
	tlsModel   string // asked for there
	credential string
	keys       string // file of the credentials of all keys, one a line
	ops        string // where profiles are; "" where there are none
	pids       []int
	cmd        *exec.Cmd
}

func newWorld(dir string) (*world, error) {
	w := &world{dir: dir}
	var err error
	for _, address := range []*string{&w.plain, &w.secure, &w.control} {
		if *address, err = freeAddress(); err != nil {
			return nil, err
		}
	}
	if err := w.issue(); err != nil {
		return nil, err
	}
	for range maxKeys {
		w.keys = append(w.keys, "sk-bench-"+rand.Text())
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, "upstream", "-plain", w.plain, "-tls", w.secure, "-control", w.control, "-cert", w.path("upstream.pem"), "-key", w.path("upstream.key"))
	if _, err := cmd.StdinPipe(); err != nil { // ends it when this process ends
		return nil, err
	}
	if err := w.run(cmd, "upstream.log"); err != nil {
		return nil, err
	}
	return w, errors.Join(await(w.plain), await(w.secure), await(w.control))
}

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

// run starts a process that ends with the world, with its output in a file.
func (w *world) run(cmd *exec.Cmd, log string) error {
	f, err := os.Create(w.path(log))
	if err != nil {
		return err
	}
	cmd.Stdout, cmd.Stderr = f, f
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := errors.Join(cmd.Start(), f.Close()); err != nil {
		return err
	}
	w.children = append(w.children, cmd)
	return nil
}

// stop ends one process.
func (w *world) stop(cmd *exec.Cmd) {
	_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended by itself
	over := make(chan struct{})
	go func() { // ends with the process
		_ = cmd.Wait()
		close(over)
	}()
	select {
	case <-over:
	case <-time.After(10 * time.Second):
		_ = cmd.Process.Kill()
		<-over
	}
	for i, c := range w.children {
		if c == cmd {
			w.children = append(w.children[:i], w.children[i+1:]...)
			return
		}
	}
}

func (w *world) close() {
	for len(w.children) > 0 {
		w.stop(w.children[len(w.children)-1])
	}
}

// issue writes an authority and the upstream's certificate.
func (w *world) issue() error {
	now := time.Now()
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "bench"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), NotBefore: ca.NotBefore, NotAfter: ca.NotAfter, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		DNSNames: []string{"localhost"}, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	if err != nil {
		return err
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, ca, &key.PublicKey, caKey)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	write := func(name, kind string, der []byte) error {
		return os.WriteFile(w.path(name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
	}
	return errors.Join(write("ca.pem", "CERTIFICATE", caDER), write("upstream.pem", "CERTIFICATE", der), write("upstream.key", "PRIVATE KEY", private))
}

// nginx starts nginx as a plain reverse proxy that looks the key up in a map: one server for each upstream, connections kept.
func (w *world) nginx(workers int) (*proxy, error) {
	binary, err := exec.LookPath("nginx")
	if err != nil {
		return nil, errors.New("nginx is not installed, and without it there is nothing to compare with: install nginx (Debian: nginx-light) and run this again")
	}
	p := &proxy{name: "nginx", tlsModel: "gpt-4o", credential: "Bearer " + w.keys[maxKeys/2], keys: w.path("nginx.keys")}
	if err := writeCredentials(p.keys, w.keys); err != nil {
		return nil, err
	}
	for _, address := range []*string{&p.address, &p.tls} {
		if *address, err = freeAddress(); err != nil {
			return nil, err
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, `worker_processes %d;
worker_rlimit_nofile 20000;
daemon off;
pid %[2]s/nginx.pid;
error_log %[2]s/nginx-error.log error;
events { worker_connections 15000; }
http {
  access_log off;
  client_body_temp_path %[2]s/nginx-body;
  proxy_temp_path %[2]s/nginx-proxy;
  fastcgi_temp_path %[2]s/nginx-fastcgi;
  uwsgi_temp_path %[2]s/nginx-uwsgi;
  scgi_temp_path %[2]s/nginx-scgi;
  client_body_buffer_size 256k;
  client_max_body_size 64m;
  keepalive_requests 100000000;
  keepalive_timeout 600s;
  map_hash_max_size 8192;
  map_hash_bucket_size 128;
  map $http_authorization $known {
    default 0;
`, workers, w.dir)
	for _, key := range w.keys {
		fmt.Fprintf(&b, "    \"Bearer %s\" 1;\n", key)
	}
	fmt.Fprintf(&b, `  }
  upstream plain { server %s; keepalive 512; keepalive_requests 100000000; }
  upstream secure { server %s; keepalive 512; keepalive_requests 100000000; }
  proxy_http_version 1.1;
  proxy_set_header Connection "";
  proxy_buffering off;
  proxy_read_timeout 600s;
  proxy_ssl_trusted_certificate %s/ca.pem;
  proxy_ssl_verify on;
  proxy_ssl_name localhost;
  server { listen %s; location / { if ($known = 0) { return 401; } proxy_pass http://plain; } }
  server { listen %s; location / { if ($known = 0) { return 401; } proxy_pass https://secure; } }
}
`, w.plain, w.secure, w.dir, p.address, p.tls)
	if err := os.WriteFile(w.path("nginx.conf"), []byte(b.String()), 0o600); err != nil {
		return nil, err
	}
	p.cmd = exec.Command(binary, "-c", w.path("nginx.conf"), "-e", w.path("nginx-error.log"), "-p", w.dir)
	if err := w.run(p.cmd, "nginx.log"); err != nil {
		return nil, err
	}
	if err := errors.Join(await(p.address), await(p.tls)); err != nil {
		return nil, w.explain("nginx.log", err)
	}
	// The master does nothing; it listens before its workers are there.
	for deadline := time.Now().Add(20 * time.Second); len(p.pids) < workers; time.Sleep(10 * time.Millisecond) {
		if p.pids, err = childrenOf(p.cmd.Process.Pid); err != nil {
			return nil, err
		}
		if time.Now().After(deadline) {
			return nil, w.explain("nginx.log", fmt.Errorf("nginx has %d of %d workers", len(p.pids), workers))
		}
	}
	return p, nil
}

// explain adds the end of a log to an error.
func (w *world) explain(log string, err error) error {
	text, _ := os.ReadFile(w.path(log)) // what there is of it
	return fmt.Errorf("%w\n%s", err, text[max(0, len(text)-2000):])
}

// installation is a Gatehouse that was set up once and can be started again and again.
type installation struct {
	w      *world
	name   string
	binary string
	config string
	env    []string
	proxy  proxy
}

// moneyAndLimits binds every request by four hard budgets and five limits that a comparison does not reach. The project is the one
// that init makes.
const moneyAndLimits = `budgets:
- {name: all, amount: 1000000000, alerts: [50, 80, 100]}
- {name: project, scope: project, subject: default, amount: 1000000000}
- {name: load, scope: service_account, subject: default/load, amount: 1000000000, window: {period: day}}
- {name: ever, amount: 1000000000, window: {period: total}}
limits:
- {scope: organization, max_requests_per_1_day: 10000000000}
- {scope: project, subject: default, model: gpt-4o, max_requests_per_1_minute: 1000000000, max_tokens_per_1_minute: 20000000000}
- {scope: project, subject: default, model: secure, max_requests_per_1_minute: 1000000000, max_tokens_per_1_minute: 20000000000}
- {scope: project, subject: default, max_tokens_per_1_minute: 20000000000}
- {scope: service_account, subject: default/load, max_requests_per_1_minute: 1000000000}
`

// install sets up Gatehouse as production has it: SQLite, 1,001 keys, a deployment for each upstream, everything switched on: budgets
// and limits too.
func (w *world) install(ctx context.Context, name, binary string, access bool) (*installation, error) {
	i := &installation{w: w, name: name, binary: binary, config: w.path(name + ".yaml")}
	listen, err := freeAddress()
	if err != nil {
		return nil, err
	}
	ops, err := freeAddress()
	if err != nil {
		return nil, err
	}
	data := w.path(name + "-data")
	text := fmt.Sprintf("listen: %s\nops_listen: %s\ndata: %s\ndatabase: sqlite:%s/gatehouse.db\nkek: file://%s/kek\npepper: file://%s/pepper\nprivate_upstreams: [127.0.0.1, localhost]\nlog: {access: %v}\n",
		listen, ops, data, data, data, data, access)
	if err := errors.Join(os.MkdirAll(data, 0o700), os.WriteFile(i.config, []byte(text), 0o600)); err != nil {
		return nil, err
	}
	i.env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + w.dir, "SSL_CERT_FILE=" + w.path("ca.pem"), "BENCH_API_KEY=sk-upstream-0123456789abcdef0123456789abcdef"}
	for _, variable := range []string{"GOGC", "GOMEMLIMIT", "GODEBUG"} {
		if v, ok := os.LookupEnv(variable); ok {
			i.env = append(i.env, variable+"="+v)
		}
	}
	founding := exec.CommandContext(ctx, binary, "init", "--json", "--config", i.config)
	founding.Env = i.env
	var out, log bytes.Buffer
	founding.Stdout, founding.Stderr = &out, &log
	if err := founding.Run(); err != nil {
		return nil, fmt.Errorf("%s init: %w\n%s", binary, err, &log)
	}
	var founded struct {
		Project string `json:"project_id"`
		Admin   string `json:"admin_key"`
	}
	if err := json.Unmarshal(out.Bytes(), &founded); err != nil {
		return nil, fmt.Errorf("init: %w: %s", err, &out)
	}
	i.proxy = proxy{name: name, address: listen, tls: listen, tlsModel: "secure", ops: "http://" + ops}
	p, err := i.start()
	if err != nil {
		return nil, err
	}
	defer w.stop(p.cmd)
	c, err := client.New(client.Config{URL: "http://" + listen, AdminKey: founded.Admin})
	if err != nil {
		return nil, err
	}
	manifest := fmt.Sprintf(`upstreams:
- {name: plain, dialect: openai, base_url: "http://%s/v1", credential: {key: "env://BENCH_API_KEY"}, allow_private: true}
- {name: secure, dialect: openai, base_url: "https://localhost:%s/v1", credential: {key: "env://BENCH_API_KEY"}, allow_private: true}
deployments:
- {name: gpt-4o, routes: [{upstream: plain, model: gpt-4o}]}
- {name: secure, routes: [{upstream: secure, model: gpt-4o}]}
`, w.plain, w.secure[strings.LastIndexByte(w.secure, ':')+1:])
	if _, err := c.Apply(ctx, []byte(manifest), client.ApplyOptions{}); err != nil {
		return nil, fmt.Errorf("apply: %w", err)
	}
	account, err := c.CreateServiceAccount(ctx, founded.Project, client.ServiceAccountCreate{Name: "load"})
	if err != nil {
		return nil, err
	}
	if _, err := c.Apply(ctx, []byte(moneyAndLimits), client.ApplyOptions{}); err != nil {
		return nil, fmt.Errorf("apply budgets and limits: %w", err)
	}
	i.proxy.credential = "Bearer " + account.APIKey.Value
	keys := []string{account.APIKey.Value}
	for range maxKeys - 1 {
		key, err := c.CreateServiceAccountKey(ctx, founded.Project, account.ID, client.ServiceAccountKeyCreate{})
		if err != nil {
			return nil, err
		}
		keys = append(keys, key.Value)
	}
	i.proxy.keys = w.path(name + ".keys")
	return i, writeCredentials(i.proxy.keys, keys)
}

// writeCredentials writes keys as the values of the header Authorization, one a line.
func writeCredentials(path string, keys []string) error {
	var b strings.Builder
	for _, key := range keys {
		b.WriteString("Bearer " + key + "\n")
	}
	return os.WriteFile(path, []byte(b.String()), 0o600)
}

// start runs an installation and waits until it serves.
func (i *installation) start() (*proxy, error) {
	p := i.proxy
	p.cmd = exec.Command(i.binary, "serve", "--config", i.config)
	p.cmd.Env = i.env
	if err := i.w.run(p.cmd, i.name+".log"); err != nil {
		return nil, err
	}
	if err := awaitReady(p.ops); err != nil {
		return nil, i.w.explain(i.name+".log", err)
	}
	p.pids = []int{p.cmd.Process.Pid}
	return &p, nil
}

// awaitReady waits until a node says that it serves.
func awaitReady(ops string) error {
	for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		resp, err := http.Get(ops + "/readyz")
		if err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
			err = errors.New(resp.Status)
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("gatehouse does not serve: %w", err)
		}
	}
}

// load runs one load as a process of its own.
func (w *world) load(ctx context.Context, args ...string) (r loadResult, err error) {
	self, err := os.Executable()
	if err != nil {
		return r, err
	}
	cmd := exec.CommandContext(ctx, self, append([]string{"load"}, args...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return r, fmt.Errorf("load: %w", err)
	}
	err = json.Unmarshal(out, &r)
	return r, err
}

// holding is a process that keeps streams open.
type holding struct {
	cmd   *exec.Cmd
	stdin io.Closer
}

// hold opens streams and returns once each has its first event.
func (w *world) hold(p *proxy, n int) (*holding, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, "load", "-hold", "-address", p.address, "-credential", p.credential, "-connections", strconv.Itoa(n))
	cmd.Stderr = os.Stderr
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
	if _, err := stdout.Read(make([]byte, 8)); err != nil {
		return nil, errors.Join(fmt.Errorf("%d open streams: they did not open", n), cmd.Wait())
	}
	return &holding{cmd, stdin}, nil
}

// leave closes the streams at once, as callers do.
func (h *holding) leave() error { return errors.Join(h.stdin.Close(), h.cmd.Wait()) }

// streams returns how many streams the upstream has open.
func (w *world) streams() (int, error) {
	c, err := net.Dial("tcp", w.control)
	if err != nil {
		return 0, err
	}
	text, err := io.ReadAll(c)
	if err = errors.Join(err, c.Close()); err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(text)))
}

func freeAddress() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return ln.Addr().String(), ln.Close()
}

// await waits until somebody listens at an address.
func await(address string) error {
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		c, err := net.Dial("tcp", address)
		if err == nil {
			return c.Close()
		}
		if time.Now().After(deadline) {
			return err
		}
	}
}
