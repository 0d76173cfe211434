package main

// This file holds the greeting and the upload.

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/seed26cb4e35/websocket"
)

const (
	maxName   = 256     // octets of a message with a name
	maxUpload = 1 << 30 // octets of a message that is an upload
	patience  = time.Minute
)

// A hello is how long things take.
type hello struct {
	pause time.Duration // from the greeting to the end
	speed int           // octets a second that are read of an upload
}

func newServer(h *hello, opts websocket.Options) *websocket.Server {
	opts.Subprotocols = []string{"soap"}
	return &websocket.Server{Options: opts, Configure: configure, Handle: h.handle}
}

// configure allows for each path what belongs there: an upload is read as a stream, so its length costs no memory.
func configure(r *http.Request, o *websocket.Options) error {
	o.ReadLimit = maxName
	if isUpload(r) {
		o.ReadLimit = maxUpload
	}
	return nil
}

func isUpload(r *http.Request) bool { return r.URL.Query().Has("upload") }

func (h *hello) handle(c *websocket.Conn, r *http.Request) error {
	if isUpload(r) {
		return h.upload(c)
	}
	return h.greet(c)
}

// greet answers a name, waits, and closes.
func (h *hello) greet(c *websocket.Conn) error {
	name, err := readName(c)
	if err != nil {
		return err
	}
	greeting := fmt.Sprintf("Hallo vom Server, %s!", name)
	if err := c.Write(context.Background(), websocket.Text, []byte(greeting)); err != nil {
		return err
	}
	// Somebody has to read while we wait, or a Close of the client's would not be seen. A read whose context ends leaves the
	// connection as it was.
	pause, cancel := context.WithTimeout(context.Background(), h.pause)
	defer cancel()
	_, _, err = c.Read(pause)
	switch {
	case err == nil:
		return refuse("Ein Name genügt.")
	case pause.Err() != nil:
		return &websocket.CloseError{Code: websocket.StatusNormalClosure, Reason: "Bis zum nächsten Mal!"}
	}
	return err
}

// readName reads what is to be greeted.
func readName(c *websocket.Conn) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	typ, data, err := c.Read(ctx)
	switch {
	case ctx.Err() != nil && err != nil:
		return "", refuse("Niemand hat einen Namen genannt.")
	case err != nil:
		return "", err
	case typ != websocket.Text:
		return "", &websocket.CloseError{Code: websocket.StatusUnsupportedData, Reason: "Ein Name ist Text."}
	}
	name := strings.TrimSpace(string(data))
	if name == "" {
		return "", refuse("Ein Name ist nicht leer.")
	}
	return name, nil
}

func refuse(reason string) error {
	return &websocket.CloseError{Code: websocket.StatusPolicyViolation, Reason: reason}
}

// upload reads one message, slowly, and says how long it was. What it has not read yet waits in the buffers of the
// network, and when they are full, at the client: there it is bufferedAmount.
func (h *hello) upload(c *websocket.Conn) error {
	ctx := context.Background() // Shutdown ends c, which is enough
	_, r, err := c.Reader(ctx)
	if err != nil {
		return err
	}
	n, err := io.Copy(io.Discard, &slowReader{r: r, c: c, speed: h.speed})
	if err != nil {
		return err
	}
	if err := c.Write(ctx, websocket.Text, fmt.Appendf(nil, "%d Oktette sind angekommen.", n)); err != nil {
		return err
	}
	return &websocket.CloseError{Code: websocket.StatusNormalClosure, Reason: "Alles ist da."}
}

// A slowReader reads speed octets a second on average.
type slowReader struct {
	r     io.Reader
	c     *websocket.Conn
	speed int
	began time.Time // the first Read; zero before
	n     int64     // octets so far
}

func (s *slowReader) Read(p []byte) (int, error) {
	if s.began.IsZero() {
		s.began = time.Now()
	}
	due := time.Duration(float64(s.n) / float64(s.speed) * float64(time.Second))
	select {
	case <-time.After(time.Until(s.began.Add(due))):
	case <-s.c.Context().Done(): // then the Read says why
	}
	n, err := s.r.Read(p)
	s.n += int64(n)
	return n, err
}
