package conform

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/seed26cb4e35/websocket"
)

// This file holds what no case may find wrong and no mutable endpoint does.

// A server that takes its own origin alone, with its scheme (RFC 6454), is right.
func TestOwnOriginHasTheSchemeOfTheServer(t *testing.T) {
	t.Parallel()
	hs := httptest.NewTLSServer(&websocket.Server{
		Message: func(c *websocket.Conn, msg websocket.Message) error { return c.Write(c.Context(), msg.Type, msg.Data) },
		Options: websocket.Options{CheckOrigin: func(r *http.Request) bool {
			origin := r.Header.Get("Origin")
			return origin == "" || origin == "https://"+r.Host
		}},
	})
	defer hs.Close()
	url := strings.Replace(hs.URL, "https", "wss", 1) + "/"
	results, err := ExamineServer(t.Context(), url, Config{Match: func(c *Case) bool { return c.Section == "10.2" }})
	if err != nil || len(results) == 0 {
		t.Fatalf("%d results, %v", len(results), err)
	}
	for _, r := range results {
		if r.Verdict != Right {
			t.Errorf("%s finds it %v: %s", r.ID, r.Verdict, r.Why)
		}
	}
}

// At the default port the Host field may be without (section 4.1).
func TestHostMayLackTheDefaultPort(t *testing.T) {
	for _, row := range []struct {
		scheme, host, field string
		right               bool
	}{
		{"http", "127.0.0.1:80", "127.0.0.1", true},
		{"http", "127.0.0.1:80", "127.0.0.1:80", true},
		{"https", "127.0.0.1:443", "127.0.0.1", true},
		{"https", "127.0.0.1:80", "127.0.0.1", false},
		{"http", "127.0.0.1:8080", "127.0.0.1", false},
		{"http", "127.0.0.1:8080", "127.0.0.1:8081", false},
	} {
		for _, c := range Cases() {
			if c.ID != "4.1-host" {
				continue
			}
			o := opening{host: row.host, scheme: row.scheme, request: request.replaced("Host", "Host: "+row.field)}
			if why := c.steps[0].(asked).fault(&o); (why == "") != row.right {
				t.Errorf("%+v: %q", row, why)
			}
		}
	}
}

// A client may ask with an absolute URI (section 4.1).
func TestTargetMayBeAnAbsoluteURI(t *testing.T) {
	exam, err := Listen("127.0.0.1:0", nil, Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer exam.Close()
	addr := exam.ln.Addr().String()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET http://%s/case/4.1-response HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n", addr, addr)
	if line, _ := bufio.NewReader(conn).ReadString('\n'); !strings.HasPrefix(line, "HTTP/1.1 101") {
		t.Errorf("the answer is %q", line)
	}
}

// Who fails the connection with another code than fits does what section 7.1.7 has as SHOULD, also where nobody answers.
func TestAnotherCodeIsNotWrongWhereNobodyAnswers(t *testing.T) {
	t.Parallel()
	const id = "7.1.7-unanswered-client"
	told := examineMutable(t, "fails with 1000", Client, 20*time.Second, func(c *Case) bool { return c.ID == id })
	if r, has := told[id]; !has || r.Verdict != Tolerable {
		t.Errorf("told %v: %v %s", has, r.Verdict, r.Why)
	}
}
