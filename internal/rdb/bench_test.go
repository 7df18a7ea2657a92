package rdb

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc64"
	"io"
	"math/bits"
	"math/rand/v2"
	"testing"
)

// sampleFile is a file of n string keys of 16 bytes with values of the given size.
func sampleFile(tb testing.TB, n, valueSize int) []byte {
	tb.Helper()
	var out bytes.Buffer
	w, err := NewWriter(&out, HeaderOf(11))
	if err != nil {
		tb.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	value := make([]byte, valueSize)
	for i := range n {
		for j := range value {
			value[j] = byte(rng.Uint32())
		}
		e := Entry{Key: fmt.Appendf(nil, "key:%012d", i), Value: AppendString(nil, value), Idle: -1, Freq: -1}
		if i%5 == 0 {
			e.ExpireAt = 1_900_000_000_000 + int64(i)
		}
		if err := w.Write(&e); err != nil {
			tb.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return out.Bytes()
}

func readAll(tb testing.TB, r *Reader) int {
	n := 0
	for {
		_, err := r.Next()
		if errors.Is(err, io.EOF) {
			return n
		}
		if err != nil {
			tb.Fatal(err)
		}
		n++
	}
}

func BenchmarkReader(b *testing.B) {
	for _, size := range []int{10, 100, 1000} {
		b.Run(fmt.Sprintf("value=%d", size), func(b *testing.B) {
			file := sampleFile(b, 200_000, size)
			b.SetBytes(int64(len(file)))
			b.ReportAllocs()
			keys := 0
			for b.Loop() {
				keys += readAll(b, NewReader(bytes.NewReader(file)))
			}
			b.ReportMetric(float64(keys)/b.Elapsed().Seconds()/1e6, "Mkeys/s")
		})
	}
}

func BenchmarkCRC(b *testing.B) {
	table := crc64.MakeTable(bits.Reverse64(0xad93d23594c935a9))
	for _, size := range []int{112, 64 << 10} {
		p := make([]byte, size)
		b.Run(fmt.Sprintf("ours/%d", size), func(b *testing.B) {
			b.SetBytes(int64(size))
			for b.Loop() {
				CRC64(0, p)
			}
		})
		b.Run(fmt.Sprintf("std/%d", size), func(b *testing.B) {
			b.SetBytes(int64(size))
			for b.Loop() {
				_ = ^crc64.Update(^uint64(0), table, p)
			}
		})
	}
}
