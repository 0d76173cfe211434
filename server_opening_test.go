package websocket

// This file holds the end of a server while a connection is being opened.

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
)

// A program ends when Shutdown returns, and then every client that got its 101 has to have its Close frame.
func TestShutdownWaitsForAHandshakeInProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		goOn, down, over := make(chan struct{}), make(chan struct{}), make(chan error, 1)
		s := &Server{
			Handle:    func(c *Conn, _ *http.Request) error { t.Error("Handle was called"); return nil },
			Configure: func(*http.Request, *Options) error { <-goOn; return nil },
		}
		go s.ServeHTTP(hijackable{httptest.NewRecorder(), near, nil, nil}, sampleRequest())
		synctest.Wait()
		go func() {
			defer close(down)
			if err := s.Shutdown(t.Context()); err != nil {
				t.Errorf("Shutdown: %v", err)
			}
		}()
		synctest.Wait()
		select {
		case <-down:
			t.Error("Shutdown returned while a connection was being opened")
		default:
		}
		close(goOn)
		go func() {
			// The reader takes what one Write gives: the 101 and nothing behind it.
			if resp, err := http.ReadResponse(bufio.NewReader(far), nil); err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
				t.Errorf("the handshake: %v, %v, want 101", resp, err)
			}
			_, _, err := NewClientConn(far, nil).Read(context.Background())
			over <- err
		}()
		if err := <-over; CloseStatus(err) != StatusGoingAway {
			t.Errorf("the client: %v, want close code 1001", err)
		}
		<-down
		w := httptest.NewRecorder()
		if s.ServeHTTP(w, sampleRequest()); w.Code != http.StatusServiceUnavailable {
			t.Errorf("status %d after Shutdown, want 503", w.Code)
		}
	})
}
