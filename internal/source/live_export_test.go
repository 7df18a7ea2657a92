package source

// LiveRules are rules of a Live that tests break, to see that they are needed,
// and choices that they force.
type LiveRules struct {
	NoPause, NoStreams, NoSkip bool
	Capture                    Capture
	Cut                        Cut
	// Big is from how many bytes on values are read in pieces.
	Big int64
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
