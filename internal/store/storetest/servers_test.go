package storetest

import (
	"bufio"
	"net"
	"testing"
)

func TestRedis(t *testing.T) {
	first, second := Redis(t), Redis(t)
	if first == second {
		t.Errorf("two servers at %s", first)
	}
	for _, address := range []string{first, second} {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		if _, err := conn.Write([]byte("PING\r\n")); err != nil {
			t.Fatal(err)
		}
		if line, err := bufio.NewReader(conn).ReadString('\n'); line != "+PONG\r\n" {
			t.Errorf("%s answers %q, %v", address, line, err)
		}
	}
}

func TestPostgres(t *testing.T) {
	if first, second := Postgres(t), Postgres(t); first == second {
		t.Errorf("two tests share the database %s", first)
	}
}
