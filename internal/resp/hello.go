package resp

import (
	"context"
	"errors"
	"fmt"
	"strconv"
)

// hello logs in. Servers since Redis 6 take everything in one HELLO; an older
// one, and one that must stay on RESP2, gets AUTH and CLIENT SETNAME.
func (c *Conn) hello(ctx context.Context) error {
	done, err := c.hello3(ctx)
	if err != nil {
		return err
	}
	if !done {
		if err := c.auth(ctx); err != nil {
			return err
		}
		// The name is a courtesy: users without the right to set it work as well.
		if _, err := c.Do(ctx, "CLIENT", "SETNAME", c.opt.Name); err != nil && !IsServerError(err) {
			return err
		}
	}
	if c.opt.DB == 0 {
		// Also tells a server that wants a password from one that does not,
		// before the first real command does.
		return c.ping(ctx)
	}
	if _, err := c.Do(ctx, "SELECT", strconv.Itoa(c.opt.DB)); err != nil {
		return fmt.Errorf("cannot select database %d: %w", c.opt.DB, needsAuth(err))
	}
	return nil
}

func (c *Conn) hello3(ctx context.Context) (bool, error) {
	if c.opt.RESP2 {
		return false, nil
	}
	args := []string{"HELLO", "3"}
	if c.opt.Password != "" {
		user := c.opt.Username
		if user == "" {
			user = "default"
		}
		args = append(args, "AUTH", user, c.opt.Password)
	}
	r, err := c.Do(ctx, append(args, "SETNAME", c.opt.Name)...)
	switch {
	case err == nil:
		c.greet(r)
		return true, nil
	case UnknownCommand(err), IsServerError(err, "NOPROTO", "NOPERM", "ERR"):
		return false, nil
	}
	return false, needsAuth(err)
}

func (c *Conn) auth(ctx context.Context) error {
	if c.opt.Password == "" {
		return nil
	}
	args := []string{"AUTH"}
	if c.opt.Username != "" {
		args = append(args, c.opt.Username)
	}
	_, err := c.Do(ctx, append(args, c.opt.Password)...)
	return err
}

func (c *Conn) ping(ctx context.Context) error {
	_, err := c.Do(ctx, "PING")
	if IsServerError(err, "NOPERM", "LOADING", "MASTERDOWN", "BUSY") {
		// It answers; whether it will do what is asked of it shows then.
		return nil
	}
	return needsAuth(err)
}

// needsAuth says in plain words what NOAUTH means.
func needsAuth(err error) error {
	if IsServerError(err, "NOAUTH") {
		return fmt.Errorf("the server asks for a password: %w", err)
	}
	if errors.Is(err, context.Canceled) {
		return context.Canceled
	}
	return err
}

// greet keeps what the server tells about itself in its reply to HELLO.
func (c *Conn) greet(r *Reply) {
	for i := 0; i+1 < len(r.Elems); i += 2 {
		v := string(r.Elems[i+1].Bytes)
		switch string(r.Elems[i].Bytes) {
		case "server":
			c.greeting.Engine = v
		case "version":
			c.greeting.Version = v
		case "mode":
			c.greeting.Mode = v
		}
	}
	if err := c.greeting.split(); err != nil {
		c.greeting = Server{}
	}
}

// Greeting is what the server said about itself when it was greeted, for users
// who may not call INFO. It is empty on RESP2 and where the server said nothing
// of use. A Valkey that hides behind its compatibility mode calls itself redis 7.2.4.
func (c *Conn) Greeting() Server { return c.greeting }
