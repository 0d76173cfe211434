package websocket_test

// The manual's sentences as programs: they run, and what they print is checked.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/seed26cb4e35/websocket"
)

// serve starts a server on a port of its own, and returns its URL and what ends it.
func serve(h http.Handler) (url string, end func()) {
	hs := httptest.NewServer(h)
	return "ws" + strings.TrimPrefix(hs.URL, "http"), hs.Close
}

// echo is a Server.Handle that sends back what it gets.
func echo(c *websocket.Conn, r *http.Request) error {
	for msg, err := range c.Messages(r.Context()) {
		if err != nil {
			return err
		}
		if err := c.Write(r.Context(), msg.Type, msg.Data); err != nil {
			return err
		}
	}
	return nil
}

func Example() {
	url, end := serve(&websocket.Server{Handle: echo})
	defer end()

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, _, err := websocket.Dial(ctx, url, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer c.CloseNow()
	if err := c.Write(ctx, websocket.Text, []byte("Hello, 世界")); err != nil {
		log.Fatal(err)
	}
	typ, data, err := c.Read(ctx)
	fmt.Println(typ == websocket.Text, string(data), err)
	fmt.Println(c.Close(websocket.StatusNormalClosure, "bye"))
	// Output:
	// true Hello, 世界 <nil>
	// <nil>
}

// A handler of one's own, without a Server: the connection outlives nothing but its
// Close, so the handler stays until the end.
func ExampleAccept() {
	url, end := serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, &websocket.Options{Subprotocols: []string{"greeting"}})
		if err != nil {
			return // the request was answered
		}
		defer c.CloseNow()
		if err := c.Write(c.Context(), websocket.Text, []byte("Guten Tag")); err != nil {
			return
		}
		_ = c.Close(websocket.StatusNormalClosure, "that was all")
	}))
	defer end()

	c, _, err := websocket.Dial(context.Background(), url, &websocket.Options{Subprotocols: []string{"greeting"}})
	if err != nil {
		log.Fatal(err)
	}
	defer c.CloseNow()
	for {
		_, data, err := c.Read(context.Background())
		var closed *websocket.CloseError
		switch {
		case err == nil:
			fmt.Println(c.Subprotocol()+":", string(data))
			continue
		case errors.As(err, &closed):
			fmt.Println(closed.Code, closed.Reason)
		default:
			fmt.Println(err)
		}
		return
	}
	// Output:
	// greeting: Guten Tag
	// 1000 that was all
}

// In event mode no goroutine waits for an idle connection. Message may write as any
// other code may; its Data is valid until it returns.
func ExampleServer_events() {
	s := &websocket.Server{
		Open: func(c *websocket.Conn, r *http.Request) error { c.SetValue(r.URL.Query().Get("name")); return nil },
		Message: func(c *websocket.Conn, msg websocket.Message) error {
			answer := fmt.Sprintf("%s said %s", c.Value(), msg.Data)
			return c.Write(c.Context(), websocket.Text, []byte(answer))
		},
	}
	url, end := serve(s)
	defer end()

	c, _, err := websocket.Dial(context.Background(), url+"?name=Ada", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer c.CloseNow()
	_ = c.Write(context.Background(), websocket.Text, []byte("hello"))
	_, data, _ := c.Read(context.Background())
	fmt.Printf("%s\n", data)
	// Output: Ada said hello
}

// One message to all: it is framed once. Whoever does not keep up is dropped, and
// nobody waits for them.
func ExampleServer_Broadcast() {
	arrived := make(chan struct{})
	s := &websocket.Server{
		Open:   func(*websocket.Conn, *http.Request) error { arrived <- struct{}{}; return nil }, // it gets what is broadcast
		Handle: echo,
	}
	url, end := serve(s)
	defer end()
	var clients []*websocket.Conn
	for range 3 {
		c, _, err := websocket.Dial(context.Background(), url, nil)
		if err != nil {
			log.Fatal(err)
		}
		defer c.CloseNow()
		clients = append(clients, c)
		<-arrived
	}

	news, err := websocket.Prepare(websocket.Text, []byte("applause"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("slow:", s.Broadcast(news))
	for _, c := range clients {
		_, data, err := c.Read(context.Background())
		fmt.Println(string(data), err)
	}
	// Output:
	// slow: 0
	// applause <nil>
	// applause <nil>
	// applause <nil>
}

// A room is a set of connections that the application keeps under a lock of its own.
func ExampleBroadcast() {
	var (
		mu   sync.Mutex
		room = make(map[*websocket.Conn]bool)
	)
	s := &websocket.Server{
		Handle: func(c *websocket.Conn, r *http.Request) error {
			mu.Lock()
			room[c] = true
			mu.Unlock()
			for msg, err := range c.Messages(r.Context()) {
				if err != nil {
					return err
				}
				p, err := websocket.Prepare(msg.Type, msg.Data)
				if err != nil {
					return err
				}
				mu.Lock() // Broadcast waits for no peer
				websocket.Broadcast(p, maps.Keys(room))
				mu.Unlock()
			}
			return nil
		},
		Closed: func(c *websocket.Conn, err error) {
			mu.Lock()
			delete(room, c)
			mu.Unlock()
		},
	}
	url, end := serve(s)
	defer end()

	c, _, err := websocket.Dial(context.Background(), url, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer c.CloseNow()
	if err := c.Write(context.Background(), websocket.Text, []byte("Hello, room")); err != nil {
		log.Fatal(err)
	}
	_, data, err := c.Read(context.Background())
	fmt.Println(string(data), err)
	// Output:
	// Hello, room <nil>
}

// Shutdown tells everybody 1001 and waits for their answers. Call it before that of
// http.Server, which knows nothing of these connections.
func ExampleServer_Shutdown() {
	s := &websocket.Server{Handle: echo}
	url, end := serve(s)
	defer end()
	c, _, err := websocket.Dial(context.Background(), url, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer c.CloseNow()

	down := make(chan error)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		down <- s.Shutdown(ctx)
	}()
	_, _, err = c.Read(context.Background())
	fmt.Println(websocket.CloseStatus(err) == websocket.StatusGoingAway, <-down)
	// Output: true <nil>
}

// A read can be tried for a while and tried again: no octet is lost.
func ExampleConn_Read() {
	url, end := serve(&websocket.Server{Handle: echo})
	defer end()
	c, _, err := websocket.Dial(context.Background(), url, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer c.CloseNow()

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	_, _, err = c.Read(ctx)
	cancel()
	fmt.Println(errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, net.ErrClosed))
	_ = c.Write(context.Background(), websocket.Text, []byte("now"))
	_, data, err := c.Read(context.Background())
	fmt.Println(string(data), err)
	// Output:
	// true
	// now <nil>
}

// Long messages need not be in memory: both ways they can be streams.
func ExampleConn_Writer() {
	url, end := serve(&websocket.Server{Handle: echo})
	defer end()
	ctx := context.Background()
	c, _, err := websocket.Dial(ctx, url, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer c.CloseNow()

	w, err := c.Writer(ctx, websocket.Text)
	if err != nil {
		log.Fatal(err)
	}
	if _, err := io.Copy(w, strings.NewReader("one message in parts\n")); err != nil {
		log.Fatal(err)
	}
	if err := w.Close(); err != nil { // only now the message has an end
		log.Fatal(err)
	}
	_, r, err := c.Reader(ctx)
	if err != nil {
		log.Fatal(err)
	}
	if _, err := io.Copy(os.Stdout, r); err != nil {
		log.Fatal(err)
	}
	// Output: one message in parts
}

// NetConn carries protocols that want a stream of octets.
func ExampleNetConn() {
	near, far := net.Pipe()
	a := websocket.NetConn(websocket.NewServerConn(near, nil), websocket.Binary)
	b := websocket.NetConn(websocket.NewClientConn(far, nil), websocket.Binary)
	go func() {
		_, _ = io.WriteString(a, "octets ")
		_, _ = io.WriteString(a, "in order")
		_ = a.Close()
	}()
	all, err := io.ReadAll(b) // io.EOF, because the peer closed with 1000
	fmt.Println(string(all), err)
	_ = b.Close()
	// Output: octets in order <nil>
}

func ExampleConn_ReadJSON() {
	url, end := serve(&websocket.Server{Handle: echo})
	defer end()
	ctx := context.Background()
	c, _, err := websocket.Dial(ctx, url, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer c.CloseNow()

	type move struct {
		Player string `json:"player"`
		Sign   string `json:"sign"`
	}
	if err := c.WriteJSON(ctx, move{"Ada", "Schere"}); err != nil {
		log.Fatal(err)
	}
	var m move
	fmt.Println(c.ReadJSON(ctx, &m), m.Player, m.Sign)
	// Output: <nil> Ada Schere
}

// The example of RFC 6455 section 1.3.
func ExampleAcceptKey() {
	fmt.Println(websocket.AcceptKey("dGhlIHNhbXBsZSBub25jZQ=="))
	// Output: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=
}
