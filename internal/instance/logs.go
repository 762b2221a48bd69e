package instance

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"lxd/api"
	"lxd/internal/errs"
	hostfs "lxd/internal/host/fs"
	"lxd/internal/project"
)

// execOutput is the folder, beside the logs, of what commands wrote that were recorded.
const execOutput = "exec-output"

// Logs lists the URLs of an instance's log files, or with dir exec-output those of recorded commands.
func (s *Service) Logs(ctx context.Context, proj, name, dir string) ([]string, error) {
	v, err := s.view(ctx, proj, name)
	if err != nil {
		return nil, err
	}
	urls := []string{}
	root, err := s.openLogs(v.Record, false)
	if errors.Is(err, os.ErrNotExist) {
		return urls, nil // it never ran
	}
	if err != nil {
		return nil, err
	}
	defer root.Close()
	folder, err := root.OpenFile(dir, os.O_RDONLY|hostfs.NoFollow, 0)
	if errors.Is(err, os.ErrNotExist) {
		return urls, nil // nothing was recorded
	}
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	entries, err := folder.ReadDir(-1)
	for _, e := range entries {
		if e.Type() == fs.FileMode(0) && checkLog(e.Name()) == nil {
			urls = append(urls, logURL(v.Record, dir, e.Name()))
		}
	}
	slices.Sort(urls)
	return urls, err
}

// LogFile opens a log file; the caller closes it.
func (s *Service) LogFile(ctx context.Context, proj, name, file string) (*os.File, error) {
	v, err := s.view(ctx, proj, name)
	if err != nil {
		return nil, err
	}
	f, err := s.openLog(v.Record, file)
	if errors.Is(err, os.ErrNotExist) {
		return nil, errs.Newf(errs.NotFound, "the instance has no log file %q", file)
	}
	if err == nil {
		s.logEvent(ctx, api.LifecycleInstanceLogRetrieved, v.Record, file)
	}
	return f, err
}

func (s *Service) openLog(r Record, file string) (*os.File, error) {
	if err := checkLog(strings.TrimPrefix(file, execOutput+"/")); err != nil {
		return nil, err
	}
	root, err := s.openLogs(r, false)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	f, err := root.OpenFile(file, os.O_RDONLY|hostfs.NoFollow, 0)
	if err != nil {
		return nil, err
	}
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		return nil, errors.Join(os.ErrNotExist, f.Close())
	}
	return f, nil
}

// DeleteLog deletes a log file that nothing writes to any more.
func (s *Service) DeleteLog(ctx context.Context, proj, name, file string) error {
	v, err := s.view(ctx, proj, name)
	if err != nil {
		return err
	}
	if slices.Contains([]string{"lxc.log", "lxc.conf", "qemu.log", "qemu.conf", "console.log"}, file) {
		return errs.Newf(errs.Invalid, "log file %q is kept as long as the instance", file)
	}
	f, err := s.openLog(v.Record, file)
	if errors.Is(err, os.ErrNotExist) {
		return errs.Newf(errs.NotFound, "the instance has no log file %q", file)
	}
	if err != nil {
		return err
	}
	root, err := s.openLogs(v.Record, false)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	defer root.Close()
	if err := root.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	s.logEvent(ctx, api.LifecycleInstanceLogDeleted, v.Record, file)
	return nil
}

// logEvent announces what was done to a log file; listeners know such files below the backups of the instance.
func (s *Service) logEvent(ctx context.Context, action string, r Record, file string) {
	e := change(ctx, action, r)
	e.Source = project.URL("", "instances", r.Name, "backups", path.Base(file))
	s.announce(e)
}

// checkLog refuses what is not the name of a log file.
func checkLog(name string) error {
	odd := func(c rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-", c)
	}
	if name == "" || name[0] == '.' || strings.ContainsFunc(name, odd) {
		return errs.Newf(errs.Invalid, "%q is not the name of a log file: it is made of letters, digits, dots, dashes and underscores", name)
	}
	return nil
}

// openLogs opens the folder of an instance's logs; what is recorded of commands is in one below.
func (s *Service) openLogs(r Record, record bool) (*hostfs.Root, error) {
	if record {
		if err := os.MkdirAll(s.logDir(r), 0o700); err != nil {
			return nil, err
		}
	}
	root, err := hostfs.OpenRoot(s.logDir(r))
	if err != nil || !record {
		return root, err
	}
	if err := root.MkdirAll(execOutput, 0o700); err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return root, nil
}

// logURL is the address of a log file; such addresses name no project.
func logURL(r Record, dir, file string) string {
	parts := []string{"instances", r.Name, "logs"}
	if dir == execOutput {
		parts = append(parts, dir)
	}
	return project.URL("", append(parts, file)...)
}
