//go:build amd64 && !purego

#include "textflag.h"

// One step of depth: two vectors of B against four broadcast elements of A.
#define STEP \
	VMOVUPS (BX), Y8             \
	VMOVUPS 32(BX), Y9           \
	VBROADCASTSS (AX), Y10       \
	VBROADCASTSS 4(AX), Y11      \
	VBROADCASTSS 8(AX), Y12      \
	VBROADCASTSS 12(AX), Y13     \
	VFMADD231PS Y8, Y10, Y0      \
	VFMADD231PS Y9, Y10, Y1      \
	VFMADD231PS Y8, Y11, Y2      \
	VFMADD231PS Y9, Y11, Y3      \
	VFMADD231PS Y8, Y12, Y4      \
	VFMADD231PS Y9, Y12, Y5      \
	VFMADD231PS Y8, Y13, Y6      \
	VFMADD231PS Y9, Y13, Y7      \
	ADDQ R9, AX                  \
	ADDQ R9, BX

// func panelAVX2(c *float32, a, b *float32, ld, k, tiles, sub int)
// Registers: Y0-Y7 hold the 4 x 16 tile, R9 the row stride in bytes.
TEXT ·panelAVX2(SB), NOSPLIT, $0-56
	MOVQ c+0(FP), DI
	MOVQ a+8(FP), SI
	MOVQ b+16(FP), DX
	MOVQ ld+24(FP), R9
	SHLQ $2, R9
	MOVQ k+32(FP), R10
	MOVQ tiles+40(FP), R11
	MOVQ sub+48(FP), R12
	LEAQ (R9)(R9*2), R13

tile:
	VXORPS Y0, Y0, Y0
	VXORPS Y1, Y1, Y1
	VXORPS Y2, Y2, Y2
	VXORPS Y3, Y3, Y3
	VXORPS Y4, Y4, Y4
	VXORPS Y5, Y5, Y5
	VXORPS Y6, Y6, Y6
	VXORPS Y7, Y7, Y7
	MOVQ SI, AX
	MOVQ DX, BX
	MOVQ R10, CX
	SHRQ $1, CX
	JZ   odd

pair:
	STEP
	STEP
	DECQ CX
	JNZ  pair

odd:
	TESTQ $1, R10
	JZ    store
	STEP

store:
	TESTQ R12, R12
	JNZ   subtract
	VADDPS (DI), Y0, Y0
	VADDPS 32(DI), Y1, Y1
	VADDPS (DI)(R9*1), Y2, Y2
	VADDPS 32(DI)(R9*1), Y3, Y3
	VADDPS (DI)(R9*2), Y4, Y4
	VADDPS 32(DI)(R9*2), Y5, Y5
	VADDPS (DI)(R13*1), Y6, Y6
	VADDPS 32(DI)(R13*1), Y7, Y7
	JMP    write

subtract:
	VMOVUPS (DI), Y8
	VSUBPS  Y0, Y8, Y0
	VMOVUPS 32(DI), Y9
	VSUBPS  Y1, Y9, Y1
	VMOVUPS (DI)(R9*1), Y10
	VSUBPS  Y2, Y10, Y2
	VMOVUPS 32(DI)(R9*1), Y11
	VSUBPS  Y3, Y11, Y3
	VMOVUPS (DI)(R9*2), Y12
	VSUBPS  Y4, Y12, Y4
	VMOVUPS 32(DI)(R9*2), Y13
	VSUBPS  Y5, Y13, Y5
	VMOVUPS (DI)(R13*1), Y14
	VSUBPS  Y6, Y14, Y6
	VMOVUPS 32(DI)(R13*1), Y15
	VSUBPS  Y7, Y15, Y7

write:
	VMOVUPS Y0, (DI)
	VMOVUPS Y1, 32(DI)
	VMOVUPS Y2, (DI)(R9*1)
	VMOVUPS Y3, 32(DI)(R9*1)
	VMOVUPS Y4, (DI)(R9*2)
	VMOVUPS Y5, 32(DI)(R9*2)
	VMOVUPS Y6, (DI)(R13*1)
	VMOVUPS Y7, 32(DI)(R13*1)
	ADDQ $64, DI
	ADDQ $64, DX
	DECQ R11
	JNZ  tile
	VZEROUPPER
	RET

// func packScaledAVX2(dst, acc, src *float32, chunks int, s, q float32)
TEXT ·packScaledAVX2(SB), NOSPLIT, $0-40
	MOVQ dst+0(FP), DI
	MOVQ acc+8(FP), DX
	MOVQ src+16(FP), SI
	MOVQ chunks+24(FP), CX
	VBROADCASTSS s+32(FP), Y0
	VBROADCASTSS q+36(FP), Y1

chunk:
	VMULPS  (SI), Y0, Y2
	VMOVUPS (DX), Y3
	VFMADD231PS Y2, Y1, Y3
	VMOVUPS Y2, (DI)
	VMOVUPS Y3, (DX)
	ADDQ $32, SI
	ADDQ $32, DX
	ADDQ $32, DI
	DECQ CX
	JNZ  chunk
	VZEROUPPER
	RET
