# A guest in 32-bit code that accepts every connection and sends back what it gets.
# Identity addresses; the rings and buffers lie at fixed places above the code.
.set MMIO, 0xd0000000
.set RX_DESC, 0x300000
.set RX_AVAIL, 0x301000
.set RX_USED, 0x302000
.set TX_DESC, 0x304000
.set TX_AVAIL, 0x305000
.set TX_USED, 0x306000
.set RX_BUFFERS, 0x310000      # 16 of 4096 bytes
.set TX_BUFFER, 0x330000

    mov esp, 0x2f0000
    mov ebp, MMIO
    mov dword ptr [ebp+0x70], 0
    mov dword ptr [ebp+0x70], 3
    mov dword ptr [ebp+0x24], 1
    mov dword ptr [ebp+0x20], 1        # VERSION_1
    mov dword ptr [ebp+0x70], 11

    mov dword ptr [ebp+0x30], 0
    mov dword ptr [ebp+0x38], 16
    mov dword ptr [ebp+0x80], RX_DESC
    mov dword ptr [ebp+0x90], RX_AVAIL
    mov dword ptr [ebp+0xa0], RX_USED
    mov dword ptr [ebp+0x44], 1

    mov dword ptr [ebp+0x30], 1
    mov dword ptr [ebp+0x38], 16
    mov dword ptr [ebp+0x80], TX_DESC
    mov dword ptr [ebp+0x90], TX_AVAIL
    mov dword ptr [ebp+0xa0], TX_USED
    mov dword ptr [ebp+0x44], 1

    # sixteen rx buffers, all available
    xor ecx, ecx
    mov edi, RX_DESC
    mov eax, RX_BUFFERS
2:
    mov [edi], eax
    mov dword ptr [edi+8], 4096
    mov dword ptr [edi+12], 2          # device writes
    mov [RX_AVAIL+4+ecx*2], cx
    add eax, 4096
    add edi, 16
    inc ecx
    cmp ecx, 16
    jne 2b
    mov word ptr [RX_AVAIL+2], 16
    mov dword ptr [TX_DESC], TX_BUFFER
    mov dword ptr [ebp+0x70], 15

    mov edx, 0x604
    mov eax, 4                         # Listening
    out dx, eax
    xor ebx, ebx                       # used entries seen
    xor esi, esi                       # bytes taken, for credit

    # poll
3:
    cmp [RX_USED+2], bx
    jne 4f
    mov edx, 0x600
    mov eax, -1
    out dx, eax
    jmp 3b
4:
    mov ecx, ebx
    and ecx, 15
    mov edi, [RX_USED+4+ecx*8]         # descriptor
    push edi
    shl edi, 12
    add edi, RX_BUFFERS
    movzx eax, word ptr [edi+30]
    cmp eax, 1
    je 5f
    cmp eax, 5
    je 6f
    cmp eax, 4
    je 7f
    jmp 9f
5:
    xor esi, esi
    xor ecx, ecx
    mov eax, 2                         # response
    jmp 8f
6:
    mov ecx, [edi+24]
    add esi, ecx
    mov eax, 5                         # data back
    jmp 8f
7:
    xor ecx, ecx
    mov eax, 3                         # reset

    # send: eax operation, ecx length, edi the packet answered
8:
    mov dword ptr [TX_BUFFER], 3
    mov dword ptr [TX_BUFFER+4], 0
    mov dword ptr [TX_BUFFER+8], 2
    mov dword ptr [TX_BUFFER+12], 0
    mov dword ptr [TX_BUFFER+16], 1024
    mov edx, [edi+16]
    mov [TX_BUFFER+20], edx
    mov [TX_BUFFER+24], ecx
    mov word ptr [TX_BUFFER+28], 1
    mov [TX_BUFFER+30], ax
    mov dword ptr [TX_BUFFER+32], 0
    mov dword ptr [TX_BUFFER+36], 0x10000
    mov [TX_BUFFER+40], esi
    mov edx, ecx
    add edx, 44
    mov [TX_DESC+8], edx
    push esi
    lea esi, [edi+44]
    mov edi, TX_BUFFER+44
    cld
    rep movsb
    pop esi
    inc word ptr [TX_AVAIL+2]
    mov dword ptr [ebp+0x50], 1

    # give the rx buffer back
9:
    pop edi
    movzx ecx, word ptr [RX_AVAIL+2]
    and ecx, 15
    mov [RX_AVAIL+4+ecx*2], di
    inc word ptr [RX_AVAIL+2]
    inc ebx
    jmp 3b
