//go:build amd64 && !purego

#include "textflag.h"

#define ROW512(off, s0, s1) \
	VBROADCASTSS off(AX), Z18   \
	VFMADD231PS  Z16, Z18, s0   \
	VFMADD231PS  Z17, Z18, s1

// One step of depth: two registers of B against eight elements of A.
#define STEP512 \
	VMOVUPS (BX), Z16        \
	VMOVUPS 64(BX), Z17      \
	ROW512(0, Z0, Z1)        \
	ROW512(4, Z2, Z3)        \
	ROW512(8, Z4, Z5)        \
	ROW512(12, Z6, Z7)       \
	ROW512(16, Z8, Z9)       \
	ROW512(20, Z10, Z11)     \
	ROW512(24, Z12, Z13)     \
	ROW512(28, Z14, Z15)     \
	ADDQ    $32, AX          \
	ADDQ    $128, BX

#define SET512(s0, s1) \
	VMULPS  s0, Z19, s0  \
	VMULPS  s1, Z19, s1  \
	VMOVUPS s0, (DI)     \
	VMOVUPS s1, 64(DI)   \
	ADDQ    R9, DI

#define ADD512(s0, s1) \
	VFMADD213PS (DI), Z19, s0   \
	VFMADD213PS 64(DI), Z19, s1 \
	VMOVUPS     s0, (DI)        \
	VMOVUPS     s1, 64(DI)      \
	ADDQ        R9, DI

#define ZERO2(s0, s1) \
	VPXORQ s0, s0, s0 \
	VPXORQ s1, s1, s1

// func gemmTile512(a, b, c *float32, ldc, depth int, alpha float32, add int)
// Registers: Z0-Z15 hold the 8 x 32 tile, two a row.
TEXT ·gemmTile512(SB), NOSPLIT, $0-56
	MOVQ a+0(FP), AX
	MOVQ b+8(FP), BX
	MOVQ c+16(FP), DI
	MOVQ ldc+24(FP), R9
	SHLQ $2, R9
	MOVQ depth+32(FP), R10
	ZERO2(Z0, Z1)
	ZERO2(Z2, Z3)
	ZERO2(Z4, Z5)
	ZERO2(Z6, Z7)
	ZERO2(Z8, Z9)
	ZERO2(Z10, Z11)
	ZERO2(Z12, Z13)
	ZERO2(Z14, Z15)
	MOVQ R10, CX
	SHRQ $2, CX
	JZ   rest

four:
	STEP512
	STEP512
	STEP512
	STEP512
	DECQ CX
	JNZ  four

rest:
	ANDQ $3, R10
	JZ   store

one:
	STEP512
	DECQ R10
	JNZ  one

store:
	VBROADCASTSS alpha+40(FP), Z19
	MOVQ         add+48(FP), R12
	TESTQ        R12, R12
	JNZ          accumulate
	SET512(Z0, Z1)
	SET512(Z2, Z3)
	SET512(Z4, Z5)
	SET512(Z6, Z7)
	SET512(Z8, Z9)
	SET512(Z10, Z11)
	SET512(Z12, Z13)
	SET512(Z14, Z15)
	VZEROUPPER
	RET

accumulate:
	ADD512(Z0, Z1)
	ADD512(Z2, Z3)
	ADD512(Z4, Z5)
	ADD512(Z6, Z7)
	ADD512(Z8, Z9)
	ADD512(Z10, Z11)
	ADD512(Z12, Z13)
	ADD512(Z14, Z15)
	VZEROUPPER
	RET

#define ROW256(off, s0, s1, s2) \
	VBROADCASTSS off(AX), Y15   \
	VFMADD231PS  Y12, Y15, s0   \
	VFMADD231PS  Y13, Y15, s1   \
	VFMADD231PS  Y14, Y15, s2

#define STEP256 \
	VMOVUPS (BX), Y12        \
	VMOVUPS 32(BX), Y13      \
	VMOVUPS 64(BX), Y14      \
	ROW256(0, Y0, Y1, Y2)    \
	ROW256(4, Y3, Y4, Y5)    \
	ROW256(8, Y6, Y7, Y8)    \
	ROW256(12, Y9, Y10, Y11) \
	ADDQ    $32, AX          \
	ADDQ    $96, BX

#define SET256(s0, s1, s2) \
	VMULPS  s0, Y15, s0  \
	VMULPS  s1, Y15, s1  \
	VMULPS  s2, Y15, s2  \
	VMOVUPS s0, (DI)     \
	VMOVUPS s1, 32(DI)   \
	VMOVUPS s2, 64(DI)   \
	ADDQ    R9, DI

#define ADD256(s0, s1, s2) \
	VFMADD213PS (DI), Y15, s0   \
	VFMADD213PS 32(DI), Y15, s1 \
	VFMADD213PS 64(DI), Y15, s2 \
	VMOVUPS     s0, (DI)        \
	VMOVUPS     s1, 32(DI)      \
	VMOVUPS     s2, 64(DI)      \
	ADDQ        R9, DI

#define ZERO3(s0, s1, s2) \
	VXORPS s0, s0, s0 \
	VXORPS s1, s1, s1 \
	VXORPS s2, s2, s2

// func gemmTileAVX2(a, b, c *float32, ldc, depth int, alpha float32, add int)
// Registers: Y0-Y11 hold a 4 x 24 tile, three a row. The panel at a is eight wide and the tile takes four of it.
TEXT ·gemmTileAVX2(SB), NOSPLIT, $0-56
	MOVQ a+0(FP), AX
	MOVQ b+8(FP), BX
	MOVQ c+16(FP), DI
	MOVQ ldc+24(FP), R9
	SHLQ $2, R9
	MOVQ depth+32(FP), R10
	ZERO3(Y0, Y1, Y2)
	ZERO3(Y3, Y4, Y5)
	ZERO3(Y6, Y7, Y8)
	ZERO3(Y9, Y10, Y11)
	MOVQ R10, CX
	SHRQ $2, CX
	JZ   rest

four:
	STEP256
	STEP256
	STEP256
	STEP256
	DECQ CX
	JNZ  four

rest:
	ANDQ $3, R10
	JZ   store

one:
	STEP256
	DECQ R10
	JNZ  one

store:
	VBROADCASTSS alpha+40(FP), Y15
	MOVQ         add+48(FP), R12
	TESTQ        R12, R12
	JNZ          accumulate
	SET256(Y0, Y1, Y2)
	SET256(Y3, Y4, Y5)
	SET256(Y6, Y7, Y8)
	SET256(Y9, Y10, Y11)
	VZEROUPPER
	RET

accumulate:
	ADD256(Y0, Y1, Y2)
	ADD256(Y3, Y4, Y5)
	ADD256(Y6, Y7, Y8)
	ADD256(Y9, Y10, Y11)
	VZEROUPPER
	RET

// func transpose8AVX2(dst, src *float32, ld, side, tiles int)
// Eight rows at src, of stride ld, become tiles x 8 rows of eight at dst, of stride side.
TEXT ·transpose8AVX2(SB), NOSPLIT, $0-40
	MOVQ dst+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ ld+16(FP), R8
	SHLQ $2, R8
	MOVQ side+24(FP), R9
	SHLQ $2, R9
	MOVQ tiles+32(FP), CX
	LEAQ (R8)(R8*2), R10
	LEAQ (R9)(R9*2), R11

tile:
	LEAQ       (SI)(R8*4), R12
	VMOVUPS    (SI), Y0
	VMOVUPS    (SI)(R8*1), Y1
	VMOVUPS    (SI)(R8*2), Y2
	VMOVUPS    (SI)(R10*1), Y3
	VMOVUPS    (R12), Y4
	VMOVUPS    (R12)(R8*1), Y5
	VMOVUPS    (R12)(R8*2), Y6
	VMOVUPS    (R12)(R10*1), Y7
	VUNPCKLPS  Y1, Y0, Y8
	VUNPCKHPS  Y1, Y0, Y9
	VUNPCKLPS  Y3, Y2, Y10
	VUNPCKHPS  Y3, Y2, Y11
	VUNPCKLPS  Y5, Y4, Y12
	VUNPCKHPS  Y5, Y4, Y13
	VUNPCKLPS  Y7, Y6, Y14
	VUNPCKHPS  Y7, Y6, Y15
	VUNPCKLPD  Y10, Y8, Y0
	VUNPCKHPD  Y10, Y8, Y1
	VUNPCKLPD  Y11, Y9, Y2
	VUNPCKHPD  Y11, Y9, Y3
	VUNPCKLPD  Y14, Y12, Y4
	VUNPCKHPD  Y14, Y12, Y5
	VUNPCKLPD  Y15, Y13, Y6
	VUNPCKHPD  Y15, Y13, Y7
	VPERM2F128 $0x20, Y4, Y0, Y8
	VPERM2F128 $0x20, Y5, Y1, Y9
	VPERM2F128 $0x20, Y6, Y2, Y10
	VPERM2F128 $0x20, Y7, Y3, Y11
	VPERM2F128 $0x31, Y4, Y0, Y12
	VPERM2F128 $0x31, Y5, Y1, Y13
	VPERM2F128 $0x31, Y6, Y2, Y14
	VPERM2F128 $0x31, Y7, Y3, Y15
	LEAQ       (DI)(R9*4), R12
	VMOVUPS    Y8, (DI)
	VMOVUPS    Y9, (DI)(R9*1)
	VMOVUPS    Y10, (DI)(R9*2)
	VMOVUPS    Y11, (DI)(R11*1)
	VMOVUPS    Y12, (R12)
	VMOVUPS    Y13, (R12)(R9*1)
	VMOVUPS    Y14, (R12)(R9*2)
	VMOVUPS    Y15, (R12)(R11*1)
	ADDQ       $32, SI
	LEAQ       (DI)(R9*8), DI
	DECQ       CX
	JNZ        tile
	VZEROUPPER
	RET

// func copyRowsAVX2(dst, src *float32, ld, chunks, depth int)
// Rows of one chunk of eight, or of three or four.
TEXT ·copyRowsAVX2(SB), NOSPLIT, $0-40
	MOVQ dst+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ ld+16(FP), R8
	SHLQ $2, R8
	MOVQ chunks+24(FP), R9
	MOVQ depth+32(FP), CX
	CMPQ R9, $3
	JEQ  three
	JGT  four

one:
	VMOVUPS (SI), Y0
	VMOVUPS Y0, (DI)
	ADDQ    R8, SI
	ADDQ    $32, DI
	DECQ    CX
	JNZ     one
	VZEROUPPER
	RET

three:
	VMOVUPS (SI), Y0
	VMOVUPS 32(SI), Y1
	VMOVUPS 64(SI), Y2
	VMOVUPS Y0, (DI)
	VMOVUPS Y1, 32(DI)
	VMOVUPS Y2, 64(DI)
	ADDQ    R8, SI
	ADDQ    $96, DI
	DECQ    CX
	JNZ     three
	VZEROUPPER
	RET

four:
	VMOVUPS (SI), Y0
	VMOVUPS 32(SI), Y1
	VMOVUPS 64(SI), Y2
	VMOVUPS 96(SI), Y3
	VMOVUPS Y0, (DI)
	VMOVUPS Y1, 32(DI)
	VMOVUPS Y2, 64(DI)
	VMOVUPS Y3, 96(DI)
	ADDQ    R8, SI
	ADDQ    $128, DI
	DECQ    CX
	JNZ     four
	VZEROUPPER
	RET
