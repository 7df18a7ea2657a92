//go:build !linux

package gateway

import (
	"os"
	"time"
)

// birth is the directory's modification time: near enough for a list.
func birth(dir string) (time.Time, error) {
	st, err := os.Stat(dir)
	if err != nil {
		return time.Time{}, err
	}
	return st.ModTime(), nil
}
