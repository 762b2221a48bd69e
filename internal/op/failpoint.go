package op

import (
	"log/slog"
	"os"
	"strings"
	"syscall"

	"lxd/internal/errs"
)

// Hook lets a test fail or kill the daemon at a step; it is called before ("before") and after ("after") each one.
type Hook func(kind, step, moment string) error

// ParseHook reads "KIND/STEP/before=fail": at that step the hook fails it ("fail"), kills the process ("kill"), blocks
// forever ("hang") or notes in the log that it was there ("log"). An empty text is no hook. A kind or step of "*" is any.
func ParseHook(text string) (Hook, error) {
	if text == "" {
		return nil, nil
	}
	where, what, _ := strings.Cut(text, "=")
	parts := strings.Split(where, "/")
	act, known := actions[what]
	if len(parts) != 3 || !known || (parts[2] != "before" && parts[2] != "after") {
		return nil, errs.Newf(errs.Invalid, "failpoint %q: must be KIND/STEP/before or KIND/STEP/after, then =fail, =kill, =hang or =log", text)
	}
	return func(kind, step, moment string) error {
		if moment != parts[2] || !like(parts[0], kind) || !like(parts[1], step) {
			return nil
		}
		return act(kind + "/" + step + "/" + moment)
	}, nil
}

var actions = map[string]func(where string) error{
	"fail": func(where string) error { return errs.Newf(errs.Internal, "failpoint %s", where) },
	"kill": func(string) error { return syscall.Kill(os.Getpid(), syscall.SIGKILL) },
	"hang": func(string) error { select {} },
	"log":  func(where string) error { slog.Info("failpoint", "at", where); return nil },
}

func like(pattern, name string) bool { return pattern == "*" || pattern == name }
