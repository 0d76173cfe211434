// Placeholder for deflate.go: delete this file when deflate.go lands.
package websocket

import "errors"

type deflateParams struct {
	receiveTakeover, sendTakeover bool
	threshold                     int
}
type deflater struct{}

func newDeflater(p *deflateParams) *deflater             { return nil }
func (d *deflater) message(dst, p []byte) ([]byte, bool) { return nil, false }
func (d *deflater) write(dst, p []byte) []byte           { return nil }
func (d *deflater) end(dst []byte) []byte                { return nil }
func (d *deflater) forget()                              {}

type inflater struct{}

func newInflater(p *deflateParams) *inflater   { return nil }
func (f *inflater) feed(p []byte, final bool)  {}
func (f *inflater) read(p []byte) (int, error) { return 0, nil }
func (f *inflater) stop()                      {}

var errMoreInput = errors.New("x")
