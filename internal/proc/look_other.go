//go:build !linux || procps

package proc

import (
	"errors"
	"os"
)

// LookAt looks at the process that ref names. How much processor time it has used is
// not told in the same words by every ps.
func LookAt(ref Ref) (Look, error) {
	boot, err := bootID()
	if err != nil || ref.PID <= 0 || boot != ref.BootID {
		return Look{}, err
	}
	st, err := readStat(ref.PID)
	if errors.Is(err, os.ErrNotExist) {
		return Look{}, nil
	}
	if err != nil || st.start != ref.StartTime {
		return Look{}, err
	}
	return Look{State: st.state}, nil
}
