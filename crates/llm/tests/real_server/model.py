"""Makes the model that the real server loads: python model.py FILE.

It is a transformer of the llama architecture in the GGUF format, small enough to be made in a
moment. Its attention and feed-forward weights are small random numbers, so that they are computed
with and hardly matter. Its embedding and output weights make it say words in a known order: the
last token of the prompt decides what comes next. So tests know what a real server has to answer.

  one   ->  two three four five, and its end          tick  ->  tock tick tock tick ... without end
  snow  ->  a snowman and a crab, byte by byte: no token is a whole letter
  else  ->  as after tick
"""

import random
import struct
import sys

EMBEDDING = 64
FEED_FORWARD = 128
HEADS = 4
LAYERS = 2
CONTEXT = 1 << 17

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, BYTE = 1, 2, 3, 4, 6
BYTES_FROM = 3
END = 2

COUNT = ["one", " two", " three", " four", " five"]
CLOCK = ["tick", " tock", " tick"]
SNOW = "snow"
PICTURES = "☃🦀".encode()

# What was said is the whole prompt: nothing is added, so that its last word is the last token.
TEMPLATE = (
    "{% for message in messages %}{{ message['content'] }}"
    "{% if not loop.last %}{{ '\\n' }}{% endif %}{% endfor %}"
)

tokens = [("<unk>", UNKNOWN), ("<s>", CONTROL), ("</s>", CONTROL)]
tokens += [(f"<0x{byte:02X}>", BYTE) for byte in range(256)]
tokens += [("▁", NORMAL)]  # How this kind of tokenizer writes a space.
tokens += [(word, USER_DEFINED) for word in [*COUNT, *CLOCK, SNOW]]
number = {text: index for index, (text, _) in enumerate(tokens)}


def successions():
    """Pairs of tokens: after the first comes the second."""
    pictures = [BYTES_FROM + byte for byte in dict.fromkeys(PICTURES)]
    if len(pictures) != len(PICTURES):
        sys.exit("a byte comes twice, and would not know what follows it")
    for chain in (
        [*(number[word] for word in COUNT), END],
        [*(number[word] for word in CLOCK), number[" tock"]],
        [number[SNOW], *pictures, END],
    ):
        yield from zip(chain, chain[1:])


def chain_weights():
    """Embedding and output: a token that has a successor has a dimension of its own."""
    noise = random.Random(1)
    embedding = [[noise.gauss(0, 0.01) for _ in range(EMBEDDING)] for _ in tokens]
    output = [[noise.gauss(0, 0.01) for _ in range(EMBEDDING)] for _ in tokens]
    after = dict(successions())
    for dimension, (before, then) in enumerate(after.items(), start=1):
        embedding[before][dimension] = 1.0
        output[then][dimension] = 4.0
    for index in range(len(tokens)):
        if index not in after:
            embedding[index][0] = 1.0
    output[number[" tock"]][0] = 4.0
    return embedding, output


def tensors():
    """Names, shapes (the fastest dimension first) and numbers."""
    noise = random.Random(2)

    def small(*shape):
        return shape, [noise.gauss(0, 0.02) for _ in range(shape[0] * shape[1])]

    ones = (EMBEDDING,), [1.0] * EMBEDDING
    embedding, output = chain_weights()
    vocabulary = EMBEDDING, len(tokens)
    yield "token_embd.weight", (vocabulary, sum(embedding, []))
    yield "output_norm.weight", ones
    yield "output.weight", (vocabulary, sum(output, []))
    for layer in range(LAYERS):
        yield f"blk.{layer}.attn_norm.weight", ones
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            yield f"blk.{layer}.{name}.weight", small(EMBEDDING, EMBEDDING)
        yield f"blk.{layer}.ffn_norm.weight", ones
        yield f"blk.{layer}.ffn_gate.weight", small(EMBEDDING, FEED_FORWARD)
        yield f"blk.{layer}.ffn_up.weight", small(EMBEDDING, FEED_FORWARD)
        yield f"blk.{layer}.ffn_down.weight", small(FEED_FORWARD, EMBEDDING)


METADATA = {
    "general.architecture": "llama",
    "general.name": "chains",
    "llama.context_length": CONTEXT,
    "llama.embedding_length": EMBEDDING,
    "llama.block_count": LAYERS,
    "llama.feed_forward_length": FEED_FORWARD,
    "llama.attention.head_count": HEADS,
    "llama.attention.layer_norm_rms_epsilon": 1e-5,
    "llama.rope.dimension_count": EMBEDDING // HEADS,
    "tokenizer.ggml.model": "llama",
    "tokenizer.ggml.tokens": [text for text, _ in tokens],
    "tokenizer.ggml.scores": [0.0] * len(tokens),
    "tokenizer.ggml.token_type": [kind for _, kind in tokens],
    "tokenizer.ggml.unknown_token_id": 0,
    "tokenizer.ggml.bos_token_id": 1,
    "tokenizer.ggml.eos_token_id": END,
    "tokenizer.ggml.add_bos_token": True,
    "tokenizer.ggml.add_space_prefix": False,
    "tokenizer.chat_template": TEMPLATE,
}

U32, I32, F32, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9


def text(value):
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def plain(value, in_array=False):
    """The type of a value, and its bytes."""
    if isinstance(value, bool):
        return BOOL, struct.pack("<?", value)
    if isinstance(value, int):
        return (I32, struct.pack("<i", value)) if in_array else (U32, struct.pack("<I", value))
    if isinstance(value, float):
        return F32, struct.pack("<f", value)
    return STRING, text(value)


def field(key, value):
    if isinstance(value, list):
        kinds, items = zip(*(plain(item, in_array=True) for item in value))
        head = struct.pack("<IIQ", ARRAY, kinds[0], len(items))
        return text(key) + head + b"".join(items)
    kind, data = plain(value)
    return text(key) + struct.pack("<I", kind) + data


def model():
    """The file. Every shape here fills whole multiples of the alignment, which is 32 bytes."""
    infos, data = b"", b""
    weights = list(tensors())
    for name, (shape, numbers) in weights:
        dimensions = struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
        infos += text(name) + dimensions + struct.pack("<IQ", 0, len(data))
        data += struct.pack(f"<{len(numbers)}f", *numbers)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(weights), len(METADATA))
    head += b"".join(field(*pair) for pair in METADATA.items()) + infos
    return head + b"\0" * (-len(head) % 32) + data


if __name__ == "__main__":
    with open(sys.argv[1], "wb") as file:
        file.write(model())
