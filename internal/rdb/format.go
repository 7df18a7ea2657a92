package rdb

import "fmt"

// The versions read and written here. Valkey kept Redis' numbers up to 11 and
// counts from 80 since its version 9, leaving 12 to 79 to Redis.
const (
	MinVersion      = 1
	MaxRedisVersion = 12
	ValkeyVersion   = 80
)

// Type bytes of values.
const (
	TypeString          = 0
	TypeList            = 1
	TypeSet             = 2
	TypeZSet            = 3 // scores as text
	TypeHash            = 4
	TypeZSet2           = 5 // scores as binary doubles
	TypeModule          = 6 // only in release candidates of Redis 4, cannot be skipped
	TypeModule2         = 7 // module values and Redis 8's vector sets
	TypeHashZipmap      = 9
	TypeListZiplist     = 10
	TypeSetIntset       = 11
	TypeZSetZiplist     = 12
	TypeHashZiplist     = 13
	TypeQuicklist       = 14
	TypeStream          = 15
	TypeHashListpack    = 16
	TypeZSetListpack    = 17
	TypeQuicklist2      = 18
	TypeStream2         = 19
	TypeSetListpack     = 20
	TypeStream3         = 21
	TypeHashTTLRC       = 22 // Redis: field TTLs as release candidates of 7.4 wrote them
	TypeHash2           = 22 // Valkey 9: field TTLs
	TypeHashTTLPackedRC = 23 // Redis: the same in a listpack
	TypeHashTTL         = 24 // Redis 7.4 and later: field TTLs
	TypeHashTTLPacked   = 25 // the same in a listpack
)

// Opcodes: what can stand where an entry's type byte would.
const (
	opSlotImport = 243 // Valkey 9
	opSlotInfo   = 244
	opFunction2  = 245
	opFunctionRC = 246
	opModuleAux  = 247
	opIdle       = 248
	opFreq       = 249
	opAux        = 250
	opResizeDB   = 251
	opExpireMs   = 252
	opExpire     = 253
	opSelectDB   = 254
	opEOF        = 255
)

// Opcodes inside the values of modules.
const (
	modEOF    = 0
	modSint   = 1
	modUint   = 2
	modFloat  = 3
	modDouble = 4
	modString = 5
)

// Header is what the first nine bytes of a file say.
type Header struct {
	// Valkey is true for the magic VALKEY, false for REDIS.
	Valkey bool
	// Version is 1 to 12 for Redis and for Valkey up to 8, 80 for Valkey 9.
	Version int
}

// HeaderOf returns the header of files of a version.
func HeaderOf(version int) Header { return Header{Valkey: version >= ValkeyVersion, Version: version} }

// String is the nine bytes themselves.
func (h Header) String() string {
	if h.Valkey {
		return fmt.Sprintf("VALKEY%03d", h.Version)
	}
	return fmt.Sprintf("REDIS%04d", h.Version)
}

// known tells whether files with this header are read and written here.
func (h Header) known() bool {
	if h.Valkey {
		return h.Version == ValkeyVersion
	}
	return h.Version >= MinVersion && h.Version <= MaxRedisVersion
}

// sinceVersion holds, by type byte, the first Redis version that has the type; 0 for none.
var sinceVersion = [...]int{
	TypeString: 1, TypeList: 1, TypeSet: 1, TypeZSet: 1, TypeHash: 1,
	TypeZSet2: 8, TypeModule2: 8, TypeHashZipmap: 1,
	TypeListZiplist: 1, TypeSetIntset: 1, TypeZSetZiplist: 1, TypeHashZiplist: 4,
	TypeQuicklist: 7, TypeStream: 9,
	TypeHashListpack: 10, TypeZSetListpack: 10, TypeQuicklist2: 10, TypeStream2: 10,
	TypeSetListpack: 11, TypeStream3: 11,
	TypeHashTTLRC: 12, TypeHashTTLPackedRC: 12, TypeHashTTL: 12, TypeHashTTLPacked: 12,
}

// Supports tells whether an engine that writes the given RDB version can load
// values of a type: what to ask before an entry crosses versions. The answer
// for modules (TypeModule2) is about the format only; the engine needs the
// module too. Types of release candidates are supported by no release.
func Supports(version int, typ byte) bool {
	switch {
	case typ == TypeHashTTLRC: // = TypeHash2
		return version >= ValkeyVersion
	case typ == TypeHashTTLPackedRC:
		return false
	case version >= ValkeyVersion:
		return int(typ) < TypeHashTTLRC && sinceVersion[typ] > 0
	default:
		return int(typ) < len(sinceVersion) && sinceVersion[typ] > 0 && sinceVersion[typ] <= version
	}
}

// Class is the type of a value as users know it.
type Class uint8

// The classes.
const (
	ClassUnknown Class = iota
	ClassString
	ClassList
	ClassSet
	ClassZSet
	ClassHash
	ClassStream
	ClassModule
	// Classes is the number of classes, the unknown one included.
	Classes
)

var classNames = [Classes]string{"unknown", "string", "list", "set", "zset", "hash", "stream", "module"}

// String is the name that the TYPE command gives; "module" for values of modules.
func (c Class) String() string {
	if c >= Classes {
		c = ClassUnknown
	}
	return classNames[c]
}

var classByType = [...]Class{
	TypeString: ClassString,
	TypeList:   ClassList, TypeListZiplist: ClassList, TypeQuicklist: ClassList, TypeQuicklist2: ClassList,
	TypeSet: ClassSet, TypeSetIntset: ClassSet, TypeSetListpack: ClassSet,
	TypeZSet: ClassZSet, TypeZSet2: ClassZSet, TypeZSetZiplist: ClassZSet, TypeZSetListpack: ClassZSet,
	TypeHash: ClassHash, TypeHashZipmap: ClassHash, TypeHashZiplist: ClassHash, TypeHashListpack: ClassHash,
	TypeHashTTLRC: ClassHash, TypeHashTTLPackedRC: ClassHash, TypeHashTTL: ClassHash, TypeHashTTLPacked: ClassHash,
	TypeStream: ClassStream, TypeStream2: ClassStream, TypeStream3: ClassStream,
	TypeModule: ClassModule, TypeModule2: ClassModule,
}

// ClassOf returns the class of a type byte, ClassUnknown for a byte that is none.
func ClassOf(typ byte) Class {
	if int(typ) >= len(classByType) {
		return ClassUnknown
	}
	return classByType[typ]
}
