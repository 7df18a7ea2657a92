package resp

import "strconv"

// AppendArray appends the head of a command of n arguments.
func AppendArray(dst []byte, n int) []byte { return appendHead(dst, '*', n) }

// AppendBulk appends one argument.
func AppendBulk(dst, arg []byte) []byte {
	dst = appendHead(dst, '$', len(arg))
	dst = append(dst, arg...)
	return append(dst, '\r', '\n')
}

// AppendString appends one argument.
func AppendString(dst []byte, arg string) []byte {
	dst = appendHead(dst, '$', len(arg))
	dst = append(dst, arg...)
	return append(dst, '\r', '\n')
}

// AppendInt appends one argument, n in decimal.
func AppendInt(dst []byte, n int64) []byte {
	var tmp [20]byte
	return AppendBulk(dst, strconv.AppendInt(tmp[:0], n, 10))
}

// AppendBulkHead appends the head of an argument of n bytes. The caller appends
// the n bytes and then AppendEnd: so an argument made of several pieces needs no copy.
func AppendBulkHead(dst []byte, n int) []byte { return appendHead(dst, '$', n) }

// AppendEnd closes an argument that AppendBulkHead opened.
func AppendEnd(dst []byte) []byte { return append(dst, '\r', '\n') }

// AppendCommand appends a whole command.
func AppendCommand(dst []byte, args ...string) []byte {
	dst = AppendArray(dst, len(args))
	for _, a := range args {
		dst = AppendString(dst, a)
	}
	return dst
}

func appendHead(dst []byte, kind byte, n int) []byte {
	dst = append(dst, kind)
	if n >= 0 && n < 10 {
		return append(dst, byte('0'+n), '\r', '\n')
	}
	dst = strconv.AppendInt(dst, int64(n), 10)
	return append(dst, '\r', '\n')
}
