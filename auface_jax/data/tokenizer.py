"""Text to integers: the tokenizer that ships with the project, or any of Hugging Face's.

The default is a unigram model (Kudo, 2018) with byte fallback: a character that has no piece
becomes its UTF-8 bytes, so that no text gives an unknown token. It is made from the project's
dictionary and `vocabulary.txt` beside this file; the shipped `tokenizer.json` comes from

    python -m auface_jax.data.tokenizer --out auface_jax/data/tokenizer.json

Every word of the two sources is one piece, which keeps descriptions about as long in tokens as in
words; other words are put together from subword pieces, learned on the same list.
"""

import argparse
import collections
import functools
import hashlib
import importlib.resources
import json
import math
import operator
import pathlib
import re
import string
from collections.abc import Iterable, Sequence

import numpy as np
import tokenizers
from jaxtyping import Bool, Int32

from auface_jax import facs

PAD, END, UNKNOWN = "<pad>", "</s>", "<unk>"  # ids 0, 1 and 2, as in T5
SPACE = "\u2581"  # stands for a space at the beginning of a word

_SUBWORDS = 800
_SUBWORD_SHARE = 0.1  # of the probability; the rest goes to whole words
_CHARACTER_SCORE = -10.0  # under every learned piece: a lone character is the last resort
# Pieces that text must never match, even where it spells them out: "</s>" is four characters.
_NEVER_SCORE = -200.0
_SENTENCES_KEPT = 4096  # more than twice the dictionary's, whatever else is encoded
_SENTENCE_END = re.compile(r"\. (?=[A-Z])")  # a look behind would take eight times as long


class Tokenizer:
    """Texts to padded token batches, and back.

    Attributes:
      vocab_size: V; every id is below it.
      pad_id: fills a row after its text.
      eos_id: ends every text.
      fingerprint: hex sha256 of the tokenizer's canonical JSON; two tokenizers with one
        fingerprint give the same ids.
      truncated: how many texts were cut so far, because they did not fit the largest bucket.
    """

    def __init__(
        self, backend: tokenizers.Tokenizer, *, pad_id: int, eos_id: int, definition: str = ""
    ):
        """Wraps a fast tokenizer.

        Args:
          backend: the tokenizer; its own padding and truncation are switched off.
          pad_id: the id that fills a row.
          eos_id: the id that ends a text.
          definition: the JSON the backend was read from, if it was: what the library writes
            back may change with its version, and the fingerprint must not.
        """
        backend.no_padding()
        backend.no_truncation()
        self._backend = backend
        self.pad_id = pad_id
        self.eos_id = eos_id
        self.vocab_size = max(backend.get_vocab(with_added_tokens=True).values()) + 1
        content = json.loads(definition or backend.to_str())
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
        self.fingerprint = hashlib.sha256(canonical.encode()).hexdigest()
        self.truncated = 0
        self._end = np.array([eos_id], np.int32)
        self._sentences: dict[str, np.ndarray] = {}  # ids of those met so far

    def encode_batch(
        self, texts: Sequence[str], buckets: Sequence[int]
    ) -> tuple[Int32[np.ndarray, "B L"], Bool[np.ndarray, "B L"]]:
        """Tokens of a batch, padded to the smallest bucket that fits its longest text.

        Args:
          texts: B texts; any Unicode.
          buckets: the lengths L may have, in ascending order. A text longer than the last one is
            cut there, keeps its end token, and is counted in `truncated`.

        Returns:
          tokens: int32 [B, L] in [0, V), the end token included, then `pad_id`.
          mask: bool [B, L], True at tokens and False at padding.

        Raises:
          ValueError: the buckets are not positive and ascending, or `texts` is one string.
        """
        lengths = tuple(operator.index(bucket) for bucket in buckets)
        if not lengths or lengths[0] < 1 or list(lengths) != sorted(set(lengths)):
            raise ValueError(
                f"buckets are {tuple(buckets)}; give positive, ascending lengths in tokens, such "
                "as (128, 256, 512)"
            )
        if isinstance(texts, str):
            raise ValueError(f"texts is one string, {texts!r:.60}; give a list of texts")
        rows = self._rows(_sound(texts))
        longest = max(map(len, rows), default=0)
        length = next((bucket for bucket in lengths if bucket >= longest), lengths[-1])
        tokens = np.full((len(rows), length), self.pad_id, np.int32)  # [B, L]
        for index, ids in enumerate(rows):
            if len(ids) > length:
                ids = np.concatenate([ids[: length - 1], self._end])
                self.truncated += 1
            tokens[index, : len(ids)] = ids
        filled = np.array([len(ids) for ids in rows], np.int32)  # [B]
        return tokens, np.arange(length) < filled[:, None]

    @property
    def definition(self) -> str:
        """The text of its tokenizer.json."""
        return self._backend.to_str()

    def decode(self, ids: Sequence[int]) -> str:
        """The text of a row of tokens; padding and end tokens are left out."""
        kept = [int(i) for i in ids if i not in (self.pad_id, self.eos_id)]
        return self._backend.decode(kept, skip_special_tokens=True)

    def _rows(self, texts: list[str]) -> list[Int32[np.ndarray, "L"]]:
        """The ids of each text, its end token included.

        Descriptions are put together from a few hundred sentences, so those are encoded once and
        remembered: a description takes a tenth of the time.
        """
        if not self._sentence_by_sentence:
            return [self._with_end([row.ids]) for row in self._backend.encode_batch(texts)]
        rows = []
        for text in texts:
            # Beyond ASCII a normaliser may join what stands on both sides of a space.
            *sentences, last = _SENTENCE_END.split(text) if text.isascii() else [text]
            sentences = [*(f"{sentence}." for sentence in sentences), last]
            rows.append(self._with_end(map(self._sentence_ids, sentences)))
        return rows

    @functools.cached_property
    def _sentence_by_sentence(self) -> bool:
        """Whether a text's ids are those of its sentences, end to end, and then the end token.

        So it is with tokenizers that take words apart one by one. Those that begin a text with a
        token of its own, or treat its first word unlike the others, are found out by the texts of
        the dictionary.
        """
        dictionary = facs.load_dictionary()
        texts = [*dictionary.neutral, *(text for v in dictionary.constructs.values() for text in v)]
        whole = self._with_end([self._backend.encode(" ".join(texts)).ids])
        return np.array_equal(whole, self._with_end(map(self._sentence_ids, texts)))

    def _sentence_ids(self, sentence: str) -> Int32[np.ndarray, "L"]:
        ids = self._sentences.get(sentence)
        if ids is None:
            ids = np.array(self._backend.encode(sentence, add_special_tokens=False).ids, np.int32)
            if len(self._sentences) < _SENTENCES_KEPT:
                self._sentences[sentence] = ids
        return ids

    def _with_end(self, parts: Iterable[Sequence[int]]) -> Int32[np.ndarray, "L"]:
        """The parts end to end, and the end token unless they have one already."""
        ids = np.concatenate([*parts, self._end], dtype=np.int32, casting="unsafe")
        return ids[:-1] if len(ids) > 1 and ids[-2] == self.eos_id else ids


def load_tokenizer(name_or_folder: str = "") -> Tokenizer:
    """Loads a tokenizer.

    Args:
      name_or_folder: "" for the one that ships with the project; else a folder as
        `save_pretrained` writes it, or a name on the Hugging Face hub, such as "t5-large".

    Raises:
      ValueError: it cannot be loaded (a misspelt name, no network), or has no end token.
    """
    if not name_or_folder:
        definition = _data_file("tokenizer.json")
        backend = tokenizers.Tokenizer.from_str(definition)
        return Tokenizer(backend, pad_id=0, eos_id=1, definition=definition)
    import transformers  # takes seconds, and the default does not need it

    where = pathlib.Path(name_or_folder).expanduser()
    source = str(where) if where.is_dir() else name_or_folder
    try:
        loaded = transformers.AutoTokenizer.from_pretrained(source)
    except Exception as error:  # the library has no class for what a damaged file makes of it
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(
            f"cannot load the tokenizer {name_or_folder!r} ({reason}). Give a folder that holds "
            "tokenizer.json and tokenizer_config.json, the name of a tokenizer on the Hugging Face "
            'hub (which needs a network, or a copy in its cache), or "" for the one that ships '
            "with the project."
        ) from error
    backend = getattr(loaded, "backend_tokenizer", None)
    if backend is None:
        raise ValueError(
            f"the tokenizer {name_or_folder!r} ({type(loaded).__name__}) has no fast version; save "
            "it once as tokenizer.json, or take another"
        )
    end = loaded.eos_token_id if loaded.eos_token_id is not None else loaded.sep_token_id
    if end is None:
        raise ValueError(
            f"the tokenizer {name_or_folder!r} has no end-of-text token; name one as eos_token in "
            "its tokenizer_config.json"
        )
    pad = loaded.pad_token_id if loaded.pad_token_id is not None else end
    return Tokenizer(backend, pad_id=pad, eos_id=end)


def train() -> str:
    """Makes the default tokenizer; returns the text of its tokenizer.json.

    Equal sources give equal bytes. The library's own trainer does not: it seeds its pieces from
    substrings that at least two different words share, which leaves out most whole words, and its
    scores change in the last digits from run to run. So whole words are scored here, by their
    counts, and of the trainer only the subword pieces and their rounded scores are taken.
    """
    dictionary = facs.load_dictionary()
    texts = [*dictionary.neutral, *(text for v in dictionary.constructs.values() for text in v)]
    counts = collections.Counter(vocabulary_words())
    for text in texts:
        counts.update(re.findall(r"[A-Za-z]+", text))

    scores = _subword_scores(sorted(counts))
    total = sum(counts.values())
    for word, count in counts.items():
        for part in re.findall(r"[A-Za-z]+", word):  # the pre-tokenizer splits at hyphens
            share = math.log((1 - _SUBWORD_SHARE) * count / total)
            piece = (SPACE if word.startswith(part) else "") + part
            scores[piece] = max(share, scores.get(piece, -math.inf))
    for character in SPACE + string.ascii_letters + string.digits + string.punctuation:
        scores[character] = _CHARACTER_SCORE

    pieces = [(piece, round(score, 3)) for piece, score in scores.items()]
    pieces.sort(key=lambda entry: (-entry[1], entry[0]))
    bytes_ = [(f"<0x{byte:02X}>", _NEVER_SCORE) for byte in range(256)]
    special = [(piece, _NEVER_SCORE) for piece in (PAD, END, UNKNOWN)]
    model = tokenizers.models.Unigram([*special, *bytes_, *pieces], unk_id=2, byte_fallback=True)

    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.normalizer = tokenizers.normalizers.NFKC()
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Sequence(
        [
            tokenizers.pre_tokenizers.Metaspace(),
            tokenizers.pre_tokenizers.Punctuation("isolated"),
        ]
    )
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single=f"$A {END}", pair=f"$A {END} $B {END}", special_tokens=[(END, 1)]
    )
    tokenizer.decoder = tokenizers.decoders.Sequence(
        [tokenizers.decoders.ByteFallback(), tokenizers.decoders.Metaspace()]
    )
    return _one_piece_a_line(json.loads(tokenizer.to_str()))


def vocabulary_words() -> tuple[str, ...]:
    """The words of vocabulary.txt, in its order."""
    lines = _data_file("vocabulary.txt").splitlines()
    return tuple(word for line in lines if not line.startswith("#") for word in line.split())


def _subword_scores(words: list[str]) -> dict[str, float]:
    """Log-probabilities of the subword pieces that the library's trainer finds in the words."""
    learner = tokenizers.Tokenizer(tokenizers.models.Unigram())
    learner.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
    trainer = tokenizers.trainers.UnigramTrainer(
        vocab_size=_SUBWORDS, special_tokens=[UNKNOWN], unk_token=UNKNOWN, show_progress=False
    )
    learner.train_from_iterator(words, trainer)
    learned = json.loads(learner.to_str())["model"]["vocab"]
    share = math.log(_SUBWORD_SHARE)
    return {piece: score + share for piece, score in learned if piece != UNKNOWN}


def _one_piece_a_line(content: dict) -> str:
    """JSON that a person can read and compare: the vocabulary would take four lines a piece."""
    rows = [json.dumps(row, ensure_ascii=False) for row in content["model"]["vocab"]]
    content["model"]["vocab"] = "VOCABULARY"
    text = json.dumps(content, ensure_ascii=False, indent=2)
    return text.replace('"VOCABULARY"', "[\n" + ",\n".join(rows) + "\n]") + "\n"


def _sound(texts: Sequence[str]) -> list[str]:
    """Texts without lone surrogates, which no UTF-8 can carry (a command line can hold them)."""
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise ValueError(f"text {index} is {text!r:.60}, not a string")
    return [
        text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")
        for text in texts
    ]


@functools.cache
def _data_file(name: str) -> str:
    return (importlib.resources.files("auface_jax.data") / name).read_text(encoding="utf-8")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m auface_jax.data.tokenizer",
        description="Makes the default tokenizer from the dictionary and vocabulary.txt.",
    )
    parser.add_argument("--out", required=True, metavar="FILE", help="where to write the JSON")
    options = parser.parse_args(arguments)
    text = train()
    pathlib.Path(options.out).write_text(text, encoding="utf-8")
    pieces = tokenizers.Tokenizer.from_str(text).get_vocab_size()
    print(f"{options.out}: {pieces} pieces")


if __name__ == "__main__":
    main()
