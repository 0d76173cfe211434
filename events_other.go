//go:build !linux

package websocket

// Where there is no epoll, a goroutine waits for each connection in event mode.

// watcher watches nothing.
type watcher struct{ workers workers }

func (w *watcher) add(*eventConn) bool { return false }

func (w *watcher) remove(*eventConn) {}
