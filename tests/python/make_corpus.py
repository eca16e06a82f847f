"""Makes text for tests and measurements of `templar data prepare`, and a tokenizer for it.

make_corpus.py OUT MEBIBYTES VOCABULARY SOURCE...

Writes Parquet files with the columns of FineWeb-Edu, the first of them once more as JSON lines (plain, gzip, Zstandard), a
byte-level BPE tokenizer trained on the text, and `expected.json`: the tokens that the `tokenizers` library gives the first documents.
The text is what is found under SOURCE, in pieces of a few kibibytes in a random order, again and again until there is enough; each
piece begins with its number, so that none is like another.
"""

import gzip
import json
import os
import random
import sys

import pyarrow
import pyarrow.parquet
import zstandard
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

PER_FILE = 256 << 20
CODECS = ["snappy", "zstd", "gzip", "none"]


def texts(sources):
    for source in sources:
        for folder, folders, files in os.walk(source):
            folders.sort()
            for name in sorted(files):
                if name.endswith((".rs", ".md", ".txt", ".py")):
                    try:
                        with open(os.path.join(folder, name), encoding="utf-8") as file:
                            yield file.read()
                    except UnicodeDecodeError:
                        pass


def pieces(sources):
    for text in texts(sources):
        for start in range(0, len(text), 4000):
            yield text[start : start + 4000]


def main():
    out, mebibytes, vocabulary, *sources = sys.argv[1:]
    wanted, rng = int(mebibytes) << 20, random.Random(7)
    os.makedirs(os.path.join(out, "parquet"), exist_ok=True)
    os.makedirs(os.path.join(out, "lines"), exist_ok=True)
    material, size = [], 0
    for piece in pieces(sources):
        material.append(piece)
        size += len(piece)
        if size > min(wanted, 200 << 20):
            break
    rng.shuffle(material)

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=int(vocabulary),
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(material[:2000], trainer)
    tokenizer.save(os.path.join(out, "tokenizer.json"))

    number, total, first = 0, 0, None
    while total < wanted:
        rows, held = [], 0
        while held < min(PER_FILE, wanted // 3 + 1) and total < wanted:
            text = f"{number}: {material[number % len(material)]}"
            # Some rows have no text, as in any large collection.
            if number % 997 == 5:
                text = " \n" if number % 2 else None
            rows.append(text)
            length = len((text or "").encode())
            held, total, number = held + length, total + length, number + 1
        count = len(rows)
        table = pyarrow.table(
            {
                "text": rows,
                "id": [f"<urn:{number - count + i}>" for i in range(count)],
                "dump": ["CC-MAIN-2024-10"] * count,
                "url": ["https://example.org/"] * count,
                "file_path": ["s3://example"] * count,
                "language": ["en"] * count,
                "language_score": [0.9] * count,
                "token_count": [len(text or "") // 4 for text in rows],
                "score": [2.5] * count,
                "int_score": [3] * count,
            }
        )
        place = len(os.listdir(os.path.join(out, "parquet")))
        path = os.path.join(out, "parquet", f"train-{place:05d}.parquet")
        pyarrow.parquet.write_table(table, path, compression=CODECS[place % 4], row_group_size=1000)
        first = first or rows

    lines = "".join(json.dumps({"id": i, "text": text, "more": {"text": "no"}}) + "\n" for i, text in enumerate(first))
    with open(os.path.join(out, "lines", "first.jsonl"), "w", encoding="utf-8") as file:
        file.write(lines)
    with gzip.open(os.path.join(out, "lines", "first.jsonl.gz"), "wb") as file:
        file.write(lines.encode())
    with open(os.path.join(out, "lines", "first.jsonl.zst"), "wb") as file:
        file.write(zstandard.compress(lines.encode()))

    expected = [tokenizer.encode(text, add_special_tokens=False).ids for text in first[:300] if text and text.strip()]
    with open(os.path.join(out, "expected.json"), "w", encoding="utf-8") as file:
        json.dump({"separator": tokenizer.token_to_id("<|endoftext|>"), "documents": expected}, file)


main()
