package websocket

// Waiting for many connections without a goroutine for each: an epoll of our own,
// whose descriptor the runtime's poller waits for, so that no thread is blocked.

import (
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"
)

const (
	// maxEvents is how many events are taken at a time.
	maxEvents = 256
	// epollEdges is EPOLLET, which package syscall has as a negative number.
	epollEdges = 1 << 31
	// maxSweepPause is the longest time between two looks for connections that
	// keepalive is due for.
	maxSweepPause = 500 * time.Millisecond
	minSweepPause = 10 * time.Millisecond
	// maxIdleWorkers is how many goroutines may wait for work.
	maxIdleWorkers = 256
)

// watcher wakes connections that have something to be read, and those that
// keepalive is due for. It lives, with its epoll and two goroutines, as long as it
// has connections. The zero value is ready.
type watcher struct {
	workers workers

	mu    sync.Mutex
	epoll *os.File      // nil while there are no connections; guarded by mu
	stop  chan struct{} // closed when the last connection goes; guarded by mu
	slots []watchSlot   // guarded by mu
	free  []uint32      // slots without a connection; guarded by mu
	born  uint32        // the generation of slots that are new; guarded by mu
	count int           // connections; guarded by mu
	pause time.Duration // between two sweeps; guarded by mu

	// control registers event; made with epoll, so that registering allocates
	// nothing. Guarded by mu.
	control func(fd uintptr)
	event   syscall.EpollEvent
	failed  error
}

// watchSlot is a place for a connection. An event names the slot and its
// generation: the number of a descriptor may be another connection's by the time
// the event is handled.
type watchSlot struct {
	e          *eventConn // nil: free
	generation uint32
}

// add begins to watch e. It says whether that was possible.
func (w *watcher) add(e *eventConn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.epoll == nil && w.open() != nil {
		return false
	}
	at := uint32(len(w.slots))
	if n := len(w.free); n > 0 {
		at, w.free = w.free[n-1], w.free[:n-1]
	} else {
		w.slots = append(w.slots, watchSlot{generation: w.born})
	}
	slot := &w.slots[at]
	e.slot, slot.e = at, e
	w.count++
	if w.register(e, slot.generation) != nil {
		if idle := w.vacate(at); idle != nil {
			go func() { _ = idle.Close() }() // without w.mu, for which wait may wait
		}
		return false
	}
	if l := e.c.limits; l.keepAlive > 0 {
		w.pause = min(w.pause, max(l.keepAlive/8, minSweepPause))
		if l.pongTimeout > 0 {
			w.pause = min(w.pause, max(l.pongTimeout/8, minSweepPause))
		}
	}
	return true
}

// open makes the epoll. Called with w.mu held.
func (w *watcher) open() error {
	fd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	if err := syscall.SetNonblock(fd, true); err != nil { // else os.NewFile does without the poller
		_ = syscall.Close(fd)
		return os.NewSyscallError("setnonblock", err)
	}
	w.epoll = os.NewFile(uintptr(fd), "epoll")
	raw, err := w.epoll.SyscallConn()
	if err != nil {
		_ = w.epoll.Close()
		w.epoll = nil
		return err
	}
	w.stop, w.pause = make(chan struct{}), maxSweepPause
	w.control = func(conn uintptr) {
		w.failed = os.NewSyscallError("epoll_ctl", syscall.EpollCtl(fd, syscall.EPOLL_CTL_ADD, int(conn), &w.event))
	}
	w.workers.open()
	go w.wait(raw)
	go w.sweep(w.stop)
	return nil
}

// register asks for the edges of e's readability, and for TCP's urgent mark, at which
// a read ends early. Closing the descriptor takes it off again. Called with w.mu held.
func (w *watcher) register(e *eventConn, generation uint32) error {
	w.event = syscall.EpollEvent{
		Events: syscall.EPOLLIN | syscall.EPOLLPRI | syscall.EPOLLRDHUP | epollEdges,
		Fd:     int32(e.slot), // Fd and Pad come back as they are
		Pad:    int32(generation),
	}
	if err := e.c.r.src.raw.raw.Control(w.control); err != nil {
		return err
	}
	return w.failed
}

// remove stops watching e, and everything with the last one.
func (w *watcher) remove(e *eventConn) {
	w.mu.Lock()
	idle := w.vacate(e.slot)
	w.mu.Unlock()
	if idle != nil {
		_ = idle.Close() // returns when wait has
	}
}

// vacate frees a slot. With the last one it returns the epoll, which is to be
// closed. Called with w.mu held.
func (w *watcher) vacate(at uint32) (idle *os.File) {
	w.slots[at] = watchSlot{generation: w.slots[at].generation + 1}
	w.born = max(w.born, w.slots[at].generation) // an event of this epoll may be handled when there is another
	w.free = append(w.free, at)
	if w.count--; w.count > 0 {
		return nil
	}
	close(w.stop)
	w.workers.close()
	idle = w.epoll
	w.epoll, w.slots, w.free = nil, nil, nil
	return idle
}

// wait wakes the connections for which events come, until the epoll is closed. It
// never leaves Read meanwhile: that would forget an event that came in between, so
// that each would have to be followed by one more look. Where one look finds several,
// the next soon finds more.
func (w *watcher) wait(epoll syscall.RawConn) {
	var events [maxEvents]syscall.EpollEvent
	woken := make([]*eventConn, 0, maxEvents)
	_ = epoll.Read(func(fd uintptr) bool {
		for more := true; more; {
			n, err := syscall.EpollWait(int(fd), events[:], 0) // n is -1 where it fails
			woken = w.named(woken[:0], events[:max(n, 0)])
			for _, e := range woken {
				e.wake()
			}
			if more = n == maxEvents || err == syscall.EINTR || len(woken) > 1; more {
				runtime.Gosched() // what comes while those who were woken have their turn need not be waited for
			}
			clear(woken)
		}
		return false
	})
}

// named appends to to the connections that events tell of.
func (w *watcher) named(to []*eventConn, events []syscall.EpollEvent) []*eventConn {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range events {
		at, generation := uint32(events[i].Fd), uint32(events[i].Pad)
		if int(at) >= len(w.slots) || w.slots[at].generation != generation || w.slots[at].e == nil {
			continue
		}
		e := w.slots[at].e
		if events[i].Events&^syscall.EPOLLIN != 0 {
			e.ending.Store(true)
		}
		to = append(to, e)
	}
	return to
}

// sweep wakes the connections that keepalive is due for, and those that hold memory
// for a message that does not go on.
func (w *watcher) sweep(stop <-chan struct{}) {
	var due []*eventConn
	for {
		w.mu.Lock()
		pause := w.pause
		w.mu.Unlock()
		select {
		case <-stop:
			return
		case <-time.After(pause):
		}
		w.workers.prune(maxIdleWorkers)
		now := int64(monotonic())
		for from, more := 0, true; more; from += sweepAtOnce {
			due, more = w.appendDue(due, from, now)
			for _, e := range due {
				e.wake()
			}
			clear(due)
			due = due[:0]
		}
	}
}

// sweepAtOnce is how many connections are looked at before events go on: in a million, that
// takes a tenth of a second for all.
const sweepAtOnce = 4096

// appendDue appends which of the connections from from on, sweepAtOnce at most, are to be
// woken now. It says whether there are more.
func (w *watcher) appendDue(due []*eventConn, from int, now int64) (_ []*eventConn, more bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	end := min(from+sweepAtOnce, len(w.slots))
	for _, slot := range w.slots[min(from, end):end] {
		e := slot.e
		if e == nil {
			continue
		}
		at := e.due.Load()
		if at > 0 && at <= now && e.due.CompareAndSwap(at, dueNow) || e.hasStalled() {
			due = append(due, e)
		}
	}
	return due, end < len(w.slots)
}
