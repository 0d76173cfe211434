//go:build unix

package devtools

import (
	"os/exec"
	"syscall"
)

// Chromium is a family of processes. In a group of their own one signal reaches them all.

// inGroup makes cmd the head of a new process group.
func inGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
}

// endGroup ends every process of the group whose head cmd is or was.
func endGroup(cmd *exec.Cmd) {
	// ESRCH says that none is left, which is what we want.
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
}
