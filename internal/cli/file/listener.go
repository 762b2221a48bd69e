package file

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"
)

// serve is an SSH server whose only service is SFTP, to the files of one instance.
func (m *mount) serve(ctx context.Context, from place) error {
	if conn, err := from.server.SFTP(ctx, from.instance); err != nil { // tell what is wrong before anybody logs in
		return err
	} else if err := conn.Close(); err != nil {
		return err
	}
	address := m.listen
	if address == "" {
		address = "127.0.0.1:0"
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("Failed to listen for connection: %w", err)
	}
	config, err := m.config()
	if err != nil {
		return errors.Join(err, l.Close())
	}
	fmt.Fprintf(m.app.Out, "SSH SFTP listening on %s\n", l.Addr())
	if m.open {
		fmt.Fprintln(m.app.Out, "Login without username and password")
	} else {
		fmt.Fprintf(m.app.Out, "Login with username %q and password %q\n", config.user, config.password)
	}
	stop := context.AfterFunc(ctx, func() { _ = l.Close() }) // ends the accepting
	defer stop()
	var sessions sync.WaitGroup
	defer sessions.Wait()
	for {
		conn, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		sessions.Go(func() { m.session(ctx, from, conn, config) })
	}
}

// access is who may log in.
type access struct {
	*ssh.ServerConfig
	user, password string
}

func (m *mount) config() (access, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return access{}, err
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		return access{}, err
	}
	a := access{ServerConfig: &ssh.ServerConfig{NoClientAuth: m.open}, user: m.user, password: strings.ToLower(rand.Text())}
	if a.user == "" {
		a.user = strings.ToLower(rand.Text()[:8])
	}
	if !m.open {
		a.PasswordCallback = func(c ssh.ConnMetadata, password []byte) (*ssh.Permissions, error) {
			same := subtle.ConstantTimeCompare([]byte(c.User()), []byte(a.user)) & subtle.ConstantTimeCompare(password, []byte(a.password))
			if same != 1 {
				return nil, fmt.Errorf("user or password is wrong")
			}
			return nil, nil
		}
	}
	a.AddHostKey(signer)
	return a, nil
}

// session serves one SSH connection; what goes wrong with it is said and does not end the others.
func (m *mount) session(ctx context.Context, from place, conn net.Conn, config access) {
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() }) // ends the session
	defer stop()
	s, channels, requests, err := ssh.NewServerConn(conn, config.ServerConfig)
	if err != nil {
		fmt.Fprintf(m.app.Err, "Failed SSH handshake with client %s: %v\n", conn.RemoteAddr(), err)
		_ = conn.Close() // it is of no use
		return
	}
	defer s.Close()
	go ssh.DiscardRequests(requests)
	var open sync.WaitGroup
	defer open.Wait()
	for c := range channels {
		if c.ChannelType() != "session" {
			_ = c.Reject(ssh.UnknownChannelType, "only sessions are served") // the client has gone if this fails
			continue
		}
		channel, requests, err := c.Accept()
		if err != nil {
			return
		}
		open.Go(func() { m.channel(ctx, from, channel, requests) })
	}
}

// channel waits for the client to ask for SFTP, and connects it to the instance.
func (m *mount) channel(ctx context.Context, from place, channel ssh.Channel, requests <-chan *ssh.Request) {
	defer channel.Close()
	for r := range requests {
		ok := r.Type == "subsystem" && len(r.Payload) > 4 && string(r.Payload[4:]) == "sftp"
		if err := r.Reply(ok, nil); err != nil {
			return
		}
		if !ok {
			continue
		}
		go ssh.DiscardRequests(requests)
		conn, err := from.server.SFTP(ctx, from.instance)
		if err != nil {
			fmt.Fprintf(m.app.Err, "Failed connecting to instance SFTP: %v\n", err)
			return
		}
		join(channel, conn)
		return
	}
}

// join carries bytes both ways until either side ends.
func join(a ssh.Channel, b net.Conn) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(b, a) // whichever side ends ends the other
		_ = b.Close()
	}()
	_, _ = io.Copy(a, b)
	_ = a.Close()
	<-done
}
