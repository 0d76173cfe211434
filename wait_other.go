//go:build !unix

package websocket

// Where the runtime's poller is no way to a socket without blocking, every
// stream is read and written by its own methods.

// rawReader is never used on these systems: isRaw says so.
type rawReader struct {
	noWait bool
	toEnd  bool
	least  int32
}

func (r *rawReader) init(any)                            {}
func (r *rawReader) isRaw() bool                         { return false }
func (r *rawReader) isFull() bool                        { return false }
func (r *rawReader) isDry() bool                         { return false }
func (r *rawReader) hasWaited() bool                     { return false }
func (r *rawReader) isQuiet() bool                       { return false }
func (r *rawReader) rearm()                              {}
func (r *rawReader) fill(int, int) (*buffer, int, error) { return nil, 0, errWouldBlock }
func (r *rawReader) read([]byte) (int, error)            { return 0, errWouldBlock }

// rawWriter is never used on these systems: isRaw says so.
type rawWriter struct{}

func (w *rawWriter) init(*rawReader)           {}
func (w *rawWriter) once([]byte) (int, error)  { return 0, nil }
func (w *rawWriter) isRaw() bool               { return false }
func (w *rawWriter) write([]byte) (int, error) { return 0, nil }
func (w *rawWriter) segment() int              { return 1 }
