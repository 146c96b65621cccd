#include "textflag.h"

// func runVectors(b []byte, i int) int
//
// Two vectors of 32 bytes at a time. As signed bytes, control characters and those above 0x7F are what is less than a space.
TEXT ·runVectors(SB), NOSPLIT, $0-40
	MOVQ b_base+0(FP), SI
	MOVQ b_len+8(FP), DX
	MOVQ i+24(FP), AX
	SUBQ $64, DX // the last offset at which there are two
	MOVL $0x22222222, CX
	VMOVD CX, X1
	VPBROADCASTD X1, Y1 // quotes
	MOVL $0x5c5c5c5c, CX
	VMOVD CX, X2
	VPBROADCASTD X2, Y2 // backslashes
	MOVL $0x20202020, CX
	VMOVD CX, X3
	VPBROADCASTD X3, Y3 // spaces

next:
	CMPQ AX, DX
	JGT  done
	VMOVDQU (SI)(AX*1), Y4
	VMOVDQU 32(SI)(AX*1), Y5
	VPCMPEQB Y1, Y4, Y6
	VPCMPEQB Y2, Y4, Y7
	VPCMPGTB Y4, Y3, Y8
	VPCMPEQB Y1, Y5, Y9
	VPCMPEQB Y2, Y5, Y10
	VPCMPGTB Y5, Y3, Y11
	VPOR Y6, Y7, Y6
	VPOR Y9, Y10, Y9
	VPOR Y6, Y8, Y6
	VPOR Y9, Y11, Y9
	VPOR Y6, Y9, Y12
	VPTEST Y12, Y12
	JNZ  found
	ADDQ $64, AX
	JMP  next

found:
	VPMOVMSKB Y6, CX
	VPMOVMSKB Y9, DX
	SHLQ $32, DX
	ORQ  DX, CX
	BSFQ CX, CX
	ADDQ CX, AX

done:
	VZEROUPPER
	MOVQ AX, ret+32(FP)
	RET
