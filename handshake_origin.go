package websocket

// Which pages may connect to a server: the origin policy (RFC 6455 section 10.2). It sees the request's headers and the
// Options, and nothing else.

import (
	"fmt"
	"net/http"
	"strings"
)

// judgeOrigin decides whether the page that the request comes from may connect (RFC 6455 section 10.2). Only browsers
// send these headers, and only against them is this a protection.
func judgeOrigin(r *http.Request, o *Options) *HandshakeError {
	if o.CheckOrigin != nil {
		if o.CheckOrigin(r) {
			return nil
		}
		return forbidden("origin was refused by Options.CheckOrigin")
	}
	origins, site := r.Header["Origin"], r.Header["Sec-Fetch-Site"]
	switch {
	case len(origins) > 1:
		return forbidden("several Origin headers")
	case len(origins) == 1 && isListed(origins[0], o.Origins):
		return nil
	case isOnly(site, "same-origin"):
		return nil
	case len(origins) == 0 && !hasToken(site, "cross-site") && !hasToken(site, "same-site"):
		return nil
	case len(origins) == 0:
		return forbidden(fmt.Sprintf("no Origin header, and Sec-Fetch-Site %.100q", strings.Join(site, ", ")))
	case isSameHost(origins[0], r.Host):
		return nil
	}
	return forbidden(fmt.Sprintf("Origin %.100q is not of Host %.100q: list it in Options.Origins, or decide in Options.CheckOrigin", origins[0], r.Host))
}

func forbidden(rule string) *HandshakeError {
	return &HandshakeError{http.StatusForbidden, "10.2", rule}
}

// isListed reports whether one of the patterns of Options.Origins matches origin.
func isListed(origin string, patterns []string) bool {
	for _, p := range patterns {
		if p == "*" || p == "null" && origin == "null" || matchOrigin(origin, p) {
			return true
		}
	}
	return false
}

// matchOrigin reports whether origin is a scheme, host and port that pattern stands for.
func matchOrigin(origin, pattern string) bool {
	scheme, host, port, ok := splitOrigin(origin)
	if !ok {
		return false
	}
	wantScheme, authority, hasScheme := strings.Cut(pattern, "://")
	if !hasScheme {
		authority = pattern
	}
	if hasScheme && !equalFold(scheme, wantScheme) || !hasScheme && !isWeb(scheme) {
		return false
	}
	wantHost, wantPort, ok := splitHost(strings.TrimSuffix(authority, "/"))
	if wantPort == "" {
		wantPort = defaultPort(scheme)
	}
	return ok && (wantPort == "*" || port == wantPort) && matchHost(host, wantHost)
}

// matchHost compares host names; "*" stands for any, and "*." in front for one label or more.
func matchHost(host, pattern string) bool {
	if suffix, ok := strings.CutPrefix(pattern, "*"); ok && (suffix == "" || suffix[0] == '.') {
		n := len(host) - len(suffix)
		return n > 0 && equalFold(host[n:], suffix)
	}
	return equalFold(host, pattern)
}

// isSameHost reports whether origin has the host and port of a Host header, where a missing port is the default of
// origin's scheme. Schemes are not compared: TLS may have ended at a proxy in front.
func isSameHost(origin, host string) bool {
	scheme, originHost, originPort, ok := splitOrigin(origin)
	if !ok || !isWeb(scheme) {
		return false
	}
	name, port, ok := splitHost(host)
	if port == "" {
		port = defaultPort(scheme)
	}
	return ok && port == originPort && equalFold(name, originHost)
}

// splitOrigin splits scheme://host[:port]. The port is the scheme's default where there is none.
func splitOrigin(origin string) (scheme, host, port string, ok bool) {
	scheme, authority, ok := strings.Cut(origin, "://")
	if !ok || scheme == "" {
		return "", "", "", false
	}
	host, port, ok = splitHost(authority)
	if port == "" {
		port = defaultPort(scheme)
	}
	return scheme, host, port, ok
}

// splitHost splits host[:port]; an IPv6 address stays in its brackets.
func splitHost(s string) (host, port string, ok bool) {
	host = s
	if i := strings.LastIndexByte(s, ':'); i > strings.LastIndexByte(s, ']') {
		host, port = s[:i], s[i+1:]
		ok = port != ""
	} else {
		ok = true
	}
	bracketed := strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]")
	return host, port, ok && host != "" && !strings.ContainsAny(host, "/\\@?# ,") && (bracketed || strings.IndexByte(host, ':') < 0)
}

func isWeb(scheme string) bool {
	return equalFold(scheme, "http") || equalFold(scheme, "https")
}

func defaultPort(scheme string) string {
	switch {
	case equalFold(scheme, "http"):
		return "80"
	case equalFold(scheme, "https"):
		return "443"
	}
	return ""
}
