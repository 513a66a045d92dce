"""Tokenizers of text: the project's own, or any fast tokenizer of Hugging Face.

The default is a unigram model (Kudo, 2018) with byte fallback: a character that has no piece
becomes its UTF-8 bytes, so that no text gives an unknown token. It is trained on the project's
dictionary and `vocabulary.txt` beside this file; `tokenizer.json` is the output of

    python -m auface_jax.data.tokenizer --out auface_jax/data/tokenizer.json

Every word of the two sources is one piece, so that a description has about as many tokens as words.
Other words are composed of subword pieces, which are learned on the same list.
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
EMBEDDED = "embedded"  # name of the embedded text encoder's tokenizer
SPACE = "\u2581"  # stands for a space at the beginning of a word

_SUBWORDS = 800
_SUBWORD_SHARE = 0.1  # share of the probability; whole words get the rest
_CHARACTER_SCORE = -10.0  # below every learned piece: single characters are the last resort
# Score of pieces that text must never match, even where it spells them: "</s>" is four characters.
_NEVER_SCORE = -200.0
_CACHED_SENTENCES = 4096  # more than twice the number of sentences in the dictionary
_SENTENCE_END = re.compile(r"\. (?=[A-Z])")  # a lookbehind would take eight times as long


class Tokenizer:
    """Converts texts to padded batches of tokens, and back.

    Attributes:
      vocab_size: number V of tokens; every id is below it.
      pad_id: id of the padding token.
      eos_id: id of the token that ends every text.
      fingerprint: hex sha256 of the tokenizer's canonical JSON; two tokenizers with the same
        fingerprint give the same ids.
      truncated: number of texts so far that were truncated to the largest bucket.
    """

    def __init__(
        self, backend: tokenizers.Tokenizer, *, pad_id: int, eos_id: int, definition: str = ""
    ):
        """Wraps a fast tokenizer.

        Args:
          backend: fast tokenizer; its own padding and truncation are switched off.
          pad_id: id of the padding token.
          eos_id: id of the token that ends a text.
          definition: JSON that the backend was read from, or "". The fingerprint is computed from
            it, because the JSON that the library writes may change with its version.
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
        self._sentences: dict[str, np.ndarray] = {}  # sentence -> ids, a cache

    def encode_batch(
        self, texts: Sequence[str], buckets: Sequence[int]
    ) -> tuple[Int32[np.ndarray, "B L"], Bool[np.ndarray, "B L"]]:
        """Tokenizes a batch and pads it to the smallest bucket that fits its longest text.

        Args:
          texts: B texts of any Unicode characters.
          buckets: legal lengths L, ascending. A text longer than the last one is truncated, keeps
            its end token, and is counted in `truncated`.

        Returns:
          tokens: ids in [0, V), the end token included, then `pad_id`.
          mask: True at tokens and False at padding.

        Raises:
          ValueError: the buckets are not positive and ascending, or `texts` is a single string.
        """
        lengths = tuple(operator.index(bucket) for bucket in buckets)
        if not lengths or lengths[0] < 1 or list(lengths) != sorted(set(lengths)):
            raise ValueError(
                f"buckets are {tuple(buckets)}; give positive, ascending lengths in tokens, such "
                "as (128, 256, 512)"
            )
        if isinstance(texts, str):
            raise ValueError(f"texts is one string, {texts!r:.60}; give a list of texts")
        ids_of_texts = self._encode(_without_surrogates(texts))
        longest = max(map(len, ids_of_texts), default=0)
        length = next((bucket for bucket in lengths if bucket >= longest), lengths[-1])
        tokens = np.full((len(texts), length), self.pad_id, np.int32)  # [B, L]
        for index, ids in enumerate(ids_of_texts):
            if len(ids) > length:
                ids = np.concatenate([ids[: length - 1], self._end])
                self.truncated += 1
            tokens[index, : len(ids)] = ids
        lengths_of_texts = np.array([len(ids) for ids in ids_of_texts], np.int32)  # [B]
        return tokens, np.arange(length) < lengths_of_texts[:, None]

    @property
    def definition(self) -> str:
        """Text of the tokenizer's `tokenizer.json`."""
        return self._backend.to_str()

    def decode(self, ids: Sequence[int]) -> str:
        """Returns the text of a sequence of tokens, without padding and end tokens."""
        text_ids = [int(i) for i in ids if i not in (self.pad_id, self.eos_id)]
        return self._backend.decode(text_ids, skip_special_tokens=True)

    def _encode(self, texts: list[str]) -> list[Int32[np.ndarray, "L"]]:
        """Encodes each text, its end token included.

        Descriptions consist of a few hundred sentences, which are encoded once and cached, so that
        a description takes a tenth of the time.
        """
        if not self._sentence_by_sentence:
            return [self._with_end([text.ids]) for text in self._backend.encode_batch(texts)]
        encoded = []
        for text in texts:
            # A normaliser may join non-ASCII characters on both sides of a space.
            *sentences, last = _SENTENCE_END.split(text) if text.isascii() else [text]
            sentences = [*(f"{sentence}." for sentence in sentences), last]
            encoded.append(self._with_end(map(self._sentence_ids, sentences)))
        return encoded

    @functools.cached_property
    def _sentence_by_sentence(self) -> bool:
        """True where the ids of a text are those of its sentences, end to end.

        This holds for tokenizers that split each word by itself. The texts of the dictionary reveal
        a tokenizer that begins a text with a special token, or treats its first word differently.
        """
        dictionary = facs.load_dictionary()
        texts = [*dictionary.neutral, *(text for v in dictionary.constructs.values() for text in v)]
        whole = self._with_end([self._backend.encode(" ".join(texts)).ids])
        return np.array_equal(whole, self._with_end(map(self._sentence_ids, texts)))

    def _sentence_ids(self, sentence: str) -> Int32[np.ndarray, "L"]:
        ids = self._sentences.get(sentence)
        if ids is None:
            ids = np.array(self._backend.encode(sentence, add_special_tokens=False).ids, np.int32)
            if len(self._sentences) < _CACHED_SENTENCES:
                self._sentences[sentence] = ids
        return ids

    def _with_end(self, parts: Iterable[Sequence[int]]) -> Int32[np.ndarray, "L"]:
        """Concatenates the parts and the end token, unless they end with one already."""
        ids = np.concatenate([*parts, self._end], dtype=np.int32, casting="unsafe")
        return ids[:-1] if len(ids) > 1 and ids[-2] == self.eos_id else ids


def load_tokenizer(name_or_folder: str = "") -> Tokenizer:
    """Loads a tokenizer.

    Args:
      name_or_folder: "embedded" for the tokenizer of the embedded text encoder; "" for the
        project's own, which knows the dictionary's words alone; else a folder as `save_pretrained`
        writes it, or a name on the Hugging Face hub, such as "t5-large".

    Raises:
      ValueError: the tokenizer cannot be loaded (a misspelt name, no network), or has no end token.
    """
    if not name_or_folder:
        definition = _data_file("tokenizer.json")
        backend = tokenizers.Tokenizer.from_str(definition)
        return Tokenizer(backend, pad_id=0, eos_id=1, definition=definition)
    if name_or_folder == EMBEDDED:
        file = importlib.resources.files("auface_jax.pretrained") / "embedded_text/tokenizer.json"
        definition = file.read_text(encoding="utf-8")
        backend = tokenizers.Tokenizer.from_str(definition)
        pad, end = (backend.token_to_id(token) for token in ("[PAD]", "[SEP]"))
        return Tokenizer(backend, pad_id=pad, eos_id=end, definition=definition)
    import transformers  # The import takes seconds, and the default does not need it.

    where = pathlib.Path(name_or_folder).expanduser()
    source = str(where) if where.is_dir() else name_or_folder
    try:
        loaded = transformers.AutoTokenizer.from_pretrained(source)
    except Exception as error:  # A damaged file may raise almost any error in the library.
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(
            f"cannot load the tokenizer {name_or_folder!r} ({reason}). Give a folder that holds "
            "tokenizer.json and tokenizer_config.json, the name of a tokenizer on the Hugging Face "
            'hub (which needs a network, or a copy in its cache), or "" for the project\'s own.'
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
    """Trains the default tokenizer, to the same bytes each time.

    The library's own trainer is not enough: its pieces come from substrings that at least two
    different words share, which leaves out most whole words, and its scores change in the last
    digits from run to run. Whole words are therefore scored here by their counts, and the trainer
    provides only the subword pieces and their rounded scores.

    Returns:
      The text of `tokenizer.json`.
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
    """Reads the words of `vocabulary.txt`, in the same order."""
    lines = _data_file("vocabulary.txt").splitlines()
    return tuple(word for line in lines if not line.startswith("#") for word in line.split())


def _subword_scores(words: list[str]) -> dict[str, float]:
    """Log-probabilities of the subword pieces that the library's trainer learns from `words`."""
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
    """Formats JSON with one piece of the vocabulary on each line, so that changes are readable."""
    lines = [json.dumps(piece, ensure_ascii=False) for piece in content["model"]["vocab"]]
    content["model"]["vocab"] = "VOCABULARY"
    text = json.dumps(content, ensure_ascii=False, indent=2)
    return text.replace('"VOCABULARY"', "[\n" + ",\n".join(lines) + "\n]") + "\n"


def _without_surrogates(texts: Sequence[str]) -> list[str]:
    """Replaces lone surrogates, which a command line may contain and UTF-8 cannot encode."""
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
    """Runs the command line; `arguments` replaces `sys.argv[1:]`."""
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
