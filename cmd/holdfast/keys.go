package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/spf13/cobra"
)

func newKeysCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "keys",
		Short: "Rotate the root key",
		Long: `Keys concerns the root key, which may do everything. Keys of users are made with
"aws iam create-access-key".`,
		Args: noSubcommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newRotateCmd())
	return cmd
}

func newRotateCmd() *cobra.Command {
	var dir string
	var finish bool
	cmd := &cobra.Command{
		Use:   "rotate",
		Short: "Make a new root key, or end the old one",
		Long: `Rotate makes a new root key, whether the service runs or not; from then on
"holdfast env" prints that. The old key stays good, so that clients can be changed one
by one, until it is ended:

  holdfast keys rotate
  eval "$(holdfast env)"        # wherever the key is used
  holdfast keys rotate --finish

A service that runs takes either change up with its next request.`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if finish {
				return finishRotation(dataDir(dir), cmd.OutOrStdout())
			}
			return rotateRootKey(dataDir(dir), cmd.OutOrStdout())
		},
	}
	cmd.Flags().StringVar(&dir, "data", defaultDataDir(), "data directory")
	cmd.Flags().BoolVar(&finish, "finish", false, "end the old key")
	return cmd
}

// rotateRootKey puts a new key before the one that there is. The file is replaced as a
// whole: at each moment it has either the old key alone, or both.
func rotateRootKey(dir dataDir, out io.Writer) error {
	old, err := dir.existingRootKey()
	if err != nil {
		return err
	}
	if old.Previous != nil {
		return fmt.Errorf("the key %s of the last rotation is still good; end it first: holdfast keys rotate --finish --data %s", old.Previous.AccessKeyID, dir)
	}
	k := newRootKey()
	k.Previous = &old
	if err := writeJSON(dir.credentials(), k); err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "The root key is %s now; \"holdfast env\" prints it.\nThe key %s stays good until: holdfast keys rotate --finish\n", k.AccessKeyID, old.AccessKeyID)
	return err
}

// finishRotation ends the old key.
func finishRotation(dir dataDir, out io.Writer) error {
	k, err := dir.existingRootKey()
	if err != nil {
		return err
	}
	if k.Previous == nil {
		return errors.New("there is no old root key to end")
	}
	old := k.Previous.AccessKeyID
	k.Previous = nil
	if err := writeJSON(dir.credentials(), k); err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "The key %s is ended; the root key is %s.\n", old, k.AccessKeyID)
	return err
}

func (d dataDir) existingRootKey() (rootKey, error) {
	k, err := d.readRootKey()
	if errors.Is(err, fs.ErrNotExist) {
		return k, fmt.Errorf("no service has been started in %s yet; start one with: holdfast serve --data %s", d, d)
	}
	return k, err
}
