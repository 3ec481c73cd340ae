//go:build amd64 && !purego

#include "textflag.h"

DATA one<>+0(SB)/4, $0x3f800000
GLOBL one<>(SB), RODATA|NOPTR, $4

// func gatherCopyAVX2(x, m *float32, rows, cols int, ids *uint32, n int, dst, packed *float32) (left int)
// Four rows at a time; those sixteen ids further on are asked for, 512 bytes of each at most. A prefetch of an id out of range is
// harmless; the id is compared before it is used. cols is a multiple of 8.
TEXT ·gatherCopyAVX2(SB), NOSPLIT, $0-72
	MOVQ x+0(FP), AX
	MOVQ m+8(FP), BX
	MOVQ cols+24(FP), R13
	MOVQ ids+32(FP), SI
	MOVQ n+40(FP), CX
	MOVQ dst+48(FP), DI
	MOVQ packed+56(FP), R15
	SHLQ $2, R13

group:
	CMPQ  CX, $20
	JLT   near
	MOVL  64(SI), R8
	MOVL  68(SI), R9
	MOVL  72(SI), R10
	MOVL  76(SI), R11
	IMULQ R13, R8
	IMULQ R13, R9
	IMULQ R13, R10
	IMULQ R13, R11
	ADDQ  BX, R8
	ADDQ  BX, R9
	ADDQ  BX, R10
	ADDQ  BX, R11
	XORQ  DX, DX

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

near:
	CMPQ CX, $4
	JLT  single

four:
	MOVL  (SI), R8
	MOVL  4(SI), R9
	MOVL  8(SI), R10
	MOVL  12(SI), R11
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

	// R12 is the second copy's address, R14 the fourth's; the third's is R12+R13.
	LEAQ   (R15)(R13*1), R12
	LEAQ   (R12)(R13*2), R14
	VXORPS Y0, Y0, Y0
	VXORPS Y1, Y1, Y1
	VXORPS Y2, Y2, Y2
	VXORPS Y3, Y3, Y3
	XORQ   DX, DX

chunk:
	VMOVUPS     (AX)(DX*1), Y8
	VMOVUPS     (R8)(DX*1), Y4
	VMOVUPS     (R9)(DX*1), Y5
	VMOVUPS     (R10)(DX*1), Y6
	VMOVUPS     (R11)(DX*1), Y7
	VMOVUPS     Y4, (R15)(DX*1)
	VMOVUPS     Y5, (R12)(DX*1)
	VMOVUPS     Y7, (R14)(DX*1)
	VFMADD231PS Y4, Y8, Y0
	VFMADD231PS Y5, Y8, Y1
	VFMADD231PS Y6, Y8, Y2
	VFMADD231PS Y7, Y8, Y3
	ADDQ        R13, R12
	VMOVUPS     Y6, (R12)(DX*1)
	SUBQ        R13, R12
	ADDQ        $32, DX
	CMPQ        DX, R13
	JLT         chunk

	VHADDPS      Y1, Y0, Y0
	VHADDPS      Y3, Y2, Y2
	VHADDPS      Y2, Y0, Y0
	VEXTRACTF128 $1, Y0, X1
	VADDPS       X1, X0, X0
	VMOVUPS      X0, (DI)
	LEAQ         (R15)(R13*4), R15
	ADDQ         $16, SI
	ADDQ         $16, DI
	SUBQ         $4, CX
	JNZ          group
	JMP          done

single:
	TESTQ  CX, CX
	JZ     done
	MOVL   (SI), R8
	CMPQ   R8, rows+16(FP)
	JCC    bad
	IMULQ  R13, R8
	ADDQ   BX, R8
	VXORPS Y0, Y0, Y0
	XORQ   DX, DX

singlechunk:
	VMOVUPS     (R8)(DX*1), Y4
	VMOVUPS     Y4, (R15)(DX*1)
	VFMADD231PS (AX)(DX*1), Y4, Y0
	ADDQ        $32, DX
	CMPQ        DX, R13
	JLT         singlechunk

	VEXTRACTF128 $1, Y0, X1
	VADDPS       X1, X0, X0
	VHADDPS      X0, X0, X0
	VHADDPS      X0, X0, X0
	VMOVSS       X0, (DI)
	ADDQ         R13, R15
	ADDQ         $4, SI
	ADDQ         $4, DI
	DECQ         CX
	JMP          single

done:
	XORQ CX, CX

bad:
	VZEROUPPER
	MOVQ CX, left+64(FP)
	RET

// func diagonalAVX2(diag, inverse, values *float32, chunks int, scale, shift, mean, least float32)
TEXT ·diagonalAVX2(SB), NOSPLIT, $0-48
	MOVQ         diag+0(FP), DI
	MOVQ         inverse+8(FP), R8
	MOVQ         values+16(FP), SI
	MOVQ         chunks+24(FP), CX
	VBROADCASTSS scale+32(FP), Y0
	VBROADCASTSS shift+36(FP), Y1
	VBROADCASTSS mean+40(FP), Y2
	VBROADCASTSS least+44(FP), Y3
	VBROADCASTSS one<>(SB), Y4
	XORQ         AX, AX

next:
	VMOVUPS     (SI)(AX*1), Y5
	VMOVAPS     Y1, Y6
	VFMADD231PS Y5, Y0, Y6
	VMOVUPS     Y6, (DI)(AX*1)
	VFMADD231PS Y5, Y2, Y6
	VDIVPS      Y6, Y4, Y7
	VCMPPS      $29, Y3, Y6, Y6
	VANDPS      Y6, Y7, Y7
	VMOVUPS     Y7, (R8)(AX*1)
	ADDQ        $32, AX
	DECQ        CX
	JNZ         next
	VZEROUPPER
	RET

// func advanceAVX2(alpha float32, x, r, z, p, ap, inverse *float32, chunks int) float32
TEXT ·advanceAVX2(SB), NOSPLIT, $0-68
	VBROADCASTSS alpha+0(FP), Y0
	MOVQ         x+8(FP), DI
	MOVQ         r+16(FP), R8
	MOVQ         z+24(FP), R9
	MOVQ         p+32(FP), R10
	MOVQ         ap+40(FP), R11
	MOVQ         inverse+48(FP), R12
	MOVQ         chunks+56(FP), CX
	VXORPS       Y1, Y1, Y1
	XORQ         AX, AX

next:
	VMOVUPS      (DI)(AX*1), Y2
	VFMADD231PS  (R10)(AX*1), Y0, Y2
	VMOVUPS      Y2, (DI)(AX*1)
	VMOVUPS      (R8)(AX*1), Y3
	VFNMADD231PS (R11)(AX*1), Y0, Y3
	VMOVUPS      Y3, (R8)(AX*1)
	VMULPS       (R12)(AX*1), Y3, Y4
	VMOVUPS      Y4, (R9)(AX*1)
	VFMADD231PS  Y4, Y3, Y1
	ADDQ         $32, AX
	DECQ         CX
	JNZ          next
	VEXTRACTF128 $1, Y1, X2
	VADDPS       X2, X1, X1
	VHADDPS      X1, X1, X1
	VHADDPS      X1, X1, X1
	VZEROUPPER
	MOVSS        X1, ret+64(FP)
	RET

// func directAVX2(beta float32, p, ap, z, diag *float32, chunks int)
TEXT ·directAVX2(SB), NOSPLIT, $0-48
	VBROADCASTSS beta+0(FP), Y0
	MOVQ         p+8(FP), DI
	MOVQ         ap+16(FP), R8
	MOVQ         z+24(FP), R9
	MOVQ         diag+32(FP), R10
	MOVQ         chunks+40(FP), CX
	XORQ         AX, AX

next:
	VMOVUPS     (R9)(AX*1), Y1
	VFMADD231PS (DI)(AX*1), Y0, Y1
	VMOVUPS     Y1, (DI)(AX*1)
	VMULPS      (R10)(AX*1), Y1, Y2
	VMOVUPS     Y2, (R8)(AX*1)
	ADDQ        $32, AX
	DECQ        CX
	JNZ         next
	VZEROUPPER
	RET
