//go:build !unix

package devtools

import "os/exec"

// Without process groups Chromium's other processes end by themselves once their first one has ended.

// inGroup leaves cmd as it is.
func inGroup(*exec.Cmd) {}

// endGroup ends cmd.
func endGroup(cmd *exec.Cmd) {
	_ = cmd.Process.Kill()
}
