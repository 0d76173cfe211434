package websocket

import (
	"encoding/binary"
	"net"
	"syscall"
)

// lostPatience is how many times in a row TCP has sent the same octets again, in
// doubling pauses, until the peer counts as out of reach: after 1.4 s at least.
const lostPatience = 3

// isOutOfReach says whether TCP gets no acknowledgement of what it has sent, over and
// over: then what the network takes from us is no sign of the peer. Where there is no
// TCP to be asked, it is false.
func isOutOfReach(stream any) bool {
	if t, ok := stream.(interface{ NetConn() net.Conn }); ok {
		stream = t.NetConn() // of TLS
	}
	raw := rawConn(stream)
	if raw == nil {
		return false
	}
	var info [4]byte // the beginning of struct tcp_info: state, state of congestion, retransmissions in a row, probes
	_ = raw.Control(func(fd uintptr) {
		if v, err := syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_INFO); err == nil {
			binary.NativeEndian.PutUint32(info[:], uint32(v))
		}
	}) // an error is that of a connection that is over
	return info[2] >= lostPatience
}

// segmentOf is how many octets TCP sends at a time on a socket, 0 where it is none of
// TCP.
func segmentOf(fd int) int {
	octets, _ := syscall.GetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_MAXSEG)
	return octets
}

// lowShare is what part of TCP's buffer may be waited for at most: the peer is to go on
// sending while that is read, and not all of the buffer is for octets of the peer.
const lowShare = 8

// wakeFor has the system say that something can be read only when least octets can, or
// the stream has ended; 0: when any can. now is what it was told before, and the result
// what it has been told now: least itself wherever that is less. More than minLow are
// waited for at once, or any.
func wakeFor(fd int, least, now int32) int32 {
	if least > now {
		room, _ := syscall.GetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_RCVBUF)
		if least = min(least, int32(room/lowShare)); least < minLow {
			return now
		}
	}
	if syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_RCVLOWAT, int(least)) != nil {
		return now
	}
	return least
}
