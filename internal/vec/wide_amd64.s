//go:build amd64 && !purego

#include "textflag.h"

// The kernels of a search on registers of 512 bits. They ask for no row ahead: that is PrefetchRows' work, which a search
// has done while it was busy with another query.

// LINE_MASK sets K1 to the cols mod 16 last lanes of floats. It clobbers R8 and R9, and CX.
#define LINE_MASK(cols) \
	MOVQ  cols, CX  \
	ANDQ  $15, CX   \
	MOVL  $1, R8    \
	SHLL  CX, R8    \
	DECL  R8        \
	KMOVW R8, K1

#define WIDE_DOT(row, q, t, acc) VFMADD231PS (row)(DX*1), q, acc
#define WIDE_L2(row, q, t, acc) \
	VSUBPS       (row)(DX*1), q, t \
	VFNMADD231PS t, t, acc

#define TAIL512_DOT(row, q, t, acc) \
	VMOVUPS.Z   (row)(DX*1), K1, t \
	VFMADD231PS t, q, acc
#define TAIL512_L2(row, q, t, acc) \
	VMOVUPS.Z    (row)(DX*1), K1, t \
	VSUBPS       t, q, t            \
	VFNMADD231PS t, t, acc

// FOUR leaves in X0 the four results of the vector at AX with the rows at R8..R11. R13 is the row's length in bytes, R12
// the part of it that is whole registers.
#define FOUR(STEP, TAIL) \
	VPXORQ    Z0, Z0, Z0         \
	VPXORQ    Z1, Z1, Z1         \
	VPXORQ    Z2, Z2, Z2         \
	VPXORQ    Z3, Z3, Z3         \
	XORQ      DX, DX             \
	TESTQ     R12, R12           \
	JZ        last               \
wide:                            \
	VMOVUPS   (AX)(DX*1), Z8     \
	STEP(R8, Z8, Z4, Z0)         \
	STEP(R9, Z8, Z5, Z1)         \
	STEP(R10, Z8, Z6, Z2)        \
	STEP(R11, Z8, Z7, Z3)        \
	ADDQ      $64, DX            \
	CMPQ      DX, R12            \
	JLT       wide               \
last:                            \
	CMPQ      DX, R13            \
	JEQ       reduce             \
	VMOVUPS.Z (AX)(DX*1), K1, Z8 \
	TAIL(R8, Z8, Z4, Z0)         \
	TAIL(R9, Z8, Z5, Z1)         \
	TAIL(R10, Z8, Z6, Z2)        \
	TAIL(R11, Z8, Z7, Z3)        \
reduce:                          \
	VUNPCKLPS Z1, Z0, Z4         \
	VUNPCKHPS Z1, Z0, Z5         \
	VUNPCKLPS Z3, Z2, Z6         \
	VUNPCKHPS Z3, Z2, Z7         \
	VADDPS    Z5, Z4, Z4         \
	VADDPS    Z7, Z6, Z6         \
	VUNPCKLPD Z6, Z4, Z0         \
	VUNPCKHPD Z6, Z4, Z1         \
	VADDPS    Z1, Z0, Z0         \
	VEXTRACTF64X4 $1, Z0, Y1     \
	VADDPS    Y1, Y0, Y0         \
	VEXTRACTF128 $1, Y0, X1      \
	VADDPS    X1, X0, X0

#define FOUR_INT8 \
	VPXORQ     Z0, Z0, Z0            \
	VPXORQ     Z1, Z1, Z1            \
	VPXORQ     Z2, Z2, Z2            \
	VPXORQ     Z3, Z3, Z3            \
	XORQ       DX, DX                \
	TESTQ      R12, R12              \
	JZ         last                  \
wide:                                \
	VMOVDQU64  (AX)(DX*1), Z8        \
	VPXORQ     (R8)(DX*1), Z12, Z4   \
	VPXORQ     (R9)(DX*1), Z12, Z5   \
	VPXORQ     (R10)(DX*1), Z12, Z6  \
	VPXORQ     (R11)(DX*1), Z12, Z7  \
	VPDPBUSD   Z8, Z4, Z0            \
	VPDPBUSD   Z8, Z5, Z1            \
	VPDPBUSD   Z8, Z6, Z2            \
	VPDPBUSD   Z8, Z7, Z3            \
	ADDQ       $64, DX               \
	CMPQ       DX, R12               \
	JLT        wide                  \
last:                                \
	CMPQ       DX, R13               \
	JEQ        reduce                \
	VMOVDQU8.Z (R8)(DX*1), K1, Z4    \
	VMOVDQU8.Z (R9)(DX*1), K1, Z5    \
	VMOVDQU8.Z (R10)(DX*1), K1, Z6   \
	VMOVDQU8.Z (R11)(DX*1), K1, Z7   \
	VPXORQ     Z4, Z12, Z4           \
	VPXORQ     Z5, Z12, Z5           \
	VPXORQ     Z6, Z12, Z6           \
	VPXORQ     Z7, Z12, Z7           \
	VPDPBUSD   Z13, Z4, Z0           \
	VPDPBUSD   Z13, Z5, Z1           \
	VPDPBUSD   Z13, Z6, Z2           \
	VPDPBUSD   Z13, Z7, Z3           \
reduce:                              \
	VPUNPCKLDQ  Z1, Z0, Z4           \
	VPUNPCKHDQ  Z1, Z0, Z5           \
	VPUNPCKLDQ  Z3, Z2, Z6           \
	VPUNPCKHDQ  Z3, Z2, Z7           \
	VPADDD      Z5, Z4, Z4           \
	VPADDD      Z7, Z6, Z6           \
	VPUNPCKLQDQ Z6, Z4, Z0           \
	VPUNPCKHQDQ Z6, Z4, Z1           \
	VPADDD      Z1, Z0, Z0           \
	VEXTRACTI64X4 $1, Z0, Y1         \
	VPADDD      Y1, Y0, Y0           \
	VEXTRACTI128 $1, Y0, X1          \
	VPADDD      X1, X0, X0           \
	VPSUBD      X14, X0, X0

// PREPARE_INT8 sets, for R13 columns and the vector at AX: R12 the columns in whole registers, K1 and Z13 the mask and the
// vector's part of the rest, Z12 bytes of 128, X14 128 times the sum of the vector. VPDPBUSD wants one side unsigned: that
// is the row plus 128, which is the row with the top bits turned, and what this adds is taken off again. It clobbers
// CX, DX, R8 and Z0..Z1.
#define PREPARE_INT8 \
	MOVQ       R13, R12             \
	ANDQ       $-64, R12            \
	MOVQ       R13, CX              \
	ANDQ       $63, CX              \
	MOVQ       $1, R8               \
	SHLQ       CX, R8               \
	DECQ       R8                   \
	KMOVQ      R8, K1               \
	MOVL       $0x80808080, R8      \
	VPBROADCASTD R8, Z12            \
	VPXORQ     Z0, Z0, Z0           \
	XORQ       DX, DX               \
	TESTQ      R12, R12             \
	JZ         sumlast              \
sum:                                \
	VPDPBUSD   (AX)(DX*1), Z12, Z0  \
	ADDQ       $64, DX              \
	CMPQ       DX, R12              \
	JLT        sum                  \
sumlast:                            \
	VMOVDQU8.Z (AX)(DX*1), K1, Z13  \
	VPDPBUSD   Z13, Z12, Z0         \
	VEXTRACTI64X4 $1, Z0, Y1        \
	VPADDD     Y1, Y0, Y0           \
	VEXTRACTI128 $1, Y0, X1         \
	VPADDD     X1, X0, X0           \
	VPHADDD    X0, X0, X0           \
	VPHADDD    X0, X0, X0           \
	VPBROADCASTD X0, X14

// STORE_REST stores the first CX, of 1 to 3, lanes of X0 at DI.
#define STORE_REST \
	CMPQ    CX, $2         \
	JGE     two            \
	VMOVD   X0, (DI)       \
	JMP     done           \
two:                       \
	VMOVQ   X0, (DI)       \
	JEQ     done           \
	VPEXTRD $2, X0, 8(DI)

// ROWS sets R8..R11 to the next four rows, or fewer, of the CX ids at SI in the matrix of R15 rows of R13 bytes at BX, and
// goes to bad where one is out of range.
#define ROWS \
group:                  \
	MOVL  (SI), R8      \
	CMPQ  CX, $4        \
	JLT   part          \
	MOVL  4(SI), R9     \
	MOVL  8(SI), R10    \
	MOVL  12(SI), R11   \
	JMP   check         \
part:                   \
	TESTQ CX, CX        \
	JZ    done          \
	MOVQ  R8, R9        \
	MOVQ  R8, R10       \
	MOVQ  R8, R11       \
	CMPQ  CX, $2        \
	JLT   check         \
	MOVL  4(SI), R9     \
	CMPQ  CX, $2        \
	JEQ   check         \
	MOVL  8(SI), R10    \
check:                  \
	CMPQ  R8, R15       \
	JCC   bad           \
	CMPQ  R9, R15       \
	JCC   bad           \
	CMPQ  R10, R15      \
	JCC   bad           \
	CMPQ  R11, R15      \
	JCC   bad           \
	IMULQ R13, R8       \
	IMULQ R13, R9       \
	IMULQ R13, R10      \
	IMULQ R13, R11      \
	ADDQ  BX, R8        \
	ADDQ  BX, R9        \
	ADDQ  BX, R10       \
	ADDQ  BX, R11

#define NEXT_ROWS \
	CMPQ    CX, $4     \
	JLT     storerest  \
	VMOVDQU X0, (DI)   \
	ADDQ    $16, SI    \
	ADDQ    $16, DI    \
	SUBQ    $4, CX     \
	JNZ     group      \
	JMP     done       \
storerest:             \
	STORE_REST         \
done:                  \
	XORQ    CX, CX     \
bad:                   \
	VZEROUPPER         \
	MOVQ    CX, left+56(FP) \
	RET

#define GATHER512(STEP, TAIL) \
	MOVQ cols+24(FP), R13 \
	LINE_MASK(R13)        \
	MOVQ x+0(FP), AX      \
	MOVQ m+8(FP), BX      \
	MOVQ rows+16(FP), R15 \
	MOVQ ids+32(FP), SI   \
	MOVQ n+40(FP), CX     \
	MOVQ dst+48(FP), DI   \
	SHLQ $2, R13          \
	MOVQ R13, R12         \
	ANDQ $-64, R12        \
	ROWS                  \
	FOUR(STEP, TAIL)      \
	NEXT_ROWS

// func gatherDot512(x, m *float32, rows, cols int, ids *uint32, n int, dst *float32) (left int)
TEXT ·gatherDot512(SB), NOSPLIT, $0-64
	GATHER512(WIDE_DOT, TAIL512_DOT)

// func gatherNegL2512(x, m *float32, rows, cols int, ids *uint32, n int, dst *float32) (left int)
TEXT ·gatherNegL2512(SB), NOSPLIT, $0-64
	GATHER512(WIDE_L2, TAIL512_L2)

// func gatherDotInt8512(x, m *int8, rows, cols int, ids *uint32, n int, dst *int32) (left int)
TEXT ·gatherDotInt8512(SB), NOSPLIT, $0-64
	MOVQ cols+24(FP), R13
	MOVQ x+0(FP), AX
	PREPARE_INT8
	MOVQ m+8(FP), BX
	MOVQ rows+16(FP), R15
	MOVQ ids+32(FP), SI
	MOVQ n+40(FP), CX
	MOVQ dst+48(FP), DI
	ROWS
	FOUR_INT8
	NEXT_ROWS

// func gemvInt8512(x, m *int8, cols, rows int, dst *int32)
TEXT ·gemvInt8512(SB), NOSPLIT, $0-40
	MOVQ cols+16(FP), R13
	MOVQ x+0(FP), AX
	PREPARE_INT8
	MOVQ m+8(FP), BX
	MOVQ rows+24(FP), CX
	MOVQ dst+32(FP), DI

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
	FOUR_INT8
	CMPQ    CX, $4
	JLT     storerest
	VMOVDQU X0, (DI)
	ADDQ    $16, DI
	SUBQ    $4, CX
	JNZ     group
	JMP     done

storerest:
	STORE_REST

done:
	VZEROUPPER
	RET

// func prefetchRows(m unsafe.Pointer, stride int, ids *uint32, n int)
TEXT ·prefetchRows(SB), NOSPLIT, $0-32
	MOVQ m+0(FP), BX
	MOVQ stride+8(FP), R13
	MOVQ ids+16(FP), SI
	MOVQ n+24(FP), CX
	CMPQ R13, $64
	JGT  long

short:
	MOVL       (SI), R8
	IMULQ      R13, R8
	PREFETCHT0 (BX)(R8*1)
	ADDQ       $4, SI
	DECQ       CX
	JNZ        short
	RET

long:
	MOVQ  R13, R12
	CMPQ  R12, $512
	JLE   row
	MOVQ  $512, R12

row:
	MOVL  (SI), R8
	IMULQ R13, R8
	ADDQ  BX, R8
	LEAQ  (R8)(R12*1), R9

line:
	PREFETCHT0 (R8)
	ADDQ       $64, R8
	CMPQ       R8, R9
	JLT        line
	ADDQ       $4, SI
	DECQ       CX
	JNZ        row
	RET
