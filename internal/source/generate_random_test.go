package source

import "testing"

// Eight characters at once are those that one at a time would be.
func TestRandomTextIsThatOfEachCharacter(t *testing.T) {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	for n := range 100 {
		r, plain := random(n), random(n)
		got := r.text([]byte("x"), n)
		want := []byte("x")
		for len(want)-1 < n {
			x := plain.next()
			for range min(10, n-(len(want)-1)) {
				want = append(want, alphabet[x&63])
				x >>= 6
			}
		}
		if string(got) != string(want) || r != plain {
			t.Fatalf("text of %d is %q, not %q", n, got, want)
		}
		got = r.letters([]byte("x"), n)
		want = []byte("x")
		for len(want)-1 < n {
			x := plain.next()
			for range min(8, n-(len(want)-1)) {
				want = append(want, letters[(x&255)*52>>8])
				x >>= 8
			}
		}
		if string(got) != string(want) || r != plain {
			t.Fatalf("letters of %d are %q, not %q", n, got, want)
		}
	}
	for i := range uint64(64) {
		if c := byte(eightOf64(i * 0x041041041041)); c != alphabet[i] {
			t.Errorf("character %d is %q", i, c)
		}
	}
}

func BenchmarkLetters(b *testing.B) {
	r := random(1)
	var dst []byte
	b.SetBytes(256)
	for b.Loop() {
		dst = r.letters(dst[:0], 256)
	}
}
