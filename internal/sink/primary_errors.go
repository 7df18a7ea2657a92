package sink

import (
	"errors"
	"fmt"

	"holdfast.dev/internal/resp"
)

// ErrNoReplicaOf says that a server cannot be filled as our replica. Nothing of it
// was changed, or all of it was put back; Server fills it in its place.
var ErrNoReplicaOf = errors.New("the server cannot be filled by REPLICAOF")

// noRoad is an ErrNoReplicaOf with its reason.
func noRoad(target resp.Options, format string, args ...any) error {
	return fmt.Errorf("%w: %s: %w", ErrNoReplicaOf, target, fmt.Errorf(format, args...))
}

// denied tells that a server, or its administrator, does not let us have a command.
func denied(err error) bool {
	return resp.IsServerError(err, "NOPERM") || resp.UnknownCommand(err) || resp.IsServerError(err, "ERR")
}
