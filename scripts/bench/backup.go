package main

import (
	"context"
	"errors"
	"os"
)

// backupFile is where the backups of a server go.
func backupFile(s *server) string { return s.dir + ".backup.tar.gz" }

// backupRow times the export of an instance to a file.
func backupRow(ctx context.Context, _ *bench, s *server, _ int) (float64, error) {
	d, err := timed("export", "m", backupFile(s))(ctx, nil, s, 0)
	return d, errors.Join(err, os.Remove(backupFile(s)))
}

// backedUp makes a backup of an instance that stays.
func backedUp(ctx context.Context, b *bench, s *server) error {
	if err := still(ctx, b, s); err != nil {
		return err
	}
	return s.run(ctx, "export", "m", backupFile(s))
}

// restoreRow times the making of an instance of that backup; it goes again.
func restoreRow(ctx context.Context, _ *bench, s *server, _ int) (float64, error) {
	d, err := timed("import", backupFile(s), "restored")(ctx, nil, s, 0)
	if err != nil {
		return 0, err
	}
	return d, s.run(ctx, "delete", "restored")
}
