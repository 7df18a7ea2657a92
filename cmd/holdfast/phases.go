package main

// phases shows the steps of one long movement, one after the other. It is used
// by one goroutine.
type phases struct {
	group *progressGroup
	label string
	now   *progress
}

// at says that a step has come so far; a new label ends the step before.
func (p *phases) at(label string, keys, total, dirty int64) {
	if p.now == nil || label != p.label {
		p.done()
		p.label, p.now = label, p.group.start(label, total)
	}
	p.now.SetDirty(dirty)
	p.now.Set(keys)
}

// bytes says how many the step's keys so far had.
func (p *phases) bytes(n int64) {
	if p.now != nil {
		p.now.SetBytes(n)
	}
}

// done ends the last step. It may be called twice.
func (p *phases) done() {
	if p.now != nil {
		p.now.Done()
	}
	p.now = nil
}
