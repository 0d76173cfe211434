// Package websocket is WebSocket (RFC 6455) for servers and clients, with
// permessage-deflate (RFC 7692) and HTTP/2 on the server (RFC 8441), on the
// standard library alone.
//
// A server accepts a connection inside an http.Handler, a client dials one:
//
//	c, err := websocket.Accept(w, r, nil)
//	c, resp, err := websocket.Dial(ctx, "wss://example.com/chat", nil)
//
// and from there both have the same methods. A loop over Messages reads until the
// connection ends; Write sends a message:
//
//	for msg, err := range c.Messages(ctx) {
//		if err != nil {
//			return err // the last pair says why the connection ended
//		}
//		err = c.Write(ctx, msg.Type, msg.Data)
//	}
//
// Whoever has many connections lets a Server own them: it opens, handles, pings,
// broadcasts and shuts down.
//
// Words are the RFC's: a message is sent in one frame or in several fragments; the
// control frames Ping, Pong and Close stand between them; octets are bytes on the
// wire.
//
// # Concurrency
//
// Every method of Conn may be called from any goroutine at any time. Readers take
// turns, and each message goes to one of them; writers take turns, and each
// message leaves whole. No method panics on what a peer or a caller does. Control
// frames pass between the fragments of a message that is being written, and a
// reader never waits for a writer: a Ping is answered while a Write is stuck. (Only
// where as many Pongs are owed as are kept, it waits for a tenth of a second.)
//
// A message that is streamed by Reader belongs to its MessageReader once that has
// delivered octets: other reads fail with ErrReaderOpen until it has returned
// io.EOF or was discarded. A MessageWriter keeps other messages, not control
// frames, waiting until its Close or Abort; where it writes nothing for
// Options.WriteTimeout, a Write that has waited as long fails.
//
// # Someone has to read
//
// Pings are answered, Pongs and the peer's Close are seen by reading. A program
// that only sends calls CloseRead, which reads in a goroutine of its own and ends
// the connection if a message comes. Context tells when the connection is over,
// and context.Cause of it tells why: net.ErrClosed where we have ended it, be it for
// a message that came after CloseRead.
//
// # Contexts and time
//
// A context given to a method bounds that call and nothing else. A read whose
// context ends loses no octet: the next read goes on, in the middle of a frame or
// of a message, so a read can be tried for a second and tried again:
//
//	try, cancel := context.WithTimeout(ctx, time.Second)
//	_, data, err := c.Read(try)
//	cancel()
//	if errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, net.ErrClosed) && ctx.Err() == nil {
//		// nothing came; the connection is as it was
//	}
//
// (An error that is net.ErrClosed too is about an earlier call, with which the
// connection has ended, and once ctx has ended every try ends at once: to try again
// would never end.)
//
// A write whose context ends while it waits for its turn, or on TCP before its
// first octet is out, leaves the connection usable too. Later it ends the
// connection, because half a frame can't be taken back. (A stream that knows no
// deadlines, such as HTTP/2, is closed where a context ends a read or a write.)
//
// The context of Dial bounds the dial. The context of the request given to Accept
// says nothing about the connection, for net/http ends it with the handler: use
// Conn.Context, or the request that Server.Handle is given, whose context lives as
// long as the connection.
//
// Deadlines need no context: Options.WriteTimeout (30 s) ends a connection whose
// peer takes nothing for that long, and it never fires while octets move. To look at
// the clock rarely, it may take up to three times as long to fire.
//
// # Keepalive
//
// While something reads, a connection from which no octet has come for
// Options.KeepAlive (30 s) is sent a Ping, and it fails with
// os.ErrDeadlineExceeded if nothing comes for Options.PongTimeout (20 s) after
// that. Nothing has to be written for it, no handler for Pongs is needed, and a
// program that is busy between two reads is not taken for a dead peer. What the network
// takes of writes meanwhile, or on Linux the peer's TCP acknowledges, starts PongTimeout
// anew, for the Pong may be behind it; not so, on Linux, where TCP gets no
// acknowledgement any more. A net.Conn of a type of your own, or HTTP/2, hides that: a
// peer that has vanished is noticed there only once nothing more is taken. Negative
// values turn it off. Ping measures the time of a round trip.
//
// # Closing
//
// Close sends what is queued and a Close frame, waits for the peer's, and ends
// TCP; all of it takes at most Options.CloseTimeout (5 s). It ends TCP so that the
// peer sees the Close frame even where it is in the middle of sending. CloseNow
// ends the connection at once, without a Close frame; it is what one defers:
//
//	defer c.CloseNow() // does nothing after Close
//
// A Close of the peer is answered by the read that meets it. How a connection
// ended is told by the error of that read:
//
//   - the peer closed it: a *CloseError with its code and reason; CloseStatus(err)
//     is the code, 1005 where the Close frame had none;
//   - the peer broke a rule: a *ProtocolError with the section and the code that it
//     was sent;
//   - a message was too long, or in too many frames: ErrTooBig, and 1009 was sent;
//   - the stream ended without a Close frame (a browser calls that 1006):
//     io.ErrUnexpectedEOF;
//   - we closed it: net.ErrClosed.
//
// The call that meets the end gets that error. Calls after it get one that is both
// net.ErrClosed and the cause.
//
// A message that did not arrive whole is an error and never a short message: a
// MessageReader returns io.EOF only at the end of a message, and a MessageWriter
// that could not send all ends the connection instead of the message.
//
// # Limits
//
// Every limit has a default, and a negative value turns it off. A message may have
// Options.ReadLimit octets (1 MiB), counted after decompression, and
// Options.MaxFragments frames; a longer one ends the connection with 1009, and so
// does one that is compressed to more than 16 times the limit and 64 KiB.
// SetReadLimit changes the limit while a connection lives, for example after a
// login. A length that a header declares costs nothing: memory is taken for octets
// that have come, 64 KiB for the first of them and then up to twice as much.
// Options.SendLimit (1 MiB) is what may wait in a send queue.
//
// Text is UTF-8 in both directions: a peer that sends anything else is told 1007,
// and a text that is not UTF-8 is an error of Write before anything is sent.
//
// # Origins
//
// A browser sends cookies along with a WebSocket handshake from any page, so
// Accept refuses pages of other origins with 403: the Origin header has to name
// the host that the request was sent to. Options.Origins lists more of them,
// "https://*.example.com" or "null"; "*" allows all, for services that do not
// trust cookies. Options.CheckOrigin replaces the policy. Clients that are no
// browsers send no Origin and are let in. Behind a proxy the Host header has to be
// the one that the browser used, or the origin has to be listed. A server for one
// machine or network only should also refuse, by Configure or CheckOrigin, a Host
// that is none of its own names: the name of a foreign page may be made to lead to
// 127.0.0.1 (DNS rebinding), and then Origin and Host agree.
//
// # Compression
//
// Options.Compression turns permessage-deflate on where the peer knows it too; nil,
// the default, leaves it off. Its zero value compresses messages of 512 octets or
// more each by itself, and a connection holds nothing for it between messages.
// With ContextTakeover messages may refer to those before, which shrinks small ones
// that are alike by much more, and costs about 0.8 MiB for each connection that has
// sent, until two Pings of keepalive have gone out with no such message between them;
// ServerMaxWindowBits and ClientMaxWindowBits lower what a receiver holds.
// Do not compress secrets together with what an attacker can choose (CRIME).
//
// # Sending to many
//
// Prepare frames a message once for all connections, and compresses it at most once
// for each set of parameters (with context takeover, for each connection). Send queues
// it and never waits, Server.Broadcast does that for all connections, and Broadcast for
// some, such as those of a room: Broadcast(p, maps.Keys(room)). A queue is bounded:
// where it is full Send returns ErrQueueFull, and the caller decides whether to drop the
// message or the connection; Broadcast drops the connection, with 1013 (try again later)
// if its peer takes that in time. A peer that reads nothing costs at most
// Options.SendLimit, or one message that was broadcast and is longer, and stalls nobody,
// but for the few milliseconds that Broadcast may give who writes to it.
//
// Where messages differ, call Send for each. To drop a connection whose queue is full,
// close it in a goroutine of its own: Close sends the queue first, may take CloseTimeout
// for it, and would hold up the others. CloseNow drops it.
//
// # Server
//
// A Server is an http.Handler that runs Handle in one goroutine a connection, or
// calls Message for each message that comes. Handle is the simpler: a loop of reads,
// in which anything may be done. Message makes an idle connection cost no goroutine
// (on Linux, without TLS), and sends what it writes in answer to messages that came
// together in one system call; within it, reads fail with ErrEventMode, as does
// Ping, and msg.Data is only valid until it returns. A slow Message delays no other
// connection, but its own: meanwhile no Ping of the peer is answered and its Close is
// not seen, so long work belongs in a goroutine of its own.
//
// Values that belong to a connection are kept by SetValue. The context of Handle's
// request has none that routers and middleware hung on it: what is needed of them is
// taken in Open, which runs inside ServeHTTP. With Message there is no read whose context
// could end: a connection whose peer has to say something in time is closed by a
// time.AfterFunc that Open starts and Message or Closed stops.
//
// # Shutdown
//
// http.Server.Shutdown does not close WebSocket connections, and waits only for those
// over HTTP/2. Server.Shutdown closes all with 1001 (going away) at the same time and
// waits for their handlers, as long as its context lasts. Call both:
//
//	_ = ws.Shutdown(ctx) // websocket.Server: 1001 to all, wait for their handlers
//	_ = hs.Shutdown(ctx) // http.Server: may wait for connections that browsers keep in reserve
//
// Set http.Server.ReadHeaderTimeout, for net/http has no default for how long a
// client may take over its request. Its ReadTimeout and WriteTimeout end with the
// opening handshake and do not touch a WebSocket connection.
//
// # JSON, and byte streams
//
// ReadJSON and WriteJSON carry one JSON value a message. NetConn makes a net.Conn of
// a connection, for protocols that know nothing of messages, such as SSH: what is
// written becomes messages of one type, and where they end means nothing.
//
// # Proxies, TLS and HTTP/2
//
// Dial sends its request by Options.HTTPClient, so proxies (http, https, socks5),
// cookies, redirects, client certificates and limits of headers are net/http's. A
// ws URL goes through an http proxy by CONNECT where the Client's Transport is an
// *http.Transport; what wraps one has to see to that itself. A server speaks TLS as
// net/http's server does. Over HTTP/2 Accept answers an extended CONNECT; Go's server
// offers it with GODEBUG=http2xconnect=1, and without it browsers use HTTP/1.1.
//
// # Memory
//
// An idle connection holds no buffer for reading or writing on TCP: buffers are
// taken from a pool when octets come and when a message leaves. What remains is the
// Conn and the goroutine that reads. net/http keeps about 12 KiB more for as long as
// a handler that called Accept has not returned, which is why Server runs Handle in
// a goroutine of its own; over TLS and other streams a read buffer is held too, of 4 KiB,
// or 16 where much has come.
// ReadAppend reads into the caller's memory, and neither it nor Write allocates; only a
// compressed message that comes in pieces takes a goroutine while it is inflated.
//
// # Vector instructions
//
// Built with GOEXPERIMENT=simd, for amd64 and by Go 1.26, masking and the check of UTF-8
// use what the processor has of AVX2 and AVX-512. Nothing else changes, and every other
// build has neither.
package websocket
