package access

import (
	"strings"

	"holdfast.dev/internal/cache"
)

// MinVersion is the oldest version of an engine that understands all rules: "6.0".
func (s *String) MinVersion() string {
	v := s.root.minVersion()
	if len(s.selectors) > 0 {
		v = later(v, selectors)
	}
	for i := range s.selectors {
		v = later(v, s.selectors[i].minVersion())
	}
	return v
}

func later(a, b string) string {
	if cache.CompareVersions(a, b) < 0 {
		return b
	}
	return a
}

func (p *permissions) minVersion() string {
	v := Oldest
	for _, k := range p.keys {
		if k[0] == '%' {
			v = later(v, selectors)
		}
	}
	if p.allChannels || p.listed {
		v = later(v, channels)
	}
	if p.limited {
		v = later(v, databases)
	}
	for i := range p.commands {
		v = later(v, p.needs(i))
	}
	return v
}

// needs is the oldest version that understands the nth rule on commands.
func (p *permissions) needs(n int) string {
	word := p.commands[n]
	name := word[1:]
	if name[0] == '@' {
		return Oldest
	}
	command, _, part := strings.Cut(name, "|")
	v := later(commands[command], commands[name])
	switch {
	case part && word[0] == '-':
		return later(v, selectors)
	case part && containers[command] && p.mayHave(n, name):
		return later(v, selectors)
	}
	return v
}
