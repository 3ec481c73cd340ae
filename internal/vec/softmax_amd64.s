//go:build amd64 && !purego

#include "textflag.h"

// The constants of e^x = 2^n * e^r with n the whole number nearest x/ln 2 and a polynomial for e^r: those of Cephes' expf.
DATA expConst<>+0(SB)/4, $0xc2aeac50  // the least x, -87.33654
DATA expConst<>+4(SB)/4, $0x42b00000  // the largest, 88
DATA expConst<>+8(SB)/4, $0x3fb8aa3b  // 1/ln 2
DATA expConst<>+12(SB)/4, $0x3f318000 // ln 2, the upper bits
DATA expConst<>+16(SB)/4, $0xb95e8083 // and the rest
DATA expConst<>+20(SB)/4, $0x39506967
DATA expConst<>+24(SB)/4, $0x3ab743ce
DATA expConst<>+28(SB)/4, $0x3c088908
DATA expConst<>+32(SB)/4, $0x3d2aa9c1
DATA expConst<>+36(SB)/4, $0x3e2aaaaa
DATA expConst<>+40(SB)/4, $0x3f000000
DATA expConst<>+44(SB)/4, $0x3f800000
GLOBL expConst<>(SB), RODATA|NOPTR, $48

// SUM8 leaves in X0 the sum of Y0's lanes. It clobbers X1.
#define SUM8 \
	VEXTRACTF128 $1, Y0, X1 \
	VADDPS       X1, X0, X0 \
	VMOVHLPS     X0, X0, X1 \
	VADDPS       X1, X0, X0 \
	VMOVSHDUP    X0, X1     \
	VADDSS       X1, X0, X0

// func expShiftAVX2(dst, x *float32, chunks int, shift float32) float32
TEXT ·expShiftAVX2(SB), NOSPLIT, $0-36
	MOVQ         dst+0(FP), DI
	MOVQ         x+8(FP), SI
	MOVQ         chunks+16(FP), CX
	VBROADCASTSS shift+24(FP), Y15
	VBROADCASTSS expConst<>+0(SB), Y14
	VBROADCASTSS expConst<>+4(SB), Y13
	VBROADCASTSS expConst<>+8(SB), Y12
	VBROADCASTSS expConst<>+12(SB), Y11
	VBROADCASTSS expConst<>+16(SB), Y10
	VBROADCASTSS expConst<>+20(SB), Y9
	VBROADCASTSS expConst<>+36(SB), Y8
	VBROADCASTSS expConst<>+40(SB), Y7
	VBROADCASTSS expConst<>+44(SB), Y6
	VXORPS       Y0, Y0, Y0

chunk:
	VMOVUPS      (SI), Y1
	VSUBPS       Y15, Y1, Y1
	VCMPPS       $5, Y14, Y1, Y5     // not below the least; true of a NaN
	VMAXPS       Y1, Y14, Y1         // the second source, x, where it is a NaN
	VMINPS       Y1, Y13, Y1
	VMULPS       Y12, Y1, Y2
	VROUNDPS     $0, Y2, Y2          // n
	VFNMADD231PS Y11, Y2, Y1
	VFNMADD231PS Y10, Y2, Y1         // r
	VMOVAPS      Y9, Y3
	VBROADCASTSS expConst<>+24(SB), Y4
	VFMADD213PS  Y4, Y1, Y3
	VBROADCASTSS expConst<>+28(SB), Y4
	VFMADD213PS  Y4, Y1, Y3
	VBROADCASTSS expConst<>+32(SB), Y4
	VFMADD213PS  Y4, Y1, Y3
	VFMADD213PS  Y8, Y1, Y3
	VFMADD213PS  Y7, Y1, Y3
	VMULPS       Y1, Y1, Y4
	VFMADD213PS  Y1, Y4, Y3
	VADDPS       Y6, Y3, Y3
	VCVTPS2DQ    Y2, Y2
	VPSLLD       $23, Y2, Y2
	VPADDD       Y6, Y2, Y2          // 2^n: n added to the exponent of 1
	VMULPS       Y2, Y3, Y3
	VANDPS       Y5, Y3, Y3
	VMOVUPS      Y3, (DI)
	VADDPS       Y3, Y0, Y0
	ADDQ         $32, SI
	ADDQ         $32, DI
	DECQ         CX
	JNZ          chunk
	SUM8
	VMOVSS       X0, ret+32(FP)
	VZEROUPPER
	RET

// func largestAVX2(x *float32, chunks int) float32
TEXT ·largestAVX2(SB), NOSPLIT, $0-20
	MOVQ    x+0(FP), SI
	MOVQ    chunks+8(FP), CX
	VMOVUPS (SI), Y0

chunk:
	VMAXPS (SI), Y0, Y0
	ADDQ   $32, SI
	DECQ   CX
	JNZ    chunk
	VEXTRACTF128 $1, Y0, X1
	VMAXPS       X1, X0, X0
	VMOVHLPS     X0, X0, X1
	VMAXPS       X1, X0, X0
	VMOVSHDUP    X0, X1
	VMAXSS       X1, X0, X0
	VMOVSS       X0, ret+16(FP)
	VZEROUPPER
	RET

// func adamAVX2(w, grad, m, v *float32, chunks int, s *AdamStep)
TEXT ·adamAVX2(SB), NOSPLIT, $0-48
	MOVQ         w+0(FP), DI
	MOVQ         grad+8(FP), SI
	MOVQ         m+16(FP), R8
	MOVQ         v+24(FP), R9
	MOVQ         chunks+32(FP), CX
	MOVQ         s+40(FP), DX
	VBROADCASTSS (DX), Y8
	VBROADCASTSS 4(DX), Y9
	VBROADCASTSS 8(DX), Y10
	VBROADCASTSS 12(DX), Y11
	VBROADCASTSS 16(DX), Y12
	VBROADCASTSS 20(DX), Y13
	VBROADCASTSS 24(DX), Y14
	VXORPS       Y15, Y15, Y15
	XORQ         AX, AX

chunk:
	VMOVUPS      (SI)(AX*1), Y0
	VMOVUPS      (DI)(AX*1), Y1
	VFMADD231PS  Y14, Y1, Y0         // the gradient
	VMULPS       (R8)(AX*1), Y8, Y2
	VFMADD231PS  Y9, Y0, Y2          // m
	VMULPS       Y0, Y0, Y3
	VMULPS       Y11, Y3, Y3
	VMULPS       (R9)(AX*1), Y10, Y4
	VADDPS       Y4, Y3, Y3          // v
	VSQRTPS      Y3, Y4
	VADDPS       Y13, Y4, Y4
	VDIVPS       Y4, Y2, Y5
	VFNMADD231PS Y12, Y5, Y1
	VMOVUPS      Y2, (R8)(AX*1)
	VMOVUPS      Y3, (R9)(AX*1)
	VMOVUPS      Y1, (DI)(AX*1)
	VMOVUPS      Y15, (SI)(AX*1)
	ADDQ         $32, AX
	DECQ         CX
	JNZ          chunk
	VZEROUPPER
	RET
