package main

import (
	"context"
	"io"
	"log"
	"net"
	"net/http"

	coder "github.com/coder/websocket"
	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
	gorilla "github.com/gorilla/websocket"
	"github.com/lxzan/gws"

	"github.com/seed26cb4e35/websocket"
)

// This file holds an echo server and an echo client of each library, as its documentation
// shows them, with its checks and its compression switched on.

// limit is the read limit of all endpoints that have one, in octets.
const limit = 16 << 20

// A peer is a library.
type peer struct {
	name    string
	limited bool // has a read limit
	handler http.Handler
	drive   func(url string) // connects and echoes until the connection ends
}

var peers = []peer{
	{"this", true, ours, driveOurs},
	{"gorilla/websocket", true, http.HandlerFunc(serveGorilla), driveGorilla},
	{"coder/websocket", true, http.HandlerFunc(serveCoder), driveCoder},
	{"gobwas/ws", false, http.HandlerFunc(serveGobwas), driveGobwas},
	{"lxzan/gws", true, http.HandlerFunc(serveGws), driveGws},
}

var options = websocket.Options{ReadLimit: limit, Compression: &websocket.Compression{ContextTakeover: true, Threshold: 1}}

var ours = &websocket.Server{Handle: func(c *websocket.Conn, _ *http.Request) error { return echo(c) }, Options: options}

func driveOurs(url string) {
	if c, _, err := websocket.Dial(context.Background(), url, &options); err == nil {
		_ = echo(c)
	}
}

func echo(c *websocket.Conn) error {
	for msg, err := range c.Messages(context.Background()) {
		if err != nil {
			return err
		}
		if err := c.Write(context.Background(), msg.Type, msg.Data); err != nil {
			return err
		}
	}
	return nil
}

func serveGorilla(w http.ResponseWriter, r *http.Request) {
	u := gorilla.Upgrader{EnableCompression: true}
	if c, err := u.Upgrade(w, r, nil); err == nil {
		echoGorilla(c)
	}
}

func driveGorilla(url string) {
	d := gorilla.Dialer{EnableCompression: true}
	if c, _, err := d.Dial(url, nil); err == nil {
		echoGorilla(c)
	}
}

func echoGorilla(c *gorilla.Conn) {
	defer c.Close()
	c.SetReadLimit(limit)
	for {
		typ, msg, err := c.ReadMessage()
		if err != nil || c.WriteMessage(typ, msg) != nil {
			return
		}
	}
}

func serveCoder(w http.ResponseWriter, r *http.Request) {
	c, err := coder.Accept(w, r, &coder.AcceptOptions{CompressionMode: coder.CompressionContextTakeover, CompressionThreshold: 1})
	if err == nil {
		echoCoder(c)
	}
}

func driveCoder(url string) {
	c, _, err := coder.Dial(context.Background(), url, &coder.DialOptions{CompressionMode: coder.CompressionContextTakeover, CompressionThreshold: 1})
	if err == nil {
		echoCoder(c)
	}
}

func echoCoder(c *coder.Conn) {
	defer c.CloseNow()
	c.SetReadLimit(limit)
	for {
		typ, msg, err := c.Read(context.Background())
		if err != nil || c.Write(context.Background(), typ, msg) != nil {
			return
		}
	}
}

func serveGobwas(w http.ResponseWriter, r *http.Request) {
	conn, _, _, err := ws.UpgradeHTTP(r, w)
	if err != nil {
		return
	}
	defer conn.Close()
	for {
		msg, op, err := wsutil.ReadClientData(conn)
		if err != nil || wsutil.WriteServerMessage(conn, op, msg) != nil {
			return
		}
	}
}

// ahead is a connection with octets that were read already.
type ahead struct {
	io.Reader
	net.Conn
}

func (a ahead) Read(p []byte) (int, error) { return a.Reader.Read(p) }

func driveGobwas(url string) {
	conn, br, _, err := ws.Dial(context.Background(), url)
	if err != nil {
		return
	}
	defer conn.Close()
	if br != nil {
		conn = ahead{br, conn}
	}
	for {
		msg, op, err := wsutil.ReadServerData(conn)
		if err != nil || wsutil.WriteClientMessage(conn, op, msg) != nil {
			return
		}
	}
}

// gwsEcho is the handler of gws.
type gwsEcho struct{ gws.BuiltinEventHandler }

func (gwsEcho) OnPing(c *gws.Conn, payload []byte) { _ = c.WritePong(payload) }

func (gwsEcho) OnMessage(c *gws.Conn, message *gws.Message) {
	defer message.Close()
	_ = c.WriteMessage(message.Opcode, message.Bytes())
}

var gwsDeflate = gws.PermessageDeflate{Enabled: true, ServerContextTakeover: true, ClientContextTakeover: true, Threshold: 1}

func serveGws(w http.ResponseWriter, r *http.Request) {
	u := gws.NewUpgrader(gwsEcho{}, &gws.ServerOption{CheckUtf8Enabled: true, ReadMaxPayloadSize: limit, PermessageDeflate: gwsDeflate, Recovery: gws.Recovery})
	if c, err := u.Upgrade(w, r); err == nil {
		c.ReadLoop()
	}
}

func driveGws(url string) {
	c, _, err := gws.NewClient(gwsEcho{}, &gws.ClientOption{Addr: url, CheckUtf8Enabled: true, ReadMaxPayloadSize: limit, PermessageDeflate: gwsDeflate})
	if err == nil {
		c.ReadLoop()
	}
}

// serve serves a peer on a listener until the process ends.
func serve(p peer, ln net.Listener) error {
	srv := &http.Server{Handler: p.handler, ErrorLog: log.New(io.Discard, "", 0)}
	return srv.Serve(ln)
}
