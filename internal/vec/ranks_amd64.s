//go:build amd64 && !purego

#include "textflag.h"

// lastLanes + 32 - 4*r is a mask of the first r lanes out of 8, r in [0, 8].
DATA lastLanes<>+0(SB)/8, $0xffffffffffffffff
DATA lastLanes<>+8(SB)/8, $0xffffffffffffffff
DATA lastLanes<>+16(SB)/8, $0xffffffffffffffff
DATA lastLanes<>+24(SB)/8, $0xffffffffffffffff
DATA lastLanes<>+32(SB)/8, $0
DATA lastLanes<>+40(SB)/8, $0
DATA lastLanes<>+48(SB)/8, $0
DATA lastLanes<>+56(SB)/8, $0
GLOBL lastLanes<>(SB), RODATA|NOPTR, $64

// COUNT adds one to each lane of count where the eight elements in Y8 are greater than v.
#define COUNT(v, count) \
	VCMPPS $0x1E, v, Y8, Y9 \
	VPSUBD Y9, count, count

#define COUNT_LAST(v, count) \
	VCMPPS $0x1E, v, Y8, Y9 \
	VPAND  Y10, Y9, Y9      \
	VPSUBD Y9, count, count

// func rankAllAVX2(dst *int32, x *float32, groups, n int)
TEXT ·rankAllAVX2(SB), NOSPLIT, $0-32
	MOVQ dst+0(FP), DI
	MOVQ x+8(FP), SI
	MOVQ groups+16(FP), CX
	MOVQ n+24(FP), R9
	MOVQ SI, BX
	MOVQ R9, R10
	ANDQ $7, R10
	SHRQ $3, R9
	SHLQ $2, R10
	LEAQ lastLanes<>+32(SB), R11
	SUBQ R10, R11
	VMOVDQU (R11), Y10

group:
	VBROADCASTSS (BX), Y0
	VBROADCASTSS 4(BX), Y1
	VBROADCASTSS 8(BX), Y2
	VBROADCASTSS 12(BX), Y3
	VPXOR        Y4, Y4, Y4
	VPXOR        Y5, Y5, Y5
	VPXOR        Y6, Y6, Y6
	VPXOR        Y7, Y7, Y7
	MOVQ         SI, DX
	MOVQ         R9, R8
	TESTQ        R8, R8
	JZ           last

eight:
	VMOVUPS (DX), Y8
	COUNT(Y0, Y4)
	COUNT(Y1, Y5)
	COUNT(Y2, Y6)
	COUNT(Y3, Y7)
	ADDQ    $32, DX
	DECQ    R8
	JNZ     eight

last:
	VMASKMOVPS (DX), Y10, Y8
	COUNT_LAST(Y0, Y4)
	COUNT_LAST(Y1, Y5)
	COUNT_LAST(Y2, Y6)
	COUNT_LAST(Y3, Y7)
	VPHADDD      Y5, Y4, Y4
	VPHADDD      Y7, Y6, Y6
	VPHADDD      Y6, Y4, Y4
	VEXTRACTI128 $1, Y4, X5
	VPADDD       X5, X4, X4
	VMOVDQU      X4, (DI)
	ADDQ         $16, BX
	ADDQ         $16, DI
	DECQ         CX
	JNZ          group
	VZEROUPPER
	RET
