"""Encodes and decodes field blocks with Python's hpack: a command in each line, and an answer in each line.

| command | answer |
|---|---|
| e SIZE FIELDS | a block; the peer's limit of the table was set to SIZE before, unless it is - |
| d SIZE BLOCK | the fields, or !; our limit of the table was set to SIZE before, unless it is - |
| f BLOCK | the fields, as a new decoder reads them, or ! |

Blocks, names and values are hexadecimal; fields are name:value, with commas between them.
"""
import sys

import hpack


def fields(text):
    pairs = (pair.split(":") for pair in text.split(",") if pair)
    return [(bytes.fromhex(name), bytes.fromhex(value)) for name, value in pairs]


def decoded(decoder, block):
    try:
        pairs = decoder.decode(bytes.fromhex(block), raw=True)
    except hpack.HPACKError:
        return "!"
    return "," + ",".join(f"{bytes(name).hex()}:{bytes(value).hex()}" for name, value in pairs)


encoder = hpack.Encoder()
decoder = hpack.Decoder(max_header_list_size=1 << 30)
for line in sys.stdin:
    kind, *words = line.rstrip("\n").split(" ")
    if kind == "f":
        print(decoded(hpack.Decoder(max_header_list_size=1 << 30), words[0]))
        continue
    size, text = words
    if kind == "e":
        if size != "-":
            encoder.header_table_size = int(size)
        print(encoder.encode(fields(text), huffman=len(text) % 3 != 0).hex())
    else:
        if size != "-":
            decoder.max_allowed_table_size = int(size)
        print(decoded(decoder, text))
