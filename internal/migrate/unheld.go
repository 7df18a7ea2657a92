package migrate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
)

// Unheld is a Holder for a source at which writes cannot be held: whoever runs the
// migration has stopped the writers. That is not taken on trust: see Check.
type Unheld struct{ Carrier Carrier }

// Hold changes nothing at the source.
func (u Unheld) Hold(context.Context, func(json.RawMessage) error) (Held, error) {
	return unheld{u.Carrier}, nil
}

type unheld struct{ carrier Carrier }

func (unheld) Lost() <-chan struct{}         { return nil }
func (unheld) Means() string                 { return "nothing, for the writers have been stopped" }
func (unheld) Release(context.Context) error { return nil }

// Check sees that nothing changed while both ends were compared.
func (u unheld) Check(ctx context.Context) error {
	if err := u.carrier.Drain(ctx); err != nil {
		return err
	}
	keys, all := u.carrier.Mark()
	switch {
	case all:
		return errors.New("the source was written to while both ends were compared: stop every writer")
	case len(keys) > 0:
		return fmt.Errorf("the source was written to while both ends were compared, %d keys, such as %q of database %d: stop every writer, or wait until it has expired",
			len(keys), keys[0].Name, keys[0].DB)
	}
	return nil
}

// Fence can do nothing.
func (unheld) Fence(context.Context) (string, error) {
	return "", errors.New("nothing there holds writes back")
}
