//go:build !purego

#include "textflag.h"

// Products of signed bytes: VPMADDUBSW wants one side unsigned, so it gets |q|, and VPSIGNB moves q's sign to the row
// beforehand. A pair sums to at most 2*127*127 = 32258, which an int16 holds.
//
// The last cols mod 32 columns are done by the register that ends with the row and overlaps what came before, against a
// vector masked to the columns not yet done. Only the vector needs masking: what is multiplied by zero adds nothing.

// byteMask + r is a mask of the r last bytes out of 32, r in [0, 32].
DATA byteMask<>+0(SB)/8, $0
DATA byteMask<>+8(SB)/8, $0
DATA byteMask<>+16(SB)/8, $0
DATA byteMask<>+24(SB)/8, $0
DATA byteMask<>+32(SB)/8, $0xffffffffffffffff
DATA byteMask<>+40(SB)/8, $0xffffffffffffffff
DATA byteMask<>+48(SB)/8, $0xffffffffffffffff
DATA byteMask<>+56(SB)/8, $0xffffffffffffffff
GLOBL byteMask<>(SB), RODATA|NOPTR, $64

// PREPARE sets, for R13 columns (32 or more) and the vector at AX: R12 the columns in whole steps of 32, Y12 ones, Y13
// the vector's masked tail, Y14 its absolute value. It clobbers R8.
#define PREPARE \
	MOVQ     R13, R12               \
	ANDQ     $-32, R12              \
	VPCMPEQW Y12, Y12, Y12          \
	VPSRLW   $15, Y12, Y12          \
	MOVQ     R13, R8                \
	ANDQ     $31, R8                \
	LEAQ     byteMask<>(SB), R9     \
	VMOVDQU  (R9)(R8*1), Y13        \
	VPAND    -32(AX)(R13*1), Y13, Y13 \
	VPABSB   Y13, Y14

#define ROW(at, q, abs, t, acc) \
	VMOVDQU    at, t       \
	VPSIGNB    q, t, t     \
	VPMADDUBSW t, abs, t   \
	VPMADDWD   Y12, t, t   \
	VPADDD     t, acc, acc

// FOUR_ROWS leaves in X0 the four results of the vector at AX with the rows at R8..R11.
#define FOUR_ROWS \
	VPXOR    Y0, Y0, Y0                          \
	VPXOR    Y1, Y1, Y1                          \
	VPXOR    Y2, Y2, Y2                          \
	VPXOR    Y3, Y3, Y3                          \
	XORQ     DX, DX                              \
wide:                                            \
	VMOVDQU  (AX)(DX*1), Y8                      \
	VPABSB   Y8, Y9                              \
	ROW((R8)(DX*1), Y8, Y9, Y4, Y0)              \
	ROW((R9)(DX*1), Y8, Y9, Y5, Y1)              \
	ROW((R10)(DX*1), Y8, Y9, Y6, Y2)             \
	ROW((R11)(DX*1), Y8, Y9, Y7, Y3)             \
	ADDQ     $32, DX                             \
	CMPQ     DX, R12                             \
	JLT      wide                                \
	CMPQ     DX, R13                             \
	JEQ      reduce                              \
	ROW(-32(R8)(R13*1), Y13, Y14, Y4, Y0)        \
	ROW(-32(R9)(R13*1), Y13, Y14, Y5, Y1)        \
	ROW(-32(R10)(R13*1), Y13, Y14, Y6, Y2)       \
	ROW(-32(R11)(R13*1), Y13, Y14, Y7, Y3)       \
reduce:                                          \
	VPHADDD  Y1, Y0, Y0                          \
	VPHADDD  Y3, Y2, Y2                          \
	VPHADDD  Y2, Y0, Y0                          \
	VEXTRACTI128 $1, Y0, X1                      \
	VPADDD   X1, X0, X0

// STORE_PART stores the first CX, of 1 to 3, lanes of X0 at DI.
#define STORE_PART \
	CMPQ    CX, $2         \
	JGE     two            \
	VMOVD   X0, (DI)       \
	JMP     done           \
two:                       \
	VMOVQ   X0, (DI)       \
	JEQ     done           \
	VPEXTRD $2, X0, 8(DI)

// func gemvInt8AVX2(x, m *int8, cols, rows int, dst *int32)
TEXT ·gemvInt8AVX2(SB), NOSPLIT, $0-40
	MOVQ x+0(FP), AX
	MOVQ m+8(FP), BX
	MOVQ cols+16(FP), R13
	MOVQ rows+24(FP), CX
	MOVQ dst+32(FP), DI
	PREPARE

group:
	MOVQ BX, R8
	CMPQ CX, $4
	JLT  part
	LEAQ (R8)(R13*1), R9
	LEAQ (R9)(R13*1), R10
	LEAQ (R10)(R13*1), R11
	LEAQ (R11)(R13*1), BX
	JMP  rows4

part:
	MOVQ R8, R9
	MOVQ R8, R10
	MOVQ R8, R11
	CMPQ CX, $2
	JLT  rows4
	ADDQ R13, R9
	CMPQ CX, $2
	JEQ  rows4
	LEAQ (R9)(R13*1), R10

rows4:
	FOUR_ROWS
	CMPQ    CX, $4
	JLT     storepart
	VMOVDQU X0, (DI)
	ADDQ    $16, DI
	SUBQ    $4, CX
	JNZ     group
	JMP     done

storepart:
	STORE_PART

done:
	VZEROUPPER
	RET

// func gatherDotInt8AVX2(x, m *int8, rows, cols int, ids *uint32, n int, dst *int32) (left int)
TEXT ·gatherDotInt8AVX2(SB), NOSPLIT, $0-64
	MOVQ x+0(FP), AX
	MOVQ m+8(FP), BX
	MOVQ cols+24(FP), R13
	MOVQ ids+32(FP), SI
	MOVQ n+40(FP), CX
	MOVQ dst+48(FP), DI
	PREPARE

	// Rows are one or two cache lines, and a node's neighbours a few dozen rows: ask for the first line of all, up to
	// 64 rows ahead, then for the other lines of the next four as the work goes on. A prefetch of an id out of range is
	// harmless; the id is compared before it is used.
	XORQ DX, DX

first:
	MOVL       (SI)(DX*4), R8
	IMULQ      R13, R8
	PREFETCHT0 (BX)(R8*1)
	INCQ       DX
	CMPQ       DX, $64
	JGE        group
	CMPQ       DX, CX
	JLT        first

group:
	CMPQ  CX, $8
	JLT   few
	CMPQ  R13, $64
	JLE   four
	MOVL  16(SI), R8
	MOVL  20(SI), R9
	MOVL  24(SI), R10
	MOVL  28(SI), R11
	IMULQ R13, R8
	IMULQ R13, R9
	IMULQ R13, R10
	IMULQ R13, R11
	ADDQ  BX, R8
	ADDQ  BX, R9
	ADDQ  BX, R10
	ADDQ  BX, R11
	MOVQ  $64, DX

fetch:
	PREFETCHT0 (R8)(DX*1)
	PREFETCHT0 (R9)(DX*1)
	PREFETCHT0 (R10)(DX*1)
	PREFETCHT0 (R11)(DX*1)
	ADDQ       $64, DX
	CMPQ       DX, $512
	JGE        four
	CMPQ       DX, R13
	JLT        fetch
	JMP        four

few:
	CMPQ CX, $4
	JLT  part

four:
	MOVL (SI), R8
	MOVL 4(SI), R9
	MOVL 8(SI), R10
	MOVL 12(SI), R11
	JMP  check

part:
	MOVL (SI), R8
	MOVQ R8, R9
	MOVQ R8, R10
	MOVQ R8, R11
	CMPQ CX, $2
	JLT  check
	MOVL 4(SI), R9
	CMPQ CX, $2
	JEQ  check
	MOVL 8(SI), R10

check:
	CMPQ  R8, rows+16(FP)
	JCC   bad
	CMPQ  R9, rows+16(FP)
	JCC   bad
	CMPQ  R10, rows+16(FP)
	JCC   bad
	CMPQ  R11, rows+16(FP)
	JCC   bad
	IMULQ R13, R8
	IMULQ R13, R9
	IMULQ R13, R10
	IMULQ R13, R11
	ADDQ  BX, R8
	ADDQ  BX, R9
	ADDQ  BX, R10
	ADDQ  BX, R11
	FOUR_ROWS
	CMPQ    CX, $4
	JLT     storepart
	VMOVDQU X0, (DI)
	ADDQ    $16, SI
	ADDQ    $16, DI
	SUBQ    $4, CX
	JNZ     group
	JMP     done

storepart:
	STORE_PART

done:
	XORQ CX, CX

bad:
	VZEROUPPER
	MOVQ CX, left+56(FP)
	RET

// func dotInt8AVX2(a, b *int8, n int) int32
TEXT ·dotInt8AVX2(SB), NOSPLIT, $0-28
	MOVQ  a+0(FP), AX
	MOVQ  b+8(FP), BX
	MOVQ  n+16(FP), R13
	PREPARE
	VPXOR Y0, Y0, Y0
	XORQ  DX, DX

wide:
	VMOVDQU (AX)(DX*1), Y8
	VPABSB  Y8, Y9
	ROW((BX)(DX*1), Y8, Y9, Y4, Y0)
	ADDQ    $32, DX
	CMPQ    DX, R12
	JLT     wide
	CMPQ    DX, R13
	JEQ     reduce
	ROW(-32(BX)(R13*1), Y13, Y14, Y4, Y0)

reduce:
	VEXTRACTI128 $1, Y0, X1
	VPADDD       X1, X0, X0
	VPHADDD      X0, X0, X0
	VPHADDD      X0, X0, X0
	VZEROUPPER
	MOVL         X0, ret+24(FP)
	RET
