//go:build amd64 && !purego

#include "textflag.h"

// TEST drops from the leaves that are left to sixteen examples, in Y2 and Y3, those that the test at off(BX) rules out.
#define TEST(off) \
	MOVL         off(BX), R8               \
	VBROADCASTSS off+4(BX), Y4             \
	VPBROADCASTD off+8(BX), Y5             \
	VCMPPS       $0x11, (SI)(R8*1), Y4, Y6 \
	VCMPPS       $0x11, 32(SI)(R8*1), Y4, Y7 \
	VPAND        Y5, Y6, Y6                \
	VPAND        Y5, Y7, Y7                \
	VPANDN       Y2, Y6, Y2                \
	VPANDN       Y3, Y7, Y3

// LEAF adds to sum the value of the first leaf left. Its bit alone, as a float, has 127 + its number as exponent, and VPERMPS goes by the last
// three bits of that: by 7 + the number, for which the values stand rotated.
#define LEAF(left, sum) \
	VPSUBD    left, Y14, Y6 \
	VPAND     left, Y6, Y6  \
	VCVTDQ2PS Y6, Y6        \
	VPSRLD    $23, Y6, Y6   \
	VPERMPS   Y8, Y6, Y6    \
	VADDPS    Y6, sum, sum

// func sumTreesAVX2(sums *[TreeBlock]float32, columns *float32, tests *TreeTest, leaves *float32, trees int)
TEXT ·sumTreesAVX2(SB), NOSPLIT, $0-40
	MOVQ     sums+0(FP), DI
	MOVQ     columns+8(FP), SI
	MOVQ     tests+16(FP), BX
	MOVQ     leaves+24(FP), DX
	MOVQ     trees+32(FP), CX
	VXORPS   Y0, Y0, Y0
	VXORPS   Y1, Y1, Y1
	VPXOR    Y14, Y14, Y14
	VPCMPEQD Y15, Y15, Y15

tree:
	VMOVDQA Y15, Y2
	VMOVDQA Y15, Y3
	TEST(0)
	TEST(12)
	TEST(24)
	TEST(36)
	TEST(48)
	TEST(60)
	TEST(72)
	VMOVUPS (DX), Y8
	LEAF(Y2, Y0)
	LEAF(Y3, Y1)
	ADDQ    $84, BX
	ADDQ    $32, DX
	DECQ    CX
	JNZ     tree

	VMOVUPS Y0, (DI)
	VMOVUPS Y1, 32(DI)
	VZEROUPPER
	RET
