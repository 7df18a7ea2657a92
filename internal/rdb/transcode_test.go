package rdb

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

func newTranscoder(tb testing.TB, target Target) *Transcoder {
	tb.Helper()
	tr, err := NewTranscoder(target)
	if err != nil {
		tb.Fatal(err)
	}
	return tr
}

// lower takes from a decoded value what the documentation says that a target loses.
func lower(v *Value, target Target) {
	if target.DropFieldTTL && !Supports(target.Version, TypeHashTTL) && target.Version < ValkeyVersion {
		for i := range v.Fields {
			v.Fields[i].ExpireAt = 0
		}
	}
	s := v.Stream
	if s == nil {
		return
	}
	if target.Version < 11 {
		for i := range s.Groups {
			for j := range s.Groups[i].Consumers {
				s.Groups[i].Consumers[j].Active = -1
			}
		}
	}
	if target.Version < 10 {
		s.Meta = StreamMeta{Length: s.Meta.Length, Last: s.Meta.Last}
		for i := range s.Groups {
			s.Groups[i].Read = -1
		}
	}
}

// expectLoss tells what a target must refuse.
func expectLoss(v *Value, target Target) (Loss, bool) {
	if v.Stream != nil && target.Version < 9 {
		return LossStream, true
	}
	if target.Version >= 12 || target.DropFieldTTL {
		return "", false
	}
	for _, f := range v.Fields {
		if f.ExpireAt != 0 {
			return LossFieldTTL, true
		}
	}
	return "", false
}

// TestTranscodeKeepsContent: whatever the source's encoding, the target's says the
// same, is of a type that the target has, and loses no more than documented.
func TestTranscodeKeepsContent(t *testing.T) {
	var all []*Transcoder // used again, as in earnest
	for _, version := range versions {
		for _, drop := range []bool{false, true} {
			all = append(all, newTranscoder(t, Target{Version: version, DropFieldTTL: drop}))
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		s := sampleGen().Draw(t, "sample")
		for _, tr := range all {
			checkTranscode(t, tr, s)
		}
	})
}

func checkTranscode(t *rapid.T, tr *Transcoder, s sample) {
	target := tr.Target()
	want, err := Decode(s.typ, s.version, s.value)
	if err != nil {
		t.Fatal(err)
	}
	before := tr.Stats()
	typ, value, err := tr.Transcode(s.typ, s.version, s.value)
	if what, lost := expectLoss(want, target); lost {
		var loss *LossError
		if !errors.As(err, &loss) || loss.What != what || !errors.Is(err, ErrType) {
			t.Fatalf("error %v, want %s", err, what)
		}
		if tr.Stats() != before {
			t.Fatal("what was refused is counted")
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	checkTranscoded(t, tr, s, typ, value)
	checkCounts(t, tr, before, want, typ)
	lower(want, target)
	got, err := Decode(typ, target.Version, value)
	if err != nil {
		t.Fatal(err)
	}
	if want.Stream != nil {
		got.Stream.Meta.Full, want.Stream.Meta.Full = false, false
	}
	if d := cmp.Diff(want, got, cmpopts.EquateEmpty(), cmpopts.EquateNaNs(), sameBytes); d != "" {
		t.Fatalf("for %+v: %s", target, d)
	}
}

// checkCounts checks the statistics after one value, want, was transcoded.
func checkCounts(t *rapid.T, tr *Transcoder, before TranscodeStats, want *Value, typ byte) {
	if !tr.target.DropFieldTTL || tr.target.Version >= 12 {
		if now := tr.Stats(); now.DroppedFieldTTLs != before.DroppedFieldTTLs || now.ReducedHashes != before.ReducedHashes {
			t.Fatalf("%+v after %+v", now, before)
		}
		return
	}
	for _, f := range want.Fields {
		if f.ExpireAt != 0 {
			before.DroppedFieldTTLs++
		}
	}
	after := tr.Stats()
	if after.DroppedFieldTTLs != before.DroppedFieldTTLs {
		t.Fatalf("%d TTLs are counted as dropped, not %d", after.DroppedFieldTTLs, before.DroppedFieldTTLs)
	}
	if reduced := after.ReducedHashes - before.ReducedHashes; reduced > 1 || reduced == 1 && typ != TypeHash {
		t.Fatalf("%d hashes reduced to type %d", reduced, typ)
	}
}

// sameBytes compares bytes at once: by reflection it takes longer than everything else here.
var sameBytes = cmp.FilterValues(func(a, b []byte) bool { return len(a) > 0 && len(b) > 0 }, cmp.Comparer(bytes.Equal))

type fataler interface{ Fatalf(string, ...any) }

// checkTranscoded checks what holds of every result.
func checkTranscoded(t fataler, tr *Transcoder, s sample, typ byte, value []byte) {
	version := tr.Target().Version
	if !Supports(version, typ) {
		t.Fatalf("type %d for version %d", typ, version)
	}
	untouched := len(value) == len(s.value) && (len(value) == 0 || &value[0] == &s.value[0])
	if untouched != tr.Target().Reads(s.typ, s.version, s.value) {
		t.Fatalf("type %d of %d for %d: untouched is %v", s.typ, s.version, version, untouched)
	}
	if untouched {
		if typ != s.typ {
			t.Fatalf("type %d became %d over the same bytes", s.typ, typ)
		}
		return
	}
	if ClassOf(typ) != ClassOf(s.typ) {
		t.Fatalf("a %s became a %s", ClassOf(s.typ), ClassOf(typ))
	}
	if err := CheckValue(typ, version, value); err != nil {
		t.Fatalf("type %d from %d: %v", typ, s.typ, err)
	}
}

// TestTranscodeToEachOther sends hashes with field TTLs from one dialect to the
// other and back: what arrives is what a plain round trip through Fields gives.
func TestTranscodeToEachOther(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := hashSample(t)
		redis, valkey := newTranscoderT(t, 12), newTranscoderT(t, ValkeyVersion)
		want, err := Decode(s.typ, s.version, s.value)
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			for _, tr := range []*Transcoder{redis, valkey} {
				typ, value, err := tr.Transcode(s.typ, s.version, s.value)
				if err != nil {
					t.Fatal(err)
				}
				s = sample{typ, tr.Target().Version, bytes.Clone(value)}
				got, err := Decode(s.typ, s.version, s.value)
				if err != nil {
					t.Fatal(err)
				}
				if d := cmp.Diff(want, got, cmpopts.EquateEmpty(), sameBytes); d != "" {
					t.Fatal(d)
				}
			}
		}
	})
}

func newTranscoderT(t *rapid.T, version int) *Transcoder {
	tr, err := NewTranscoder(Target{Version: version})
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// TestTranscodeByHand pins what chance rarely meets.
func TestTranscodeByHand(t *testing.T) {
	one := block(listpackOf(1, "\x07\x01"))
	empty := block(listpackOf(0, ""))
	for _, c := range []struct {
		name          string
		typ           byte
		version       int
		value         []byte
		target        Target
		wantType      byte
		want          []byte
		dropped, hurt int64
	}{
		{
			"empty nodes are left out", TypeQuicklist2, 10,
			bytes.Join([][]byte{[]byte("\x03\x02"), empty, []byte("\x02"), one, []byte("\x02"), empty}, nil),
			Target{Version: 9},
			TypeQuicklist, append([]byte{1}, block(ziplistOf(1, "\x00\xf8"))...), 0, 0,
		},
		{"a plain node", TypeQuicklist2, 10, []byte("\x01\x01\x01x"), Target{Version: 9}, TypeQuicklist, append([]byte{1}, block(ziplistOf(1, "\x00\x01x"))...), 0, 0},
		{"a list before quicklists", TypeQuicklist2, 10, append([]byte("\x01\x02"), one...), Target{Version: 6}, TypeList, []byte("\x01\x017"), 0, 0},
		{"a release candidate's hash", TypeHashTTLRC, 12, []byte("\x01\x05\x01a\x01b"), Target{Version: 80}, TypeHash2, []byte("\x01\x01a\x01b\x05\x00\x00\x00\x00\x00\x00\x00"), 0, 0},
		{"the same into Redis", TypeHashTTLRC, 12, []byte("\x01\x05\x01a\x01b"), Target{Version: 12}, TypeHashTTL, []byte("\x05\x00\x00\x00\x00\x00\x00\x00\x01\x01\x01a\x01b"), 0, 0},
		{"field TTLs dropped", TypeHashTTLRC, 12, []byte("\x02\x05\x01a\x01b\x00\x01c\x01d"), Target{Version: 11, DropFieldTTL: true}, TypeHash, []byte("\x02\x01a\x01b\x01c\x01d"), 1, 1},
		{"a hash without TTLs needs none", TypeHashTTL, 12, []byte("\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x01a\x01b"), Target{Version: 9}, TypeHash, []byte("\x01\x01a\x01b"), 0, 0},
		// The engine copies scores of that form to a buffer of fixed length.
		{
			"a score too long for ziplists", TypeZSetListpack, 10,
			block(listpackOf(2, "\x01\x01\xe0\x50"+strings.Repeat("0", 80)+"\x52")),
			Target{Version: 9},
			TypeZSet2, append([]byte("\x01\x011"), make([]byte, 8)...), 0, 0,
		},
	} {
		tr := newTranscoder(t, c.target)
		typ, got, err := tr.Transcode(c.typ, c.version, c.value)
		if err != nil || typ != c.wantType {
			t.Errorf("%s: type %d, %v", c.name, typ, err)
			continue
		}
		if !bytes.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
		if s := tr.Stats(); s != (TranscodeStats{Reencoded: 1, DroppedFieldTTLs: c.dropped, ReducedHashes: c.hurt}) {
			t.Errorf("%s: %+v", c.name, s)
		}
	}
	// A score that is no number is found whichever way is taken.
	tr := newTranscoder(t, Target{Version: 9})
	if _, _, err := tr.Transcode(TypeZSetListpack, 10, block(listpackOf(2, "\x01\x01\x81x\x02"))); !errors.Is(err, ErrCorrupt) {
		t.Error(err)
	}
}

// TestFieldExpiryEdges: marks and limits of one dialect do not leak into the other.
func TestFieldExpiryEdges(t *testing.T) {
	hash2 := func(at int64) []byte {
		b := append(AppendLength(nil, 1), "\x01f\x01v"...)
		return binary.LittleEndian.AppendUint64(b, uint64(at))
	}
	field := func(t *testing.T, tr *Transcoder, typ byte, version int, value []byte) int64 {
		t.Helper()
		typ, out, err := tr.Transcode(typ, version, value)
		if err != nil {
			t.Fatal(err)
		}
		v, err := Decode(typ, tr.Target().Version, out)
		if err != nil || len(v.Fields) != 1 {
			t.Fatal(v, err)
		}
		return v.Fields[0].ExpireAt
	}
	redis := newTranscoder(t, Target{Version: 12})
	for at, want := range map[int64]int64{-1: 0, -2: 1, 0: 1, 1: 1, 1 << 62 >> 20: 1 << 42, maxFieldExpiry: maxFieldExpiry} {
		if got := field(t, redis, TypeHash2, ValkeyVersion, hash2(at)); got != want {
			t.Errorf("Valkey's expiry %d is Redis' %d, want %d", at, got, want)
		}
	}
	var loss *LossError
	if _, _, err := redis.Transcode(TypeHash2, ValkeyVersion, hash2(maxFieldExpiry+1)); !errors.As(err, &loss) || loss.What != LossFieldTTL {
		t.Errorf("an expiry too late for Redis: %v", err)
	}
	// From a damaged Redis hash, a difference that overflows to Valkey's mark for never.
	overflown := append([]byte("\xff\xff\xff\xff\xff\xff\xff\xff"), "\x01\x01\x01f\x01v"...)
	valkey := newTranscoder(t, Target{Version: ValkeyVersion})
	if got := field(t, valkey, TypeHashTTL, 12, overflown); got != 1 {
		t.Errorf("an overflown expiry is %d", got)
	}
}

func vectorValue(name string) []byte {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	id := uint64(0)
	for i := range len(name) {
		id = id<<6 | uint64(bytes.IndexByte([]byte(alphabet), name[i]))
	}
	return append(AppendLength(nil, id<<10|3), modUint, 7, modEOF)
}

func TestTranscodeModules(t *testing.T) {
	bloom, vectors := vectorValue("MBbloom--"), vectorValue("vectorset")
	if name, err := ModuleName(bloom); err != nil || name != "MBbloom--" {
		t.Errorf("%q, %v", name, err)
	}
	for _, c := range []struct {
		target Target
		value  []byte
		lost   Loss
	}{
		{Target{Version: 12}, vectors, ""},
		{Target{Version: 12}, bloom, LossModule},
		{Target{Version: 12, Modules: true}, bloom, ""},
		{Target{Version: 11}, vectors, LossVectorSet},
		{Target{Version: 80}, vectors, LossVectorSet},
		{Target{Version: 80, Modules: true}, bloom, ""},
		{Target{Version: 9}, vectors, LossVectorSet},
		{Target{Version: 9}, bloom, LossModule},
		{Target{Version: 9, Modules: true}, bloom, ""},
		{Target{Version: 7, Modules: true}, bloom, LossModule},
	} {
		_, got, err := newTranscoder(t, c.target).Transcode(TypeModule2, 12, c.value)
		var loss *LossError
		if errors.As(err, &loss); c.lost == "" && (err != nil || !bytes.Equal(got, c.value)) || c.lost != "" && (loss == nil || loss.What != c.lost) {
			t.Errorf("%+v: %v, want %q", c.target, err, c.lost)
		}
	}
}

func TestTranscodeRefuses(t *testing.T) {
	for _, v := range []int{0, 13, 79, 81, -1} {
		var ve *VersionError
		if _, err := NewTranscoder(Target{Version: v}); !errors.As(err, &ve) {
			t.Errorf("version %d: %v", v, err)
		}
		if _, err := NewTargetWriter(io.Discard, Target{Version: v}); !errors.As(err, &ve) {
			t.Errorf("writer of version %d: %v", v, err)
		}
	}
	tr := newTranscoder(t, Target{Version: 9})
	for _, typ := range []byte{TypeModule, 8, 26, 200, 255} {
		var e *Error
		if _, _, err := tr.Transcode(typ, 12, []byte{0}); !errors.As(err, &e) || !errors.Is(err, ErrType) {
			t.Errorf("type %d: %v", typ, err)
		}
	}
	// Valkey has no types 23 to 25.
	for typ := byte(TypeHashTTLPackedRC); typ <= TypeHashTTLPacked; typ++ {
		if _, _, err := tr.Transcode(typ, ValkeyVersion, make([]byte, 20)); !errors.Is(err, ErrType) {
			t.Errorf("type %d of Valkey: %v", typ, err)
		}
	}
	s := AppendStream(nil, &Stream{Entries: []StreamEntry{{ID: StreamID{1, 1}, Pairs: [][]byte{{1}, {2}}}}})
	for _, bad := range [][]byte{s[:len(s)-1], append(bytes.Clone(s), 0), nil} {
		if _, _, err := tr.Transcode(TypeStream3, 11, bad); err == nil {
			t.Errorf("damaged stream %x is taken", bad)
		}
	}
}

// TestTargetWriter writes entries of several versions into one file for an old
// target, and keeps what it refuses out of it.
func TestTargetWriter(t *testing.T) {
	var out bytes.Buffer
	w, err := NewTargetWriter(&out, Target{Version: 9})
	if err != nil {
		t.Fatal(err)
	}
	ttl := AppendHash2(nil, []Field{{Name: []byte("f"), Value: []byte("v"), ExpireAt: 17}})
	big := AppendHash2(nil, []Field{{Name: []byte("f"), Value: make([]byte, 2*bufferSize)}})
	for _, e := range []Entry{
		{Key: []byte("a"), Type: TypeHash2, Version: ValkeyVersion, Value: big},
		{Key: []byte("b"), Type: TypeZSet, Version: 3, Value: []byte("\x01\x01m\x031.5"), DB: 1, ExpireAt: 99},
		{Key: []byte("c"), Type: TypeString, Value: []byte("\x01x")},
	} {
		e.Idle, e.Freq = -1, -1
		if err := w.Write(&e); err != nil {
			t.Fatal(err)
		}
	}
	var loss *LossError
	if err := w.Write(&Entry{DB: 7, Key: []byte("d"), Type: TypeHash2, Version: ValkeyVersion, Value: ttl}); !errors.As(err, &loss) || loss.What != LossFieldTTL {
		t.Error(err)
	}
	if err := w.Function(FunctionLibrary{Raw: []byte{0}}); !errors.As(err, &loss) || loss.What != LossFunctions {
		t.Error(err)
	}
	if err := w.ModuleAux([]byte{0}); !errors.As(err, &loss) || loss.What != LossModuleAux {
		t.Error(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	var got []Entry
	for e, err := range NewReader(&out).Entries() {
		if err != nil {
			t.Fatal(err)
		}
		if e.Version != 9 {
			t.Errorf("an entry of version %d", e.Version)
		}
		got = append(got, Entry{DB: e.DB, Key: bytes.Clone(e.Key), Type: e.Type, ExpireAt: e.ExpireAt})
	}
	want := []Entry{{Key: []byte("a"), Type: TypeHash}, {DB: 1, Key: []byte("b"), Type: TypeZSet, ExpireAt: 99}, {Key: []byte("c")}}
	if d := cmp.Diff(want, got, cmpopts.IgnoreFields(Entry{}, "Version")); d != "" {
		t.Error(d)
	}
	if s := w.Stats(); s.Reencoded != 1 {
		t.Errorf("%+v", s)
	}
	// Without a target, the other dialect's types are refused although the number is known.
	plain, err := NewWriter(io.Discard, HeaderOf(12))
	if err != nil {
		t.Fatal(err)
	}
	if err := plain.Write(&Entry{Type: TypeHashTTL, Version: ValkeyVersion, Value: ttl}); !errors.Is(err, ErrType) {
		t.Error(err)
	}
}

func TestTranscodeAllocs(t *testing.T) {
	value := AppendString(nil, make([]byte, 100))
	tr := newTranscoder(t, Target{Version: 9})
	n := testing.AllocsPerRun(100, func() {
		if _, _, err := tr.Transcode(TypeString, 80, value); err != nil {
			t.Fatal(err)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations to pass a value on", n)
	}
	pack := benchValues()["hash listpack"]
	n = testing.AllocsPerRun(100, func() {
		if _, _, err := tr.Transcode(pack.typ, pack.version, pack.value); err != nil {
			t.Fatal(err)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations to write a value anew", n)
	}
}

// FuzzTranscode: any bytes as a value of any type for any target are passed on
// untouched, written anew as a whole value of the same content, or refused.
func FuzzTranscode(f *testing.F) {
	for _, s := range rapidSamples() {
		f.Add(s.typ, byte(s.version), byte(9), s.value)
		f.Add(s.typ, byte(s.version), byte(80), s.value)
		f.Add(s.typ, byte(s.version), byte(12), s.value)
	}
	f.Fuzz(func(t *testing.T, typ, from, to byte, value []byte) {
		tr, err := NewTranscoder(Target{Version: int(to), DropFieldTTL: from%2 == 0})
		if err != nil {
			return
		}
		s := sample{typ, int(from), value}
		outType, out, err := tr.Transcode(typ, int(from), value)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) && !errors.Is(err, ErrType) || e != nil && (e.Offset < 0 || e.Offset > int64(len(value))) {
				t.Fatal(err)
			}
			return
		}
		checkTranscoded(t, tr, s, outType, out)
		if typ == outType && bytes.Equal(out, value) {
			return
		}
		if len(out) > 100*(len(value)+100) {
			t.Fatalf("%d bytes from %d", len(out), len(value))
		}
		count := func(typ byte, version int, value []byte) (n int, err error) {
			var d Decoder
			err = d.Walk(typ, version, value, func(*Element) error { n++; return nil })
			return n, err
		}
		want, wantErr := count(typ, int(from), value)
		got, gotErr := count(outType, int(to), out)
		if want != got || (wantErr == nil) != (gotErr == nil) {
			t.Fatalf("%d elements (%v) became %d (%v)", want, wantErr, got, gotErr)
		}
	})
}

func rapidSamples() []sample {
	var out []sample
	for i := range 60 {
		out = append(out, sampleGen().Example(i))
	}
	return out
}
