//go:build linux

package main

import (
	"net"
	"net/http"

	"github.com/lxzan/gws"
)

var gwsContender = &contender{
	name: "gws", echo: true, handshake: true, idle: true,
	note: "behind net/http, ReadLoop in a goroutine of its own so that the handler returns, ParallelEnabled off, Broadcaster to many; text is not checked for UTF-8 (its default)",
	serve: func(ln net.Listener, s *setup) error {
		up := gws.NewUpgrader(&gwsEcho{s: s}, gwsOptions(s))
		s.sendsWith(gwsSend)
		return serveHTTP(ln, func(w http.ResponseWriter, r *http.Request) {
			c, err := up.Upgrade(w, r)
			if err != nil {
				return
			}
			s.joined(c)
			go c.ReadLoop()
		})
	},
	dial: func(addr string, s *setup) error {
		c, _, err := gws.NewClient(&gwsEcho{s: s}, &gws.ClientOption{Addr: "ws://" + addr})
		if err != nil {
			return err
		}
		go c.ReadLoop()
		return nil
	},
}

var gwsOwnServer = &contender{
	name: "gws+own", handshake: true,
	note: "gws.Server: its own accept loop around http.ReadRequest",
	serve: func(ln net.Listener, s *setup) error {
		return gws.NewServer(&gwsEcho{s: s}, gwsOptions(s)).RunListener(ln)
	},
}

func gwsOptions(s *setup) *gws.ServerOption {
	o := new(gws.ServerOption)
	if s.deflate != deflateOff {
		takeover := s.deflate == deflateTakeover
		o.PermessageDeflate = gws.PermessageDeflate{
			Enabled: true, ServerContextTakeover: takeover, ClientContextTakeover: takeover,
			ServerMaxWindowBits: 15, ClientMaxWindowBits: 15, // 12 by default with takeover: less memory, less gain
		}
	}
	return o
}

type gwsEcho struct {
	gws.BuiltinEventHandler
	s *setup
}

func (h *gwsEcho) OnMessage(c *gws.Conn, m *gws.Message) {
	h.s.work(m.Bytes())
	_ = c.WriteMessage(m.Opcode, m.Bytes()) // an error ends the connection; OnClose reports it
	_ = m.Close()
}

func gwsSend(conns []any, p []byte, times int) error {
	b := gws.NewBroadcaster(gws.OpcodeText, p)
	defer b.Close()
	for _, c := range conns {
		for range times {
			if err := b.Broadcast(c.(*gws.Conn)); err != nil {
				return err
			}
		}
	}
	return nil
}
