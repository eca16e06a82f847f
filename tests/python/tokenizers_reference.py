"""Tokenizers that transformers makes and loads again, and what they make of awkward texts.

usage: tokenizers_reference.py FOLDER     writes FOLDER/CASE for each case, and FOLDER/CASE.json with what was found
"""

import json
import os
import sys

os.environ["HF_HUB_OFFLINE"] = "1"

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers  # noqa: E402
from transformers import AutoTokenizer, PreTrainedTokenizerFast  # noqa: E402

folder = sys.argv[1]
TEXT = [
    "The quick brown fox jumps over the lazy dog, and the dog does not mind at all.",
    "fn main() { println!(\"{}\", 1234 + 5678); }  // two spaces",
    "Ünïcödé, 漢字, emoji 😀👩‍👩‍👧 and a\ttab\nand a new line\n\n\nand three.",
    "It's we're they'll I'd can't WON'T 3.14159 100000 0x1F",
] * 20
TEXTS = TEXT[:4] + [
    "", " ", "  leading spaces", "trailing spaces  ", "\n", "a", "é", "e\u0301", "ﬁ ligature ½", "\u200b\ufeff", "x" * 300,
    "<s>", "a <s> b</s>c", "<|user|> <|user|>", "🏳️‍🌈🇩🇪", "\x00\x01\x7f", "مرحبا بالعالم", "1" * 40, " \n \t ", "don't<|end|>stop",
]
CHATS = [
    [{"role": "user", "content": "Hi  "}],
    [{"role": "system", "content": "Be brief."}, {"role": "user", "content": " a\nb "},
     {"role": "assistant", "content": "\"c\" é"}, {"role": "user", "content": "d"}],
]
SPECIAL = ["<s>", "</s>", "<|user|>", "<|end|>"]


def byte_level():
    """As Llama 3: a regular expression splits, bytes are merged, the file adds the first token."""
    tokenizer = Tokenizer(models.BPE(ignore_merges=True))
    pattern = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
               r"|\s+(?!\S)|\s+")
    from tokenizers import Regex
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(pattern), behavior="isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=600, special_tokens=SPECIAL,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(TEXT, trainer)
    tokenizer.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=False),
        processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 0)]),
    ])
    return tokenizer


def gpt2():
    """As GPT-2 and SmolLM2: nothing is added."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=600, special_tokens=SPECIAL,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(TEXT, trainer)
    return tokenizer


def sentence_pieces():
    """As Llama 2 and TinyLlama: spaces become a letter, unknown characters bytes."""
    pieces = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    pieces.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    trainer = trainers.BpeTrainer(
        vocab_size=700, special_tokens=["<unk>", *SPECIAL, *(f"<0x{b:02X}>" for b in range(256))], limit_alphabet=60)
    pieces.train_from_iterator(TEXT, trainer)
    # The bytes are pieces, not special tokens.
    described = json.loads(pieces.to_str())
    described["added_tokens"] = [t for t in described["added_tokens"] if not t["content"].startswith("<0x")]
    pieces = Tokenizer.from_str(json.dumps(described))
    pieces.decoder = decoders.Sequence([
        decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    pieces.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", pieces.token_to_id("<s>"))])
    return pieces


LLAMA2_CHAT = (
    "{% if messages[0]['role'] == 'system' %}{% set rest = messages[1:] %}{% set system = messages[0]['content'] %}"
    "{% else %}{% set rest = messages %}{% set system = false %}{% endif %}"
    "{% for message in rest %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Roles must alternate') }}{% endif %}"
    "{% if loop.index0 == 0 and system != false %}{% set content = '<<SYS>>\\n' + system + '\\n<</SYS>>\\n\\n' + message['content'] %}"
    "{% else %}{% set content = message['content'] %}{% endif %}"
    "{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}"
    "{% elif message['role'] == 'assistant' %}{{ ' ' + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}")
CHATML = """{% for message in messages %}
{%- if loop.first and messages[0]['role'] != 'system' %}
    {{- '<|user|>system\\n' + 'default'.title() + '<|end|>\\n' }}
{%- endif %}
{{ '<|user|>' + message['role'] + '\\n' + message['content'] + '<|end|>' }}
    {% if not loop.last %}
-
    {% endif %}
{% endfor %}
{%- if add_generation_prompt %}
    {{- '<|user|>assistant\\n' }}
{%- endif %}
{{ messages | tojson }}
"""
CASES = {
    "byte_level": (byte_level, CHATML),
    "gpt2": (gpt2, None),
    "sentence_pieces": (sentence_pieces, LLAMA2_CHAT),
}

for case, (make, template) in CASES.items():
    path = os.path.join(folder, case)
    PreTrainedTokenizerFast(
        tokenizer_object=make(), bos_token="<s>", eos_token="</s>", additional_special_tokens=["<|user|>", "<|end|>"],
        chat_template=template, clean_up_tokenization_spaces=False,
    ).save_pretrained(path)
    tokenizer = AutoTokenizer.from_pretrained(path)
    texts = []
    for text in TEXTS:
        ids = tokenizer.encode(text)
        texts.append({
            "text": text, "ids": ids, "plain": tokenizer.encode(text, add_special_tokens=False),
            "shown": tokenizer.decode(ids, skip_special_tokens=True), "whole": tokenizer.decode(ids),
        })
    chats = []
    if template:
        for messages in CHATS:
            prompt = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
            chats.append({"messages": messages, "prompt": prompt})
    with open(path + ".json", "w") as out:
        json.dump({"texts": texts, "chats": chats, "bos": tokenizer.bos_token_id, "eos": tokenizer.eos_token_id,
                   "length": len(tokenizer)}, out)
