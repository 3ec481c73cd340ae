//go:build !purego

#include "textflag.h"

// tailMask + 32 - 4*r is a mask of r lanes out of 8, r in [0, 8].
DATA tailMask<>+0(SB)/8, $0xffffffffffffffff
DATA tailMask<>+8(SB)/8, $0xffffffffffffffff
DATA tailMask<>+16(SB)/8, $0xffffffffffffffff
DATA tailMask<>+24(SB)/8, $0xffffffffffffffff
DATA tailMask<>+32(SB)/8, $0
DATA tailMask<>+40(SB)/8, $0
DATA tailMask<>+48(SB)/8, $0
DATA tailMask<>+56(SB)/8, $0
GLOBL tailMask<>(SB), RODATA|NOPTR, $64

// TAIL_MASK loads into Y13 the mask of the cols mod 8 last lanes. It clobbers R8 and R9.
#define TAIL_MASK(cols) \
	MOVQ         cols, R8            \
	ANDQ         $7, R8              \
	SHLQ         $2, R8              \
	LEAQ         tailMask<>+32(SB), R9 \
	SUBQ         R8, R9              \
	VMOVDQU      (R9), Y13

// One step over eight columns of the four rows at R8..R11, at byte DX+off; q holds the vector's eight.
#define STEP_DOT(off, q, a0, a1, a2, a3) \
	VFMADD231PS off(R8)(DX*1), q, a0  \
	VFMADD231PS off(R9)(DX*1), q, a1  \
	VFMADD231PS off(R10)(DX*1), q, a2 \
	VFMADD231PS off(R11)(DX*1), q, a3

#define STEP_L2(off, q, a0, a1, a2, a3) \
	VSUBPS       off(R8)(DX*1), q, Y10  \
	VSUBPS       off(R9)(DX*1), q, Y11  \
	VFNMADD231PS Y10, Y10, a0           \
	VFNMADD231PS Y11, Y11, a1           \
	VSUBPS       off(R10)(DX*1), q, Y12 \
	VSUBPS       off(R11)(DX*1), q, Y14 \
	VFNMADD231PS Y12, Y12, a2           \
	VFNMADD231PS Y14, Y14, a3

// The same over the last cols mod 8 columns of one row; the vector's are in Y8, the mask in Y13. Both sides are
// masked, so that what lies beyond a row, be it NaN, is neither read nor multiplied.
#define TAIL_DOT(row, acc) \
	VMASKMOVPS  (row)(DX*1), Y13, Y10 \
	VFMADD231PS Y10, Y8, acc

#define TAIL_L2(row, acc) \
	VMASKMOVPS   (row)(DX*1), Y13, Y10 \
	VSUBPS       Y10, Y8, Y10          \
	VFNMADD231PS Y10, Y10, acc

// FOUR_ROWS leaves in X0 the four results of the vector at AX with the rows at R8..R11. R13 is the row's length in
// bytes, R12 the part of it that is whole steps of 64.
#define FOUR_ROWS(STEP, TAIL) \
	VXORPS      Y0, Y0, Y0            \
	VXORPS      Y1, Y1, Y1            \
	VXORPS      Y2, Y2, Y2            \
	VXORPS      Y3, Y3, Y3            \
	VXORPS      Y4, Y4, Y4            \
	VXORPS      Y5, Y5, Y5            \
	VXORPS      Y6, Y6, Y6            \
	VXORPS      Y7, Y7, Y7            \
	XORQ        DX, DX                \
	TESTQ       R12, R12              \
	JZ          eight                 \
wide:                                 \
	VMOVUPS     (AX)(DX*1), Y8        \
	VMOVUPS     32(AX)(DX*1), Y9      \
	STEP(0, Y8, Y0, Y1, Y2, Y3)       \
	STEP(32, Y9, Y4, Y5, Y6, Y7)      \
	ADDQ        $64, DX               \
	CMPQ        DX, R12               \
	JLT         wide                  \
eight:                                \
	TESTQ       $32, R13              \
	JZ          last                  \
	VMOVUPS     (AX)(DX*1), Y8        \
	STEP(0, Y8, Y0, Y1, Y2, Y3)       \
	ADDQ        $32, DX               \
last:                                 \
	TESTQ       $28, R13              \
	JZ          reduce                \
	VMASKMOVPS  (AX)(DX*1), Y13, Y8   \
	TAIL(R8, Y0)                      \
	TAIL(R9, Y1)                      \
	TAIL(R10, Y2)                     \
	TAIL(R11, Y3)                     \
reduce:                               \
	VADDPS      Y4, Y0, Y0            \
	VADDPS      Y5, Y1, Y1            \
	VADDPS      Y6, Y2, Y2            \
	VADDPS      Y7, Y3, Y3            \
	VHADDPS     Y1, Y0, Y0            \
	VHADDPS     Y3, Y2, Y2            \
	VHADDPS     Y2, Y0, Y0            \
	VEXTRACTF128 $1, Y0, X1           \
	VADDPS      X1, X0, X0

// STORE_PART stores the first CX, of 1 to 3, lanes of X0 at DI.
#define STORE_PART \
	CMPQ       CX, $2         \
	JGE        two            \
	VMOVSS     X0, (DI)       \
	JMP        done           \
two:                          \
	VMOVQ      X0, (DI)       \
	JEQ        done           \
	VEXTRACTPS $2, X0, 8(DI)

// SCAN is the body of a function (x, m *float32, cols, rows int, dst *float32).
#define SCAN(STEP, TAIL) \
	MOVQ cols+16(FP), R13             \
	TAIL_MASK(R13)                    \
	MOVQ x+0(FP), AX                  \
	MOVQ m+8(FP), BX                  \
	MOVQ rows+24(FP), CX              \
	MOVQ dst+32(FP), DI               \
	SHLQ $2, R13                      \
	MOVQ R13, R12                     \
	ANDQ $-64, R12                    \
group:                                \
	MOVQ BX, R8                       \
	CMPQ CX, $4                       \
	JLT  part                         \
	LEAQ (R8)(R13*1), R9              \
	LEAQ (R9)(R13*1), R10             \
	LEAQ (R10)(R13*1), R11            \
	LEAQ (R11)(R13*1), BX             \
	JMP  rows4                        \
part:                                 \
	MOVQ R8, R9                       \
	MOVQ R8, R10                      \
	MOVQ R8, R11                      \
	CMPQ CX, $2                       \
	JLT  rows4                        \
	ADDQ R13, R9                      \
	CMPQ CX, $2                       \
	JEQ  rows4                        \
	LEAQ (R9)(R13*1), R10             \
rows4:                                \
	FOUR_ROWS(STEP, TAIL)             \
	CMPQ CX, $4                       \
	JLT  storepart                    \
	VMOVUPS X0, (DI)                  \
	ADDQ $16, DI                      \
	SUBQ $4, CX                       \
	JNZ  group                        \
	JMP  done                         \
storepart:                            \
	STORE_PART                        \
done:                                 \
	VZEROUPPER                        \
	RET

#define STEP_DOT_1(off, q, acc) \
	VFMADD231PS off(BX)(DX*1), q, acc

#define STEP_L2_1(off, q, acc) \
	VSUBPS       off(BX)(DX*1), q, Y10 \
	VFNMADD231PS Y10, Y10, acc

// SCAN_FAR is SCAN a row at a time, with sums in the same order: what lies in memory is read as one stream, which the processor foresees, and
// not as four.
#define SCAN_FAR(STEP, TAIL) \
	MOVQ cols+16(FP), R13             \
	TAIL_MASK(R13)                    \
	MOVQ x+0(FP), AX                  \
	MOVQ m+8(FP), BX                  \
	MOVQ rows+24(FP), CX              \
	MOVQ dst+32(FP), DI               \
	SHLQ $2, R13                      \
	MOVQ R13, R12                     \
	ANDQ $-64, R12                    \
row:                                  \
	VXORPS Y0, Y0, Y0                 \
	VXORPS Y4, Y4, Y4                 \
	XORQ   DX, DX                     \
	TESTQ  R12, R12                   \
	JZ     eight                      \
wide:                                 \
	VMOVUPS (AX)(DX*1), Y8            \
	VMOVUPS 32(AX)(DX*1), Y9          \
	STEP(0, Y8, Y0)                   \
	STEP(32, Y9, Y4)                  \
	ADDQ $64, DX                      \
	CMPQ DX, R12                      \
	JLT  wide                         \
eight:                                \
	TESTQ $32, R13                    \
	JZ    last                        \
	VMOVUPS (AX)(DX*1), Y8            \
	STEP(0, Y8, Y0)                   \
	ADDQ  $32, DX                     \
last:                                 \
	TESTQ $28, R13                    \
	JZ    reduce                      \
	VMASKMOVPS (AX)(DX*1), Y13, Y8    \
	TAIL(BX, Y0)                      \
reduce:                               \
	VADDPS       Y4, Y0, Y0           \
	VHADDPS      Y0, Y0, Y0           \
	VHADDPS      Y0, Y0, Y0           \
	VEXTRACTF128 $1, Y0, X1           \
	VADDSS       X1, X0, X0           \
	VMOVSS       X0, (DI)             \
	ADDQ $4, DI                       \
	ADDQ R13, BX                      \
	DECQ CX                           \
	JNZ  row                          \
	VZEROUPPER                        \
	RET

// GATHER is the body of a function (x, m *float32, rows, cols int, ids *uint32, n int, dst *float32) (left int).
// While four rows are worked on, the next four are asked for, 512 bytes of each at most: the hardware fetches the rest of
// a long row by itself. A prefetch of an id out of range is harmless; the id is compared before it is used.
#define GATHER(STEP, TAIL) \
	MOVQ cols+24(FP), R13             \
	TAIL_MASK(R13)                    \
	MOVQ x+0(FP), AX                  \
	MOVQ m+8(FP), BX                  \
	MOVQ ids+32(FP), SI               \
	MOVQ n+40(FP), CX                 \
	MOVQ dst+48(FP), DI               \
	SHLQ $2, R13                      \
	MOVQ R13, R12                     \
	ANDQ $-64, R12                    \
group:                                \
	CMPQ CX, $8                       \
	JLT  few                          \
	MOVL 16(SI), R8                   \
	MOVL 20(SI), R9                   \
	MOVL 24(SI), R10                  \
	MOVL 28(SI), R11                  \
	IMULQ R13, R8                     \
	IMULQ R13, R9                     \
	IMULQ R13, R10                    \
	IMULQ R13, R11                    \
	ADDQ BX, R8                       \
	ADDQ BX, R9                       \
	ADDQ BX, R10                      \
	ADDQ BX, R11                      \
	XORQ DX, DX                       \
fetch:                                \
	PREFETCHT0 (R8)(DX*1)             \
	PREFETCHT0 (R9)(DX*1)             \
	PREFETCHT0 (R10)(DX*1)            \
	PREFETCHT0 (R11)(DX*1)            \
	ADDQ $64, DX                      \
	CMPQ DX, $512                     \
	JGE  four                         \
	CMPQ DX, R13                      \
	JLT  fetch                        \
	JMP  four                         \
few:                                  \
	CMPQ CX, $4                       \
	JLT  part                         \
four:                                 \
	MOVL (SI), R8                     \
	MOVL 4(SI), R9                    \
	MOVL 8(SI), R10                   \
	MOVL 12(SI), R11                  \
	JMP  check                        \
part:                                 \
	TESTQ CX, CX                      \
	JZ   done                         \
	MOVL (SI), R8                     \
	MOVQ R8, R9                       \
	MOVQ R8, R10                      \
	MOVQ R8, R11                      \
	CMPQ CX, $2                       \
	JLT  check                        \
	MOVL 4(SI), R9                    \
	CMPQ CX, $2                       \
	JEQ  check                        \
	MOVL 8(SI), R10                   \
check:                                \
	CMPQ R8, rows+16(FP)              \
	JCC  bad                          \
	CMPQ R9, rows+16(FP)              \
	JCC  bad                          \
	CMPQ R10, rows+16(FP)             \
	JCC  bad                          \
	CMPQ R11, rows+16(FP)             \
	JCC  bad                          \
	IMULQ R13, R8                     \
	IMULQ R13, R9                     \
	IMULQ R13, R10                    \
	IMULQ R13, R11                    \
	ADDQ BX, R8                       \
	ADDQ BX, R9                       \
	ADDQ BX, R10                      \
	ADDQ BX, R11                      \
	FOUR_ROWS(STEP, TAIL)             \
	CMPQ CX, $4                       \
	JLT  storepart                    \
	VMOVUPS X0, (DI)                  \
	ADDQ $16, SI                      \
	ADDQ $16, DI                      \
	SUBQ $4, CX                       \
	JNZ  group                        \
	JMP  done                         \
storepart:                            \
	STORE_PART                        \
done:                                 \
	XORQ CX, CX                       \
bad:                                  \
	VZEROUPPER                        \
	MOVQ CX, left+56(FP)              \
	RET

// ABOVE writes to DI the positions of the lanes of the CX scores, a multiple of 8, at SI that COMPARE finds above Y0, and
// leaves their number in BX. COMPARE is given the scores in Y1 and leaves the mask there.
#define ABOVE(COMPARE) \
	XORQ      AX, AX           \
	XORQ      BX, BX           \
next:                          \
	VMOVUPS   (SI)(AX*4), Y1   \
	COMPARE                    \
	VMOVMSKPS Y1, R8           \
	TESTL     R8, R8           \
	JZ        none             \
lane:                          \
	BSFL      R8, R10          \
	ADDL      AX, R10          \
	MOVL      R10, (DI)(BX*4)  \
	INCQ      BX               \
	LEAL      -1(R8), R10      \
	ANDL      R10, R8          \
	JNZ       lane             \
none:                          \
	ADDQ      $8, AX           \
	CMPQ      AX, CX           \
	JLT       next             \
	VZEROUPPER

#define COMPARE_FLOAT VCMPPS $30, Y0, Y1, Y1
#define COMPARE_INT   VPCMPGTD Y0, Y1, Y1

// func gemvAVX2(x, m *float32, cols, rows int, dst *float32)
TEXT ·gemvAVX2(SB), NOSPLIT, $0-40
	SCAN(STEP_DOT, TAIL_DOT)

// func gemvFarAVX2(x, m *float32, cols, rows int, dst *float32)
TEXT ·gemvFarAVX2(SB), NOSPLIT, $0-40
	SCAN_FAR(STEP_DOT_1, TAIL_DOT)

// func negL2RowsAVX2(x, m *float32, cols, rows int, dst *float32)
TEXT ·negL2RowsAVX2(SB), NOSPLIT, $0-40
	SCAN(STEP_L2, TAIL_L2)

// func negL2RowsFarAVX2(x, m *float32, cols, rows int, dst *float32)
TEXT ·negL2RowsFarAVX2(SB), NOSPLIT, $0-40
	SCAN_FAR(STEP_L2_1, TAIL_L2)

// func gatherDotAVX2(x, m *float32, rows, cols int, ids *uint32, n int, dst *float32) (left int)
TEXT ·gatherDotAVX2(SB), NOSPLIT, $0-64
	GATHER(STEP_DOT, TAIL_DOT)

// func gatherNegL2AVX2(x, m *float32, rows, cols int, ids *uint32, n int, dst *float32) (left int)
TEXT ·gatherNegL2AVX2(SB), NOSPLIT, $0-64
	GATHER(STEP_L2, TAIL_L2)

// func dotAVX2(a, b *float32, n int) float32
TEXT ·dotAVX2(SB), NOSPLIT, $0-28
	MOVQ a+0(FP), SI
	MOVQ b+8(FP), DI
	MOVQ n+16(FP), CX
	VXORPS Y0, Y0, Y0
	VXORPS Y1, Y1, Y1
	VXORPS Y2, Y2, Y2
	VXORPS Y3, Y3, Y3
	SUBQ   $32, CX
	JLT    narrow

wide:
	VMOVUPS     (SI), Y4
	VMOVUPS     32(SI), Y5
	VMOVUPS     64(SI), Y6
	VMOVUPS     96(SI), Y7
	VFMADD231PS (DI), Y4, Y0
	VFMADD231PS 32(DI), Y5, Y1
	VFMADD231PS 64(DI), Y6, Y2
	VFMADD231PS 96(DI), Y7, Y3
	ADDQ        $128, SI
	ADDQ        $128, DI
	SUBQ        $32, CX
	JGE         wide

narrow:
	ADDQ $32, CX
	JZ   reduce

eight:
	CMPQ        CX, $8
	JLT         last
	VMOVUPS     (SI), Y4
	VFMADD231PS (DI), Y4, Y0
	ADDQ        $32, SI
	ADDQ        $32, DI
	SUBQ        $8, CX
	JNZ         eight
	JMP         reduce

last:
	TAIL_MASK(CX)
	VMASKMOVPS  (SI), Y13, Y4
	VMASKMOVPS  (DI), Y13, Y5
	VFMADD231PS Y5, Y4, Y1

reduce:
	VADDPS       Y1, Y0, Y0
	VADDPS       Y3, Y2, Y2
	VADDPS       Y2, Y0, Y0
	VEXTRACTF128 $1, Y0, X1
	VADDPS       X1, X0, X0
	VHADDPS      X0, X0, X0
	VHADDPS      X0, X0, X0
	VZEROUPPER
	MOVSS        X0, ret+24(FP)
	RET

// func axpyAVX2(alpha float32, x, y *float32, n int)
TEXT ·axpyAVX2(SB), NOSPLIT, $0-32
	VBROADCASTSS alpha+0(FP), Y0
	MOVQ         x+8(FP), SI
	MOVQ         y+16(FP), DI
	MOVQ         n+24(FP), CX
	SUBQ         $32, CX
	JLT          narrow

wide:
	VMOVUPS     (DI), Y4
	VMOVUPS     32(DI), Y5
	VMOVUPS     64(DI), Y6
	VMOVUPS     96(DI), Y7
	VFMADD231PS (SI), Y0, Y4
	VFMADD231PS 32(SI), Y0, Y5
	VFMADD231PS 64(SI), Y0, Y6
	VFMADD231PS 96(SI), Y0, Y7
	VMOVUPS     Y4, (DI)
	VMOVUPS     Y5, 32(DI)
	VMOVUPS     Y6, 64(DI)
	VMOVUPS     Y7, 96(DI)
	ADDQ        $128, SI
	ADDQ        $128, DI
	SUBQ        $32, CX
	JGE         wide

narrow:
	ADDQ $32, CX
	JZ   done

eight:
	CMPQ        CX, $8
	JLT         last
	VMOVUPS     (DI), Y4
	VFMADD231PS (SI), Y0, Y4
	VMOVUPS     Y4, (DI)
	ADDQ        $32, SI
	ADDQ        $32, DI
	SUBQ        $8, CX
	JNZ         eight
	JMP         done

last:
	TAIL_MASK(CX)
	VMASKMOVPS  (SI), Y13, Y5
	VMASKMOVPS  (DI), Y13, Y4
	VFMADD231PS Y5, Y0, Y4
	VMASKMOVPS  Y4, Y13, (DI)

done:
	VZEROUPPER
	RET

// func aboveAVX2(scores *float32, n int, threshold float32, dst *uint32) int
TEXT ·aboveAVX2(SB), NOSPLIT, $0-40
	MOVQ         scores+0(FP), SI
	MOVQ         n+8(FP), CX
	VBROADCASTSS threshold+16(FP), Y0
	MOVQ         dst+24(FP), DI
	ABOVE(COMPARE_FLOAT)
	MOVQ         BX, ret+32(FP)
	RET

// func aboveInt32AVX2(scores *int32, n int, threshold int32, dst *uint32) int
TEXT ·aboveInt32AVX2(SB), NOSPLIT, $0-40
	MOVQ         scores+0(FP), SI
	MOVQ         n+8(FP), CX
	MOVL         threshold+16(FP), AX
	VMOVD        AX, X0
	VPBROADCASTD X0, Y0
	MOVQ         dst+24(FP), DI
	ABOVE(COMPARE_INT)
	MOVQ         BX, ret+32(FP)
	RET

// func Prefetch(p *uint32)
TEXT ·Prefetch(SB), NOSPLIT, $0-8
	MOVQ       p+0(FP), AX
	PREFETCHT0 (AX)
	PREFETCHT0 64(AX)
	RET
