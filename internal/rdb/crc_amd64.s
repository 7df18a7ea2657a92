#include "textflag.h"

// ADVANCE multiplies a piece's halves by the powers in X9 and adds both products.
#define ADVANCE(piece, tmp) \
	MOVOU piece, tmp \
	PCLMULQDQ $0x00, X9, piece \
	PCLMULQDQ $0x11, X9, tmp \
	PXOR tmp, piece

// func foldPieces(last *[2]uint64, powers *[4]uint64, crc uint64, p []byte)
TEXT ·foldPieces(SB), NOSPLIT, $0-48
	MOVQ last+0(FP), DI
	MOVQ powers+8(FP), DX
	MOVQ crc+16(FP), X8
	MOVQ p_base+24(FP), SI
	MOVQ p_len+32(FP), CX
	MOVOU 0(SI), X0
	MOVOU 16(SI), X1
	MOVOU 32(SI), X2
	MOVOU 48(SI), X3
	PXOR X8, X0
	MOVOU 0(DX), X9
	ADDQ $64, SI
	SUBQ $64, CX
	CMPQ CX, $64
	JLT join

blocks:
	ADVANCE(X0, X4)
	ADVANCE(X1, X5)
	ADVANCE(X2, X6)
	ADVANCE(X3, X7)
	MOVOU 0(SI), X4
	MOVOU 16(SI), X5
	MOVOU 32(SI), X6
	MOVOU 48(SI), X7
	PXOR X4, X0
	PXOR X5, X1
	PXOR X6, X2
	PXOR X7, X3
	ADDQ $64, SI
	SUBQ $64, CX
	CMPQ CX, $64
	JGE blocks

join:
	MOVOU 16(DX), X9
	ADVANCE(X0, X4)
	PXOR X0, X1
	ADVANCE(X1, X4)
	PXOR X1, X2
	ADVANCE(X2, X4)
	PXOR X2, X3
	TESTQ CX, CX
	JZ done

pieces:
	ADVANCE(X3, X4)
	MOVOU 0(SI), X5
	PXOR X5, X3
	ADDQ $16, SI
	SUBQ $16, CX
	JNZ pieces

done:
	MOVOU X3, 0(DI)
	RET
