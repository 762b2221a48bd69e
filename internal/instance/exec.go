package instance

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/instance/config"
	"lxd/internal/instance/session"
	"lxd/internal/machine"
	"lxd/internal/op"
	"lxd/internal/schema"
)

// searchPath is where commands are looked for inside.
const searchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Exit codes of commands that could not be run.
const (
	notExecutable = 126
	notFound      = 127
)

// Exec returns the work that runs a command inside a running instance.
func (s *Service) Exec(ctx context.Context, proj, name string, post api.InstanceExecPost) (op.Spec, error) {
	v, err := s.view(ctx, proj, name)
	if err != nil {
		return op.Spec{}, err
	}
	if err := s.checkExec(v, post); err != nil {
		return op.Spec{}, err
	}
	env := execEnvironment(v.config, post)
	cmd := machine.Command{
		Args: post.Command, Env: pairs(env), UID: uint32(post.User), GID: uint32(post.Group), Dir: post.Cwd, Rlimits: config.Rlimits(v.config),
		Terminal: post.Interactive, Width: int(post.Width), Height: int(post.Height),
	}
	o := spec("instance-exec", api.OperationExecutingCommand, v.Record)
	o.Locks, o.Args = nil, nil // many at a time; what a crash cuts short ends by itself
	o.Metadata = map[string]any{"command": post.Command, "environment": env, "interactive": post.Interactive}
	if !post.WaitForWS {
		o.Run = func(ctx context.Context, t *op.Task) error { return s.runAlone(ctx, t, v, cmd) }
		if post.RecordOutput {
			o.Run = func(ctx context.Context, t *op.Task) error { return s.runRecorded(ctx, t, v, cmd) }
		}
		return o, nil
	}
	ses := session.New(post.Interactive, op.CallerOf(ctx))
	o.Class = op.WebsocketClass
	o.Metadata["fds"] = ses.Secrets()
	o.Connect = func(w http.ResponseWriter, r *http.Request) error { return ses.Connect(w, r) }
	o.Run = func(ctx context.Context, t *op.Task) error { return s.runAttached(ctx, t, v, cmd, ses) }
	return o, nil
}

func (s *Service) checkExec(v view, post api.InstanceExecPost) error {
	switch code := s.status(v.key()); {
	case code == api.StatusFrozen:
		return errs.Newf(errs.Invalid, "the instance is frozen: unfreeze it first")
	case !runs(code):
		return errs.Newf(errs.Invalid, "the instance is not running: start it first")
	case len(post.Command) == 0 || post.Command[0] == "":
		return errs.Newf(errs.Invalid, "the command is empty")
	case post.RecordOutput && (post.WaitForWS || post.Interactive):
		return errs.Newf(errs.Invalid, "record-output cannot be combined with interactive or wait-for-websocket")
	case post.Interactive && !post.WaitForWS:
		return errs.Newf(errs.Invalid, "an interactive command needs wait-for-websocket")
	case outOfRange(post.User) || outOfRange(post.Group):
		return errs.Newf(errs.Invalid, "user %d and group %d must be ids from 0 to 4294967294", post.User, post.Group)
	}
	return checkExecText(post)
}

func outOfRange(id int64) bool { return id < 0 || id >= 1<<32-1 }

// checkExecText refuses what cannot be handed to a program.
func checkExecText(post api.InstanceExecPost) error {
	for _, a := range append([]string{post.Cwd}, post.Command...) {
		if strings.ContainsRune(a, 0) {
			return errs.Newf(errs.Invalid, "command and folder may not contain a NUL character")
		}
	}
	for k, val := range post.Environment {
		if k == "" || strings.ContainsAny(k, "=\x00") || strings.ContainsRune(val, 0) {
			return errs.Newf(errs.Invalid, "environment variable %q: a name may not be empty or contain =, and neither name nor value a NUL character", k)
		}
	}
	return nil
}

// execEnvironment is the environment of a command: what the instance is configured with, what the request says, and defaults.
func execEnvironment(own map[string]string, post api.InstanceExecPost) map[string]string {
	env := map[string]string{"PATH": searchPath, "LANG": "C.UTF-8"}
	if post.User == 0 {
		env["HOME"], env["USER"] = "/root", "root"
	}
	maps.Copy(env, config.Environment(own))
	maps.Copy(env, post.Environment)
	return env
}

func pairs(env map[string]string) []string {
	out := make([]string, 0, len(env))
	for _, k := range slices.Sorted(maps.Keys(env)) {
		if schema.OneLine(k) == nil {
			out = append(out, k+"="+env[k])
		}
	}
	return out
}

// runAlone runs a command that nobody is attached to.
func (s *Service) runAlone(ctx context.Context, t *op.Task, v view, cmd machine.Command) error {
	p, err := s.exec(ctx, t, v, cmd)
	if err != nil {
		return err
	}
	code, err := session.Wait(ctx, p)
	return report(t, code, err)
}

// report shows a command's exit code. The two codes that a command which could not be run has, and which shells give by the same
// rule, make the work fail: clients print its error.
func report(t *op.Task, code int, err error) error {
	if err != nil {
		return err
	}
	t.SetMetadata("return", code)
	switch code {
	case notExecutable:
		return errs.Newf(errs.Internal, "Command not executable")
	case notFound:
		return errs.Newf(errs.Internal, "Command not found")
	}
	return nil
}

// maxRecord is the most that is kept of each output of a command.
const maxRecord = 64 << 20

// runRecorded runs a command and keeps its outputs in files.
func (s *Service) runRecorded(ctx context.Context, t *op.Task, v view, cmd machine.Command) error {
	logs, err := s.openLogs(v.Record, true)
	if err != nil {
		return err
	}
	defer logs.Close()
	var files [2]*os.File
	output := map[string]string{}
	id := strings.ToLower(rand.Text())
	for i, stream := range []string{"stdout", "stderr"} {
		name := "exec_" + id + "." + stream
		if files[i], err = logs.OpenFile(execOutput+"/"+name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
			return err
		}
		defer files[i].Close()
		output[strconv.Itoa(i+1)] = logURL(v.Record, execOutput, name)
	}
	code, err := session.Record(ctx, session.Recording{Stdout: files[0], Stderr: files[1], Max: maxRecord}, func(f session.Files) (machine.Process, error) {
		cmd.Stdout, cmd.Stderr = f.Stdout, f.Stderr
		return s.exec(ctx, t, v, cmd)
	})
	t.SetMetadata("output", output)
	if err == nil {
		t.SetMetadata("return", code)
	}
	return err
}

// runAttached runs a command and carries its streams over websockets.
func (s *Service) runAttached(ctx context.Context, t *op.Task, v view, cmd machine.Command, ses *session.Session) error {
	defer ses.Close()
	if err := ses.Await(ctx); err != nil {
		return err
	}
	code, err := ses.Run(ctx, func(files session.Files) (machine.Process, error) {
		cmd.Stdin, cmd.Stdout, cmd.Stderr = files.Stdin, files.Stdout, files.Stderr
		return s.exec(ctx, t, v, cmd)
	})
	return report(t, code, err)
}

// exec starts a command in the running machine.
func (s *Service) exec(ctx context.Context, t *op.Task, v view, cmd machine.Command) (machine.Process, error) {
	r := s.live.get(v.key())
	if r == nil || r.over() {
		return nil, errs.Newf(errs.Invalid, "the instance is not running: start it first")
	}
	p, err := r.m.Exec(ctx, cmd)
	if err != nil {
		t.SetMetadata("return", -1)
		return nil, fmt.Errorf("run %q: %w", cmd.Args[0], err)
	}
	e := change(ctx, api.LifecycleInstanceExec, v.Record)
	e.Context = map[string]any{"command": cmd.Args}
	s.announce(e)
	return p, nil
}
