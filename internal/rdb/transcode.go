package rdb

import (
	"errors"
	"fmt"
	"strconv"
)

// Target describes what will read a value: an engine, by the version of the RDB
// files that it writes itself, which is also the newest that it reads.
type Target struct {
	// Version is 9 for Redis 5 and 6, 10 for Redis 7.0, 11 for Redis 7.2 and
	// Valkey 7.2 to 8, 12 for Redis 7.4 and 8, ValkeyVersion for Valkey 9.
	Version int
	// Modules says that the reader has the modules of the source, so that their
	// values are passed on. Otherwise they are a loss, except for vector sets into
	// version 12. It must not be guessed: an engine of Redis 6 that gets the
	// value of a module it lacks, even by RESTORE, ends itself.
	Modules bool
	// DropFieldTTL lets hashes pass to readers without field TTLs as hashes whose
	// fields never expire; what is dropped is counted. A field that had expired
	// and was not collected yet comes back by that.
	DropFieldTTL bool
}

// Loss is a kind of content that not every engine can hold.
type Loss string

// The kinds.
const (
	LossFieldTTL  Loss = "field TTLs of hashes"
	LossStream    Loss = "streams"
	LossModule    Loss = "values of modules"
	LossVectorSet Loss = "vector sets"
	LossModuleAux Loss = "data of modules"
	LossFunctions Loss = "functions"
)

// LossError says what a target cannot hold; it is an ErrType.
type LossError struct {
	What   Loss
	Target Target
	// Detail narrows it down, such as the name of a module's type; may be empty.
	Detail string
}

func (e *LossError) Error() string {
	s := fmt.Sprintf("readers of %s do not hold %s", HeaderOf(e.Target.Version), e.What)
	if e.Detail != "" {
		s += " (" + e.Detail + ")"
	}
	return s
}

func (e *LossError) Unwrap() error { return ErrType }

func (t Target) lost(what Loss, detail string) error {
	return &LossError{What: what, Target: t, Detail: detail}
}

// Reads tells whether the target reads a value of the given type and version's
// dialect just as it is. Of modules' values it looks at the module's name.
func (t Target) Reads(typ byte, version int, value []byte) bool {
	switch {
	case typ == TypeModule2:
		return t.module(value) == nil
	case typ >= TypeHashTTLRC && (version >= ValkeyVersion) != (t.Version >= ValkeyVersion):
		return false
	}
	return Supports(t.Version, typ)
}

// module returns why a module's value cannot be passed on, nil if it can.
func (t Target) module(value []byte) error {
	if t.Modules && Supports(t.Version, TypeModule2) {
		return nil
	}
	name, err := ModuleName(value)
	switch {
	case err != nil:
		return err
	case name != vectorSet:
		return t.lost(LossModule, name)
	case t.Version != MaxRedisVersion:
		return t.lost(LossVectorSet, "")
	}
	return nil
}

// vectorSet is the name under which Redis 8 keeps its vector sets among the modules.
const vectorSet = "vectorset"

// ModuleName returns the name of the module type that a value of TypeModule2 has:
// nine characters, chosen by the module's author.
func ModuleName(value []byte) (string, error) {
	c := cursor{buf: value}
	id, err := c.length()
	if err != nil {
		return "", err
	}
	return moduleName(id), nil
}

func moduleName(id uint64) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	var name [9]byte
	id >>= 10 // the version of the module's own encoding
	for i := len(name) - 1; i >= 0; i-- {
		name[i] = alphabet[id&63]
		id >>= 6
	}
	return string(name[:])
}

// TranscodeStats counts what a Transcoder did.
type TranscodeStats struct {
	// Reencoded counts the values that had to be written anew.
	Reencoded int64
	// DroppedFieldTTLs counts the hash fields that lost their TTL, ReducedHashes
	// the hashes that they belong to.
	DroppedFieldTTLs, ReducedHashes int64
}

// Transcoder makes values of any version and dialect readable for one target. It
// reuses its memory from value to value; it is not safe for use by several
// goroutines at once.
//
// What a reader of an older version does not know of a stream is dropped, as
// its own writer would not have kept it: for versions before 11 when a consumer
// was last active; before 10 also the first id, the greatest deleted id, how
// many entries were ever added and how many a group has read. Field TTLs before
// 1970 become its first millisecond, which means as much. Everything else that
// the target cannot hold is a *LossError.
type Transcoder struct {
	target Target
	stats  TranscodeStats
	dec    Decoder
	out    []byte
	pair   []byte // name and value of the hash field being read, encoded
	blob   []byte // a packed list that is stored compressed
	zip    ziplist
	n      uint64 // elements written so far
	visit  func(*Element) error
	// asIs holds what the target reads untouched: by dialect of the value (Redis,
	// Valkey) and type. Modules are not among it, since they are looked into.
	asIs [2][256]bool
}

// NewTranscoder returns a transcoder for a target. A version that is not known
// here is a *VersionError.
func NewTranscoder(t Target) (*Transcoder, error) {
	if h := HeaderOf(t.Version); !h.known() {
		return nil, fmt.Errorf("cannot transcode: %w", &VersionError{Header: h})
	}
	tr := &Transcoder{target: t}
	tr.visit = tr.element
	for typ := range 256 {
		tr.asIs[0][typ] = typ != TypeModule2 && t.Reads(byte(typ), MaxRedisVersion, nil)
		tr.asIs[1][typ] = typ != TypeModule2 && t.Reads(byte(typ), ValkeyVersion, nil)
	}
	return tr, nil
}

// Target returns what the transcoder writes for.
func (t *Transcoder) Target() Target { return t.target }

// Stats returns what was done so far.
func (t *Transcoder) Stats() TranscodeStats { return t.stats }

// Transcode returns a value and its type as the target reads them. What the
// target knows as it is comes back untouched and unchecked, without a copy;
// anything else is decoded and written again into the transcoder's memory, valid
// until the next call. The version is that of the value's file or payload.
//
// Beside the value this takes about its size in memory once (twice for a packed
// list that is one block), of compressed values their plain size. What was
// needed for a huge value is given back with the next one that is written anew.
//
// A value that the target cannot hold is a *LossError; one that cannot be decoded
// is an *Error. A value that was read well by Reader or CheckValue can still
// fail so, since they do not look into packed lists.
func (t *Transcoder) Transcode(typ byte, version int, value []byte) (byte, []byte, error) {
	dialect := 0
	if version >= ValkeyVersion {
		dialect = 1
	}
	if t.asIs[dialect][typ] || typ == TypeModule2 && t.target.Reads(typ, version, value) {
		return typ, value, nil
	}
	typ, err := t.reencode(typ, version, value)
	t.shrink()
	if err != nil {
		return 0, nil, err
	}
	t.stats.Reencoded++
	return typ, t.out, nil
}

// AppendDump appends the payload that RESTORE of the target takes for a value.
func (t *Transcoder) AppendDump(dst []byte, typ byte, version int, value []byte) ([]byte, error) {
	typ, value, err := t.Transcode(typ, version, value)
	if err != nil {
		return dst, err
	}
	return AppendDump(dst, typ, value, t.target.Version), nil
}

// shrink gives back what a huge value needed beside its result, which itself
// goes when the next one is written.
func (t *Transcoder) shrink() {
	for _, b := range []*[]byte{&t.blob, &t.pair, &t.zip.b} {
		if cap(*b) > shrinkAbove {
			*b = nil
		}
	}
}

// reencode writes a value into out, in a type that the target reads.
func (t *Transcoder) reencode(typ byte, version int, value []byte) (byte, error) {
	if cap(t.out) > shrinkAbove {
		t.out = nil
	}
	t.out = grow(t.out[:0], len(value)+len(value)/16+64)
	if to, ok := ziplistType(typ, t.target.Version); ok {
		err := t.ziplists(typ, value)
		if !errors.Is(err, errUnfit) {
			return to, err
		}
		t.out = t.out[:0]
	}
	switch ClassOf(typ) {
	case ClassList:
		return TypeList, t.counted(typ, version, value)
	case ClassSet:
		return TypeSet, t.counted(typ, version, value)
	case ClassZSet:
		if Supports(t.target.Version, TypeZSet2) {
			return TypeZSet2, t.counted(typ, version, value)
		}
		return TypeZSet, t.counted(typ, version, value)
	case ClassHash:
		if typ >= TypeHashTTLRC {
			return t.hash(typ, version, value)
		}
		return TypeHash, t.counted(typ, version, value)
	case ClassStream:
		return t.stream(typ, value)
	}
	if typ == TypeModule2 {
		return 0, t.target.module(value)
	}
	return 0, &Error{Msg: "a value of type " + strconv.Itoa(int(typ)), Err: ErrType}
}
