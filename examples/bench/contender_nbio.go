//go:build linux

package main

import (
	"net"
	"net/http"

	"github.com/lesismal/nbio/logging"
	"github.com/lesismal/nbio/nbhttp"
	"github.com/lesismal/nbio/nbhttp/websocket"
)

var nbioContender = &contender{
	name: "nbio", utf8: true, echo: true, handshake: true, idle: true,
	note:  "its own engine: epoll and its own HTTP parser (IOModNonBlocking), ReleaseWebsocketPayload, frames of any length",
	serve: nbioServe(nbhttp.IOModNonBlocking),
	dial:  nbioDial,
}

var nbioBlocking = &contender{
	name: "nbio+blocking", utf8: true, echo: true, idle: true,
	note:  "the same with IOModBlocking, which its README calls faster for few connections; BlockingModAsyncWrite off",
	serve: nbioServe(nbhttp.IOModBlocking),
}

func nbioServe(mode int) func(net.Listener, *setup) error {
	return func(ln net.Listener, s *setup) error {
		logging.SetLevel(logging.LevelNone)
		up := nbioUpgrader(s)
		e := nbhttp.NewEngine(nbhttp.Config{
			Network: "tcp", Addrs: []string{ln.Addr().String()}, IOMod: mode, MaxBlockingOnline: 1 << 20,
			Listen:                  func(string, string) (net.Listener, error) { return ln, nil },
			ReleaseWebsocketPayload: true, MaxWebsocketFramePayloadSize: 1 << 30,
			Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if c, err := up.Upgrade(w, r, nil); err == nil {
					s.joined(c)
				}
			}),
		})
		up.Engine = e
		s.sendsWith(func(conns []any, p []byte, times int) error {
			for _, c := range conns {
				for range times {
					if err := c.(*websocket.Conn).WriteMessage(websocket.TextMessage, p); err != nil {
						return err
					}
				}
			}
			return nil
		})
		if err := e.Start(); err != nil {
			return err
		}
		select {}
	}
}

func nbioUpgrader(s *setup) *websocket.Upgrader {
	up := websocket.NewUpgrader()
	up.KeepaliveTime = 0
	up.BlockingModAsyncWrite = false
	up.EnableCompression(s.deflate != deflateOff)
	up.OnMessage(func(c *websocket.Conn, typ websocket.MessageType, p []byte) {
		s.work(p)
		_ = c.WriteMessage(typ, p) // an error ends the connection
	})
	return up
}

var nbioClients *nbhttp.Engine

func nbioDial(addr string, s *setup) error {
	if nbioClients == nil {
		logging.SetLevel(logging.LevelNone)
		nbioClients = nbhttp.NewEngine(nbhttp.Config{ReleaseWebsocketPayload: true, MaxWebsocketFramePayloadSize: 1 << 30})
		if err := nbioClients.Start(); err != nil {
			return err
		}
	}
	d := websocket.Dialer{Engine: nbioClients, Upgrader: nbioUpgrader(s)}
	_, _, err := d.Dial("ws://"+addr, nil)
	return err
}
