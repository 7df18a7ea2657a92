package source

// LiveRules are rules of a Live that tests break, to see that they are needed,
// and choices that they force.
type LiveRules struct {
	NoPause, NoStreams, NoSkip bool
	Capture                    Capture
	Cut                        Cut
	// Big is from how many bytes on values are read in pieces.
	Big int64
	// Forget, of a Follow, loses every so-manieth key that changed; Memory is how many
	// of them are kept in memory.
	Forget, Memory int
	// Phase is called when a phase begins.
	Phase func(string)
}

// Break applies the rules.
func (s *Live) Break(r LiveRules) {
	s.hooks = liveHooks{
		noPause: r.NoPause, noStreams: r.NoStreams, noSkip: r.NoSkip,
		capture: r.Capture, cut: r.Cut, phase: r.Phase, big: r.Big,
	}
}

// Break applies the rules.
func (f *Follow) Break(r LiveRules) {
	f.hooks = liveHooks{noStreams: r.NoStreams, capture: r.Capture, big: r.Big}
	f.forget = r.Forget
	f.memory = r.Memory
}
