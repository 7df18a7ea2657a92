package cache

import (
	"maps"
	"slices"
	"time"
)

// Reboot is a reboot of a node that was asked for.
type Reboot struct {
	RequestedAt time.Time
	// Stopped: the process that ran then has ended. What is left is to bring the node up.
	Stopped bool
}

// NodeParameters are the values of a parameter group that a node runs with, of those
// that somebody has set: what the group has besides are the family's defaults.
type NodeParameters struct {
	// Told are those that change while the engine runs, as it was last told them.
	Told map[string]string `json:",omitempty"`
	// Started are those that it read when it was started.
	Started map[string]string `json:",omitempty"`
	// Refused are those of Told that the engine did not take. It is not started with
	// them: it would not start at all.
	Refused map[string]string `json:",omitempty"`
	// Unsure: the engine has been started since; whether it took what it was told is
	// still to be seen.
	Unsure bool `json:",omitempty"`
}

// Apply statuses of parameters as DescribeCacheClusters prints them.
const (
	ParametersInSync        = "in-sync"
	ParametersApplying      = "applying"
	ParametersPendingReboot = "pending-reboot"
)

// ParameterStatus tells how far the node's engine runs with its parameter group.
func (c *CacheCluster) ParameterStatus() string {
	if c.Memcached != nil {
		if len(c.NodesToReboot()) > 0 {
			return ParametersPendingReboot
		}
		return ParametersInSync
	}
	live, fixed := c.SplitParameters()
	switch {
	case c.Status == StatusCreating: // what it is started with is all there is
	case !maps.Equal(live, c.Node.Parameters.Told) || c.Node.Parameters.Unsure:
		return ParametersApplying
	case !maps.Equal(fixed, c.Node.Parameters.Started):
		return ParametersPendingReboot
	}
	return ParametersInSync
}

// SplitParameters are the values that the parameter group sets: those that change while
// an engine runs, and those that it reads when it is started. Either is nil for none.
func (s *Settings) SplitParameters() (live, fixed map[string]string) {
	if len(s.Parameters) == 0 {
		return nil, nil
	}
	family, _ := FamilyOf(s.Engine, s.EngineVersion)
	for name, value := range s.Parameters {
		to := &live
		if p, ok := FindParameter(family, name); ok && p.Change == ChangeReboot {
			to = &fixed
		}
		if *to == nil {
			*to = map[string]string{}
		}
		(*to)[name] = value
	}
	return live, fixed
}

// RunningParameters are the values with which a node's engine is to run: what is set
// for its next start waits until then.
func (c *CacheCluster) RunningParameters() map[string]string {
	starts := c.Node.Process == nil && !c.Node.Parked // what was put aside was written under the former values
	now := &c.Node.Parameters
	if starts && len(now.Refused) == 0 || len(c.Parameters) == 0 && len(now.Started) == 0 {
		return c.EffectiveParameters(c.Parameters)
	}
	live, own := c.SplitParameters()
	if !starts {
		own = now.Started
	}
	if own = maps.Clone(own); own == nil {
		own = map[string]string{}
	}
	maps.Copy(own, live)
	if c.Node.Process == nil {
		maps.DeleteFunc(own, func(name, value string) bool {
			refused, ok := now.Refused[name]
			return ok && refused == value
		})
	}
	return c.EffectiveParameters(own)
}

// StartedParameters is what is to be remembered of a node that was started as it is here.
func (c *CacheCluster) StartedParameters() NodeParameters {
	live, fixed := c.SplitParameters()
	p := c.Node.Parameters
	if !c.Node.Parked {
		p.Started = fixed
	}
	if c.Status == StatusCreating {
		p.Told = live // it has never been told anything else
		return p
	}
	p.Unsure = len(live) > 0 || len(p.Told) > 0
	return p
}

// ChangedParameters are the names of the parameters whose values differ between two
// sets of what somebody has set, in order.
func ChangedParameters(family string, before, after map[string]string) []string {
	value := func(set map[string]string, name string) string {
		if v, ok := set[name]; ok {
			return v
		}
		p, _ := FindParameter(family, name)
		return p.Value
	}
	var out []string
	for name := range maps.Keys(before) {
		if value(before, name) != value(after, name) {
			out = append(out, name)
		}
	}
	for name := range maps.Keys(after) {
		if _, both := before[name]; !both && value(before, name) != value(after, name) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}
