package rdb

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

// block is a string that holds a structure, as a value has it.
func block(parts ...string) []byte { return AppendString(nil, []byte(strings.Join(parts, ""))) }

// ziplistOf puts header and end mark around the elements' bytes.
func ziplistOf(count int, body string) string {
	b := binary.LittleEndian.AppendUint32(nil, uint32(10+len(body)+1))
	b = binary.LittleEndian.AppendUint32(b, 10)
	b = binary.LittleEndian.AppendUint16(b, uint16(count))
	return string(b) + body + "\xff"
}

func listpackOf(count int, body string) string {
	b := binary.LittleEndian.AppendUint32(nil, uint32(6+len(body)+1))
	b = binary.LittleEndian.AppendUint16(b, uint16(count))
	return string(b) + body + "\xff"
}

// words decodes a value and gives its pieces as text.
func words(typ byte, version int, value []byte) (string, error) {
	v, err := Decode(typ, version, value)
	if err != nil {
		return "", err
	}
	var out []string
	for _, it := range v.Items {
		out = append(out, string(it))
	}
	for _, f := range v.Fields {
		out = append(out, fmt.Sprintf("%s=%s@%d", f.Name, f.Value, f.ExpireAt))
	}
	for _, m := range v.Members {
		out = append(out, fmt.Sprintf("%s:%g", m.Name, m.Score))
	}
	return v.Class.String() + " " + string(v.Text) + strings.Join(out, " "), nil
}

// TestDecodeByHand decodes encodings put together by hand from the format's
// description, those above all that engines of today read but no longer write.
func TestDecodeByHand(t *testing.T) {
	long := strings.Repeat("z", 300)
	for _, c := range []struct {
		name    string
		typ     byte
		version int
		value   []byte
		want    string
	}{
		{"int8", TypeString, 9, []byte("\xc0\x80"), "string -128"},
		{"int16", TypeString, 9, []byte("\xc1\x00\x80"), "string -32768"},
		{"int32", TypeString, 9, []byte("\xc2\x00\x00\x00\x80"), "string -2147483648"},
		{"compressed", TypeString, 9, []byte("\xc3\x04\x06\x00x\x60\x00"), "string xxxxxx"},
		{"text scores", TypeZSet, 3, []byte("\x05\x01a\x031.5\x01b\xfe\x01c\xff\x01d\xfd\x01e\x02-0"), "zset a:1.5 b:+Inf c:-Inf d:NaN e:-0"},
		{"zipmap", TypeHashZipmap, 3, block("\x02\x02f1\x02\x00v1\x02f2\x01\x02xyy\xff"), "hash f1=v1@0 f2=x@0"},
		{"zipmap long", TypeHashZipmap, 3, block("\x01\xfe\x2c\x01\x00\x00", long, "\x00\x00\xff"), "hash " + long + "=@0"},
		{
			"ziplist", TypeListZiplist, 6, block(ziplistOf(11, "\x00\x01a"+"\x03\xf1"+"\x02\xfd"+"\x02\xfe\xff"+"\x03\xc0\x00\x80"+"\x04\xf0\x00\x00\x80"+
				"\x05\xd0\x00\x00\x00\x80"+"\x06\xe0\x00\x00\x00\x00\x00\x00\x00\x80"+"\x0a\x41\x2c"+long+"\xfe\x2f\x01\x00\x00\x80\x00\x00\x01\x2c"+long+"\xfe\x36\x01\x00\x00\x00")),
			"list a 0 12 -1 -32768 -8388608 -2147483648 -9223372036854775808 " + long + " " + long + " ",
		},
		{
			"listpack", TypeSetListpack, 11, block(listpackOf(9, "\x7f\x01"+"\x81a\x02"+"\xdf\xff\x02"+"\xcf\xff\x02"+"\xf1\x00\x80\x03"+"\xf2\x00\x00\x80\x04"+
				"\xf3\x00\x00\x00\x80\x05"+"\xf4\x00\x00\x00\x00\x00\x00\x00\x80\x09"+"\x80\x01")),
			"set 127 a -1 4095 -32768 -8388608 -2147483648 -9223372036854775808 ",
		},
		{"listpack strings", TypeSetListpack, 11, block(listpackOf(2, "\xe1\x2c"+long+"\x02\xae"+"\xf0\x2c\x01\x00\x00"+long+"\x02\xb1")), "set " + long + " " + long},
		{"uncounted listpack", TypeSetListpack, 11, block(listpackOf(0xffff, "\x01\x01")), "set 1"},
		{"intset 16", TypeSetIntset, 9, block("\x02\x00\x00\x00\x02\x00\x00\x00\xff\xff\x05\x00"), "set -1 5"},
		{"intset 32", TypeSetIntset, 9, block("\x04\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x80"), "set -2147483648"},
		{"intset 64", TypeSetIntset, 9, block("\x08\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x80"), "set -9223372036854775808"},
		{"zset ziplist", TypeZSetZiplist, 6, block(ziplistOf(4, "\x00\x01a"+"\x03\xf3"+"\x02\x01b"+"\x03\x041e-3")), "zset a:2 b:0.001"},
		{"hash ziplist", TypeHashZiplist, 6, block(ziplistOf(2, "\x00\x01a"+"\x03\xf3")), "hash a=2@0"},
		{"quicklist", TypeQuicklist, 7, append(append([]byte{2}, block(ziplistOf(1, "\x00\x01a"))...), block(ziplistOf(0, ""))...), "list a"},
		{"quicklist2", TypeQuicklist2, 10, append([]byte("\x02\x01\x03abc\x02"), block(listpackOf(1, "\x07\x01"))...), "list abc 7"},
		{"field TTLs, absolute", TypeHashTTLRC, 12, []byte("\x02\x41\x00\x01a\x01b\x00\x01c\x01d"), "hash a=b@256 c=d@0"},
		{"field TTLs, relative", TypeHashTTL, 12, []byte("\x00\x01\x00\x00\x00\x00\x00\x00\x03\x01\x01a\x01b\x00\x01c\x01d\x05\x01e\x01f"), "hash a=b@256 c=d@0 e=f@260"},
		{"field TTLs, packed", TypeHashTTLPackedRC, 12, block(listpackOf(6, "\x81a\x02\x01\x01\x00\x01\x81c\x02\x02\x01\x11\x01")), "hash a=1@0 c=2@17"},
		{"field TTLs, packed with soonest", TypeHashTTLPacked, 12, append(make([]byte, 8), block(listpackOf(3, "\x81c\x02\x02\x01\x11\x01"))...), "hash c=2@17"},
		{"field TTLs of Valkey", TypeHash2, 80, []byte("\x02\x01a\x01b\xff\xff\xff\xff\xff\xff\xff\xff\x01c\x01d\x11\x00\x00\x00\x00\x00\x00\x00"), "hash a=b@0 c=d@17"},
		{"module", TypeModule2, 12, []byte("\x05\x02\x07\x00"), "module \x05\x02\x07\x00"},
	} {
		got, err := words(c.typ, c.version, c.value)
		if err != nil || got != c.want {
			t.Errorf("%s: %q, %v, want %q", c.name, got, err, c.want)
		}
		if err := CheckValue(c.typ, c.version, c.value); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		// Cut anywhere, or with a byte more, it is an error.
		for n := range len(c.value) {
			var e *Error
			if _, err := words(c.typ, c.version, c.value[:n]); !errors.As(err, &e) || e.Offset > int64(n) {
				t.Fatalf("%s cut at %d: %v", c.name, n, err)
			}
		}
		if _, err := words(c.typ, c.version, append(bytes.Clone(c.value), 0)); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s with more behind it: %v", c.name, err)
		}
	}
}

func TestDecodeCorrupt(t *testing.T) {
	for name, c := range map[string]struct {
		typ   byte
		value []byte
	}{
		"score that is no number":     {TypeZSet, []byte("\x01\x01a\x03abc")},
		"ziplist of other length":     {TypeListZiplist, block("\x20\x00\x00\x00\x0a\x00\x00\x00\x00\x00\xff")},
		"ziplist without end":         {TypeListZiplist, block("\x0b\x00\x00\x00\x0a\x00\x00\x00\x00\x00\x00")},
		"ziplist too short":           {TypeListZiplist, block("\x0b\x00")},
		"ziplist with fewer elements": {TypeListZiplist, block(ziplistOf(2, "\x00\x01a"))},
		"ziplist with more elements":  {TypeListZiplist, block(ziplistOf(0, "\x00\x01a"))},
		"ziplist with bad encoding":   {TypeListZiplist, block(ziplistOf(1, "\x00\xc5"))},
		"ziplist element too long":    {TypeListZiplist, block(ziplistOf(1, "\x00\x05a"))},
		"ziplist element of 4 GB":     {TypeListZiplist, block(ziplistOf(1, "\x00\x80\xff\xff\xff\xff"))},
		"hash without value":          {TypeHashZiplist, block(ziplistOf(1, "\x00\x01a"))},
		"listpack element too long":   {TypeSetListpack, block(listpackOf(1, "\xf0\xff\xff\xff\xff"))},
		"listpack bad encoding":       {TypeSetListpack, block(listpackOf(1, "\xf5\x01"))},
		"listpack without length":     {TypeSetListpack, block(listpackOf(1, "\x01"))},
		"expiry that is text":         {TypeHashTTLPackedRC, block(listpackOf(3, "\x01\x01\x01\x01\x81a\x02"))},
		"intset of odd width":         {TypeSetIntset, block("\x03\x00\x00\x00\x01\x00\x00\x00abc")},
		"intset of wrong length":      {TypeSetIntset, block("\x02\x00\x00\x00\xff\xff\xff\xffab")},
		"zipmap without end":          {TypeHashZipmap, block("\x01\x01a\x01\x00b")},
		"zipmap field too long":       {TypeHashZipmap, block("\x01\x09a\x01\x00b\xff")},
		"zipmap value too long":       {TypeHashZipmap, block("\x01\x01a\xfe\xff\xff\xff\xff\x00b\xff")},
		"list node kind":              {TypeQuicklist2, []byte("\x01\x03\x01a")},
		"stream node id":              {TypeStream, append([]byte("\x01\x02ab"), block(listpackOf(0, ""))...)},
		"stream without master":       {TypeStream, append(append([]byte("\x01"), block("0123456789abcdef")...), block(listpackOf(0, ""))...)},
		"stream flags that are text":  {TypeStream, append(append([]byte("\x01"), block("0123456789abcdef")...), block(listpackOf(5, "\x01\x01\x00\x01\x00\x01\x00\x01\x81a\x02"))...)},
		"stream of many fields":       {TypeStream, append(append([]byte("\x01"), block("0123456789abcdef")...), block(listpackOf(3, "\x01\x01\x00\x01\xf3\xff\xff\xff\x7f\x05"))...)},
	} {
		var e *Error
		if got, err := words(c.typ, 12, c.value); !errors.Is(err, ErrCorrupt) || !errors.As(err, &e) || e.Offset > int64(len(c.value)) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

func TestWalkStopsForItsVisitor(t *testing.T) {
	stop := errors.New("enough")
	var d Decoder
	n := 0
	err := d.Walk(TypeList, 9, AppendList(nil, [][]byte{{1}, {2}, {3}}), func(*Element) error {
		if n++; n == 2 {
			return stop
		}
		return nil
	})
	if !errors.Is(err, stop) || n != 2 {
		t.Errorf("%v after %d", err, n)
	}
}

func TestPackNumbersRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := rapid.OneOf(rapid.Int64(), rapid.SampledFrom([]int64{
			0, 127, 128, -1, -4096, 4095, 4096, -4097, math.MinInt16, math.MaxInt16,
			math.MaxInt16 + 1, 1<<23 - 1, 1 << 23, -1 << 23, -1<<23 - 1, math.MinInt32, math.MaxInt32 + 1, math.MinInt64, math.MaxInt64,
		})).Draw(t, "v")
		s := rapid.SliceOfN(rapid.Byte(), 0, 70).Draw(t, "s")
		s = bytes.Repeat(s, rapid.IntRange(1, 300).Draw(t, "times"))
		body := appendPackString(appendPackInt(nil, v), s)
		p, err := openPack([]byte(listpackOf(2, string(body))), false)
		if err != nil {
			t.Fatal(err)
		}
		a, _, err1 := p.next()
		b, _, err2 := p.next()
		_, more, err3 := p.next()
		if err1 != nil || err2 != nil || err3 != nil || more || !a.isInt || a.n != v || !bytes.Equal(b.b, s) {
			t.Fatalf("%v %v %v %v %q", err1, err2, err3, a, b.b)
		}
	})
}

func TestStreamRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.Map(rapid.StringN(0, 6, 20), func(s string) []byte { return []byte(s) })
		s := &Stream{}
		id := StreamID{Ms: rapid.Uint64Range(0, 1<<62).Draw(t, "ms")}
		for range rapid.IntRange(0, 250).Draw(t, "entries") {
			if rapid.Bool().Draw(t, "next ms") {
				id.Ms += rapid.Uint64Range(1, 1<<40).Draw(t, "more")
				id.Seq = rapid.Uint64().Draw(t, "seq") / 2
			} else {
				id.Seq++
			}
			e := StreamEntry{ID: id, Pairs: [][]byte{[]byte("f"), text.Draw(t, "v")}}
			if rapid.IntRange(0, 5).Draw(t, "odd") == 0 {
				e.Pairs = append(e.Pairs, text.Draw(t, "name"), text.Draw(t, "value"))
			}
			s.Entries = append(s.Entries, e)
		}
		s.Meta = StreamMeta{Length: uint64(len(s.Entries)), Last: StreamID{Ms: math.MaxUint64, Seq: rapid.Uint64().Draw(t, "last")}}
		if rapid.Bool().Draw(t, "group") && len(s.Entries) > 0 {
			first := s.Entries[0].ID
			s.Groups = []Group{{
				Name: text.Draw(t, "group"), Last: first, Read: -1,
				Pending:   []Pending{{ID: first, Delivered: 17, Deliveries: 3}},
				Consumers: []Consumer{{Name: []byte("c"), Seen: 18, Active: -1, Pending: []StreamID{first}}},
			}}
		}
		v, err := Decode(TypeStream, 9, AppendStream(nil, s))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(s, v.Stream, cmpopts.EquateEmpty()); d != "" {
			t.Fatal(d)
		}
	})
}
