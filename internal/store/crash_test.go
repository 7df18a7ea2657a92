package store

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
)

// children are what the test binary does when it is run as a child process.
var children = map[string]func(path string) error{
	"writer":   writerChild,
	"opener":   openerChild,
	"fulldisk": fullDiskChild,
	"migrator": migratorChild,
}

var numbers = NewTable[int]("numbers")

func child(t *testing.T, role, path string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), "STORE_TEST_CHILD="+role, "STORE_TEST_PATH="+path)
	cmd.Stderr = os.Stderr
	return cmd
}

// writerChild commits numbers from four goroutines for ever and prints each one
// once it is acknowledged.
func writerChild(path string) error {
	db, err := Open(context.Background(), path)
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			key := func(i int) string { return fmt.Sprintf("%d/%08d", g, i) }
			first := 0
			err := db.View(context.Background(), func(tx *Tx) (err error) {
				first, err = numbers.Count(tx, fmt.Sprintf("%d/", g))
				return err
			})
			for i := first; err == nil; i++ {
				err = db.Update(context.Background(), func(tx *Tx) error {
					return errors.Join(numbers.Put(tx, key(i), i), numbers.Put(tx, fmt.Sprintf("last-%d", g), i))
				})
				if err == nil {
					_, err = os.Stdout.WriteString(key(i) + "\n")
				}
			}
		})
	}
	wg.Wait()
	return nil
}

// TestKillLosesNothing kills a writing process at random moments, many times on
// the same file, and looks for everything that it had acknowledged.
func TestKillLosesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	acknowledged := map[string]bool{}
	for range 25 {
		killOnce(t, path, acknowledged)
		checkAcknowledged(t, path, acknowledged)
	}
	t.Logf("%d acknowledged", len(acknowledged))
}

// TestKillWhileCreating kills the process that makes the file; it is whole or not there.
func TestKillWhileCreating(t *testing.T) {
	dir := t.TempDir()
	made := 0
	for i := range 30 {
		path := filepath.Join(dir, strconv.Itoa(i))
		cmd := child(t, "opener", path)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		killer := time.AfterFunc(time.Duration(rand.IntN(9000))*time.Microsecond, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait() // by the kill or before it
		killer.Stop()
		if _, err := os.Stat(path); err == nil {
			made++
		}
		db, err := Open(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		checkPages(t, db)
		mustClose(t, db)
	}
	t.Logf("%d of 30 were there after the kill", made)
}

func killOnce(t *testing.T, path string, acknowledged map[string]bool) {
	t.Helper()
	cmd := child(t, "writer", path)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// The first rounds are cut short while the file is made.
	killer := time.AfterFunc(time.Duration(rand.IntN(120))*time.Millisecond, func() { _ = cmd.Process.Kill() })
	defer killer.Stop()
	r := bufio.NewReader(out)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			if !errors.Is(err, io.EOF) {
				t.Error(err)
			}
			break
		}
		acknowledged[strings.TrimSpace(line)] = true
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("the child ended otherwise than by the kill: %v", err)
	}
}

func checkAcknowledged(t *testing.T, path string, acknowledged map[string]bool) {
	t.Helper()
	db, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer mustClose(t, db)
	err = db.View(t.Context(), func(tx *Tx) error {
		for key := range acknowledged {
			_, number, _ := strings.Cut(key, "/")
			want, err := strconv.Atoi(number)
			if err != nil {
				return err
			}
			if n, ok, err := numbers.Get(tx, key); err != nil || !ok || n != want {
				return fmt.Errorf("acknowledged %s, found %d %v %w", key, n, ok, err)
			}
		}
		return checkPairs(tx)
	})
	if err != nil {
		t.Fatal(err)
	}
	checkPages(t, db)
}

// checkPairs holds that the two records of each commit are there together.
func checkPairs(tx *Tx) error {
	for g := range 4 {
		n, err := numbers.Count(tx, fmt.Sprintf("%d/", g))
		if err != nil {
			return err
		}
		last, ok, err := numbers.Get(tx, fmt.Sprintf("last-%d", g))
		if err != nil || ok != (n > 0) || (ok && last != n-1) {
			return fmt.Errorf("%d records of %d, the last is said to be %d (%v, %w)", n, g, last, ok, err)
		}
	}
	return nil
}

// checkPages lets bbolt check its own structure.
func checkPages(t *testing.T, db *DB) {
	t.Helper()
	err := db.bolt.View(func(tx *bolt.Tx) error {
		var errs []error
		for err := range tx.Check() {
			errs = append(errs, err)
		}
		return errors.Join(errs...)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func openerChild(path string) error {
	db, err := Open(context.Background(), path)
	if errors.Is(err, ErrLocked) {
		fmt.Println("locked:", err)
		return nil
	}
	if err != nil {
		return err
	}
	return db.Close()
}

func TestSecondProcessIsRefused(t *testing.T) {
	db := tempDB(t)
	out, err := child(t, "opener", db.Path()).Output()
	if err != nil || !strings.HasPrefix(string(out), "locked:") || !strings.Contains(string(out), db.Path()) {
		t.Fatalf("the second process wrote %q, %v", out, err)
	}
	mustClose(t, db)
	if out, err := child(t, "opener", db.Path()).Output(); err != nil || len(out) != 0 {
		t.Fatalf("after Close it wrote %q, %v", out, err)
	}
}

// fullDiskChild fills the store until the limit on file sizes stops it, then
// checks that it can still be read, and written to once there is room again.
func fullDiskChild(path string) error {
	db, err := Open(context.Background(), path)
	if err != nil {
		return err
	}
	signal.Ignore(syscall.SIGXFSZ)
	old := syscall.Rlimit{}
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		return err
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 1 << 20, Max: old.Max}); err != nil {
		return err
	}
	write := func(i int) error {
		return db.Update(context.Background(), func(tx *Tx) error {
			return NewTable[string]("big").Put(tx, fmt.Sprintf("%08d", i), strings.Repeat("x", 10000))
		})
	}
	n, failed := 0, error(nil)
	for ; n < 1000; n++ {
		if failed = write(n); failed != nil {
			break
		}
	}
	if !errors.Is(failed, syscall.EFBIG) || errors.Is(failed, ErrUncertain) {
		return fmt.Errorf("after %d the error is %w", n, failed)
	}
	if err := write(n); !errors.Is(err, syscall.EFBIG) {
		return fmt.Errorf("the second time: %w", err)
	}
	if err := countBig(db, n); err != nil {
		return err
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		return err
	}
	if err := write(n); err != nil {
		return fmt.Errorf("with room again: %w", err)
	}
	if err := countBig(db, n+1); err != nil {
		return err
	}
	fmt.Println(n + 1)
	return db.Close()
}

func countBig(db *DB, want int) error {
	return db.View(context.Background(), func(tx *Tx) error {
		n, err := NewTable[string]("big").Count(tx, "")
		if err != nil || n != want || tx.Revision() != uint64(want) {
			return fmt.Errorf("%d records at revision %d, want %d: %w", n, tx.Revision(), want, err)
		}
		return nil
	})
}

func TestFullDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	out, err := child(t, "fulldisk", path).Output()
	if err != nil {
		t.Fatalf("the child wrote %q, %v", out, err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil || n < 2 {
		t.Fatalf("the child wrote %q", out)
	}
	db := openTest(t, path)
	if err := countBig(db, n); err != nil {
		t.Fatal(err)
	}
	checkPages(t, db)
}

// migratorChild is killed in the middle of its second migration.
func migratorChild(path string) error {
	_, err := open(context.Background(), path, append(slices.Clone(migrations),
		func(tx *bolt.Tx) error { return noteMigration(tx) },
		func(tx *bolt.Tx) error {
			if err := noteMigration(tx); err != nil {
				return err
			}
			return syscall.Kill(os.Getpid(), syscall.SIGKILL)
		}))
	return errors.Join(errors.New("not killed"), err)
}

// noteMigration adds one to a count in the file.
func noteMigration(tx *bolt.Tx) error {
	b := tx.Bucket(bucketMeta)
	return writeUint(b, []byte("count"), readUint(b, []byte("count"))+1)
}

// TestKillInMigration: each migration happens once, whatever is killed.
func TestKillInMigration(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	for range 3 {
		var exit *exec.ExitError
		err := child(t, "migrator", path).Run()
		if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Fatalf("the child ended otherwise than by the kill: %v", err)
		}
	}
	db, err := open(t.Context(), path, append(slices.Clone(migrations), noteMigration, noteMigration))
	if err != nil {
		t.Fatal(err)
	}
	defer mustClose(t, db)
	checkPages(t, db)
	err = db.bolt.View(func(tx *bolt.Tx) error {
		if n := readUint(tx.Bucket(bucketMeta), []byte("count")); n != 2 {
			t.Errorf("%d migrations happened, want 2", n)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
