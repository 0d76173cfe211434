package websocket

import (
	"encoding/binary"
	"fmt"
	"net"
	"sync"
	"syscall"
)

// lostPatience is how many times in a row TCP has sent the same octets again, in
// doubling pauses, until the peer counts as out of reach: after 1.4 s at least.
const lostPatience = 3

// soMeminfo and wmemQueued name what a socket has in its queue for writing: an option of
// sockets, and the place of that among the numbers which it gives (Linux 4.12 and later).
const soMeminfo, wmemQueued = 55, 5

// isOutOfReach says whether TCP gets no acknowledgement of what it has sent, over and
// over: then what the network takes from us is no sign of the peer. Where there is no
// TCP to be asked, it is false.
func isOutOfReach(stream any) bool {
	var info [4]byte // the beginning of struct tcp_info: state, state of congestion, retransmissions in a row, probes
	askSocket(stream, func(fd int) {
		if v, err := syscall.GetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_INFO); err == nil {
			binary.NativeEndian.PutUint32(info[:], uint32(v))
		}
	})
	return info[2] >= lostPatience
}

// backlog is how much memory the system has for octets that the peer has yet to
// acknowledge; 0 where that is not known. If it falls, the peer takes octets, though
// there may be no room yet for as many as a writer is woken for.
func backlog(stream any) (octets uint32) {
	askSocket(stream, func(fd int) {
		// No other call of package syscall fetches as many numbers, whatever they mean.
		if info, err := syscall.GetsockoptICMPv6Filter(fd, syscall.SOL_SOCKET, soMeminfo); err == nil {
			octets = info.Data[wmemQueued]
		}
	})
	return octets
}

// askSocket calls f with the file descriptor of a connection, which may be one of TLS, if
// it has one that may be used. An error is that of a connection that is over.
func askSocket(stream any, f func(fd int)) {
	if t, ok := stream.(interface{ NetConn() net.Conn }); ok {
		stream = t.NetConn() // of TLS
	}
	if raw := rawConn(stream); raw != nil {
		_ = raw.Control(func(fd uintptr) { f(int(fd)) })
	}
}

// segmentOf is how many octets TCP sends at a time on a socket, 0 where it is none of
// TCP.
func segmentOf(fd int) int {
	octets, _ := syscall.GetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_MAXSEG)
	return octets
}

// lowShare is what part of TCP's buffer may be waited for at most: the rest is room for
// the peer to go on, and for what the kernel keeps beside octets.
const lowShare = 8

// wakeFor asks the system to say that something can be read only when least octets can,
// or the stream has ended; 0: when any can. now is what it was asked for before, and the
// result what it has been asked for now, which is never more than least. Fewer than
// minLow are not worth it.
func wakeFor(fd int, least, now int32) int32 {
	if least > now {
		if !wakesInTime() || !isTCP(fd) {
			return now
		}
		room, _ := syscall.GetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_RCVBUF)
		if least = min(least, int32(room/lowShare)); least < minLow || least == now {
			return now
		}
	}
	if syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_RCVLOWAT, int(least)) != nil {
		return now
	}
	return least
}

// isTCP says whether a socket is one of TCP. MPTCP, which net.Listen accepts, does not
// wake a reader whose buffer is full before there is what it waits for.
func isTCP(fd int) bool {
	protocol, _ := syscall.GetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_PROTOCOL)
	return protocol == syscall.IPPROTO_TCP
}

// wakesInTime says whether TCP wakes a reader also where its buffer, or its window, is
// full before there is what it waits for: Linux does since 5.12.
var wakesInTime = sync.OnceValue(func() bool {
	var name syscall.Utsname
	if syscall.Uname(&name) != nil {
		return false
	}
	var release []byte
	for _, c := range name.Release {
		release = append(release, byte(c))
	}
	return isSince(string(release), 5, 12)
})

// isSince says whether a release, "6.18.44-x", is that version or a later one.
func isSince(release string, major, minor int) bool {
	var x, y int
	if _, err := fmt.Sscanf(release, "%d.%d", &x, &y); err != nil {
		return false
	}
	return x > major || x == major && y >= minor
}
