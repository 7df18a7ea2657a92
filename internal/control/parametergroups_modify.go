package control

import (
	"context"
	"fmt"
	"slices"

	"holdfast.dev/internal/cache"
	"holdfast.dev/internal/records"
	"holdfast.dev/internal/store"
)

// maxParametersAtOnce is how many parameters one call may change.
const maxParametersAtOnce = 20

// NewValue is a parameter and the value that it is to have.
type NewValue struct{ Name, Value string }

// ModifyCacheParameterGroup sets values of a group. The caches that use it follow:
// their nodes are told at once what they can be told while they run.
func (c *Control) ModifyCacheParameterGroup(ctx context.Context, region, name string, values []NewValue) (string, error) {
	if err := checkParameterCount(len(values)); err != nil {
		return "", err
	}
	return c.changeParameterGroup(ctx, region, name, func(g *cache.ParameterGroup) error {
		for i, v := range values {
			if slices.ContainsFunc(values[:i], func(o NewValue) bool { return lower(o.Name) == lower(v.Name) }) {
				return conflict("The parameter %s is given more than once.", v.Name)
			}
			p, err := settable(g, v.Name)
			if err != nil {
				return err
			}
			if err := p.Check(v.Value); err != nil {
				return invalid("%s", err)
			}
		}
		if named(values, cache.ParamReservedMemory) && named(values, cache.ParamReservedPercent) {
			return conflict("The parameters %s and %s exclude each other.", cache.ParamReservedMemory, cache.ParamReservedPercent)
		}
		for _, v := range values {
			g.Set(lower(v.Name), v.Value)
		}
		return nil
	})
}

func named(values []NewValue, name string) bool {
	return slices.ContainsFunc(values, func(v NewValue) bool { return lower(v.Name) == name })
}

func checkParameterCount(n int) error {
	switch {
	case n == 0:
		return missing("ParameterNameValues")
	case n > maxParametersAtOnce:
		return invalid("At most %d parameters can be changed in one request. Provided: %d", maxParametersAtOnce, n)
	}
	return nil
}

// settable finds a parameter of a group's family that may have another value.
func settable(g *cache.ParameterGroup, name string) (cache.Parameter, error) {
	if name == "" {
		return cache.Parameter{}, missing("ParameterName")
	}
	p, ok := cache.FindParameter(g.Family, lower(name))
	switch {
	case !ok:
		return p, invalid("Parameter %s doesn't exist in the parameter group family %s.", name, g.Family)
	case !p.Settable():
		return p, invalid("The parameter %s cannot be modified.", p.Name)
	}
	return p, nil
}

// ResetCacheParameterGroup gives parameters of a group, or all of them, the values
// of the family again.
func (c *Control) ResetCacheParameterGroup(ctx context.Context, region, name string, all bool, names []string) (string, error) {
	switch {
	case all && len(names) > 0:
		return "", conflict("The parameters ResetAllParameters and ParameterNameValues cannot be used together.")
	case !all:
		if err := checkParameterCount(len(names)); err != nil {
			return "", err
		}
	}
	return c.changeParameterGroup(ctx, region, name, func(g *cache.ParameterGroup) error {
		reset := make([]string, len(names))
		for i, n := range names {
			p, err := settable(g, n)
			if err != nil {
				return err
			}
			reset[i] = p.Name
		}
		g.Reset(reset...)
		return nil
	})
}

// changeParameterGroup changes a group and what its users have of it.
func (c *Control) changeParameterGroup(ctx context.Context, region, name string, change func(*cache.ParameterGroup) error) (string, error) {
	var g cache.ParameterGroup
	err := c.DB.Update(ctx, func(tx *store.Tx) error {
		var err error
		if g, err = ownParameterGroup(tx, region, name, "modified"); err != nil {
			return err
		}
		before := g.Values
		if err := change(&g); err != nil {
			return err
		}
		if err := records.ParameterGroups.Put(tx, g.Key(), g); err != nil {
			return err
		}
		changed := cache.ChangedParameters(g.Family, before, g.Values)
		users, err := parameterGroupUsers(tx, &g)
		if err != nil {
			return err
		}
		for i := range users {
			if err := c.giveParameters(tx, &users[i], &g, before, changed); err != nil {
				return err
			}
		}
		notes := make([]string, 0, len(changed))
		for _, name := range changed {
			notes = append(notes, fmt.Sprintf("Updated parameter %s to %s", name, g.Value(name)))
		}
		return c.tell(tx, region, cache.EventParameterGroup, g.Name, notes...)
	})
	return g.Name, err
}
