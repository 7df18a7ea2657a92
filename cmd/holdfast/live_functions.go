package main

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"holdfast.dev/internal/resp"
)

// syncFunctions makes the target's functions those of the source, each time that
// it is called; nil where they are left out.
func (m *liveMove) syncFunctions() func(ctx context.Context) (int, error) {
	if m.flags.withoutFunctions {
		return nil
	}
	// ours are the libraries that the target has from us.
	ours := map[string]bool{}
	return func(ctx context.Context) (int, error) {
		n, err := m.copyFunctions(ctx, ours)
		if err != nil {
			return n, fmt.Errorf("cannot copy the functions, --without-functions leaves them out: %w", err)
		}
		return n, nil
	}
}

// copyFunctions gives every primary of the target the functions of the source.
func (m *liveMove) copyFunctions(ctx context.Context, ours map[string]bool) (int, error) {
	want, err := sourceFunctions(ctx, *m.src.server)
	if err != nil {
		return 0, err
	}
	first, others, err := primaryOf(ctx, *m.dst.server)
	if err != nil {
		return 0, err
	}
	for _, opt := range append([]resp.Options{first}, others...) {
		if err := giveFunctions(ctx, opt, want, ours); err != nil {
			return 0, err
		}
	}
	clear(ours)
	for name := range want {
		ours[name] = true
	}
	return len(want), nil
}

// giveFunctions makes a server have these libraries, and those of ours no more that
// are not among them.
func giveFunctions(ctx context.Context, opt resp.Options, want map[string]string, ours map[string]bool) error {
	conn, err := resp.Dial(ctx, opt.WithDB(0))
	if err != nil {
		return err
	}
	defer conn.Close()
	have, err := loadedFunctions(ctx, conn)
	if resp.UnknownCommand(err) && len(want) == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if have[name] != want[name] {
			if _, err := conn.Do(ctx, "FUNCTION", "LOAD", "REPLACE", want[name]); err != nil {
				return err
			}
		}
	}
	for name := range ours {
		_, still := want[name]
		if _, there := have[name]; still || !there {
			continue
		}
		if _, err := conn.Do(ctx, "FUNCTION", "DELETE", name); err != nil {
			return err
		}
	}
	return nil
}

// sourceFunctions are the libraries of a server, or those of all shards of a cluster.
func sourceFunctions(ctx context.Context, opt resp.Options) (map[string]string, error) {
	first, others, err := primaryOf(ctx, opt)
	if err != nil {
		return nil, err
	}
	libs, err := functionsOf(ctx, first)
	if err != nil {
		return nil, err
	}
	for _, opt := range others {
		more, err := functionsOf(ctx, opt)
		if err != nil {
			return nil, err
		}
		for name, code := range more {
			if was, ok := libs[name]; ok && was != code {
				return nil, fmt.Errorf("the library %q of %s is another one than that of %s; load the right one there", name, opt, first)
			}
			libs[name] = code
		}
	}
	return libs, nil
}

// functionsOf are the libraries of a server; one that knows no functions has none.
func functionsOf(ctx context.Context, opt resp.Options) (map[string]string, error) {
	conn, err := resp.Dial(ctx, opt.WithDB(0))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	libs, err := loadedFunctions(ctx, conn)
	if resp.UnknownCommand(err) {
		return map[string]string{}, nil
	}
	return libs, err
}
