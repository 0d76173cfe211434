package serve

// This file holds the files of a page: an example's own, and those that all pages share.

import (
	"embed"
	"io/fs"
	"net/http"
)

//go:embed assets
var assets embed.FS

// policy lets a page load and run its own files and nothing else: not even its own HTML may hold a script or a style.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self' ws: wss:; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// Handler serves WebSockets at /ws, and the page: the files of the folder dir of page, which has an index.html for /, and
// style.css and socket.js, which all pages share.
func Handler(ws http.Handler, page fs.FS, dir string) *http.ServeMux {
	mux := http.NewServeMux()
	mux.Handle("/ws", ws)
	for _, files := range []fs.FS{sub(page, dir), sub(assets, "assets")} {
		server := withHeaders(http.FileServerFS(files))
		names, err := fs.Glob(files, "*")
		if err != nil {
			panic("BUG: " + err.Error())
		}
		for _, name := range names {
			if name == "index.html" {
				name = "{$}"
			}
			mux.Handle("GET /"+name, server)
		}
	}
	return mux
}

func sub(files fs.FS, dir string) fs.FS {
	files, err := fs.Sub(files, dir)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return files
}

// withHeaders adds what a browser has to know of a page.
func withHeaders(files http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-cache")
		files.ServeHTTP(w, r)
	})
}
