    .text
    .globl raise_it
raise_it:
    lea 200(%rdi), %rax
    test %rdi, %rdi
    ret
    .section .note.GNU-stack,"",@progbits
