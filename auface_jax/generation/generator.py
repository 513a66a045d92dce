"""A finished Stage II run as a function: a reference face and a description -> pictures.

generator = Generator.from_run("runs/stage2-quickstart")
[picture] = generator(reference, "The brows are raised.", seed=3)
pictures = generator.draw([Request(reference, text, seed=i) for i, text in enumerate(texts)])
"""

import collections
import dataclasses
import functools
import pathlib
import re
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import ml_collections
import numpy as np
from jaxtyping import Bool, Float, Int8, Int32, UInt8

from auface_jax.data.tokenizer import Tokenizer, load_tokenizer
from auface_jax.generation import region_masks
from auface_jax.generation.decode import DecodeOptions
from auface_jax.generation.encoders import Encoders, load_encoders
from auface_jax.generation.request import Image, Request, picture_keys
from auface_jax.generation.stages import (
    Networks,
    build_model,
    context_inputs,
    frames_batch,
    generate_batch,
    load_vqgan,
    morph_batch,
    reference_features,
)
from auface_jax.images import pixels
from auface_jax.models.vq_auface import VQAUFace
from auface_jax.models.vqgan import VQGAN
from auface_jax.parallel.map_batches import map_batches
from auface_jax.runs import checkpoints
from auface_jax.runs.console import say

PyTree = Any

BATCH_SIZE = 16  # pictures that one program draws, unless its caller says otherwise

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")


@dataclasses.dataclass(frozen=True)
class Generator:
    """A finished Stage II run, ready to draw.

    Attributes:
      config: of the run.
      model, vqgan, encoders: its networks.
      weights: {"params", "stage1", "encoders"}, arguments of the compiled program.
      tokenizer: the text tokenizer that it was trained with.
    """

    config: ml_collections.ConfigDict
    model: VQAUFace
    vqgan: VQGAN
    encoders: Encoders
    weights: PyTree
    tokenizer: Tokenizer
    # Texts of which it was said already that they are cut.
    _known_cut: set[str] = dataclasses.field(default_factory=set, init=False, repr=False)

    @classmethod
    def from_run(cls, run: str | pathlib.Path) -> "Generator":
        """Loads `run`, a finished Stage II run, and the Stage I run that it names.

        Raises:
          checkpoints.CheckpointError: not finished, not of Stage II, or of another text tokenizer;
            or Stage I is not there, or is not the one that it was trained on.
        """
        run = pathlib.Path(run)
        config = checkpoints.load_config(run)
        if config.task != "maskgit":
            raise checkpoints.CheckpointError(
                f"{run} is a run of the task {config.task}; pictures come from Stage II (maskgit)"
            )
        tokenizer = load_tokenizer(config.data.tokenizer)
        meta = checkpoints.load_meta(run)
        trained_with = meta["text_tokenizer"]
        if tokenizer.fingerprint != trained_with:
            raise checkpoints.CheckpointError(
                f"{run} was trained with the text tokenizer {trained_with[:12]}, the one of its "
                f"config, {config.data.tokenizer or 'the embedded default'!r}, is now "
                f"{tokenizer.fingerprint[:12]}; use the version of this package that trained it"
            )
        vqgan, stage1 = load_vqgan(checkpoints.required_run(run, "stage1"))
        encoders, frozen, fingerprints = load_encoders(config, tokenizer.vocab_size)
        for name, found in fingerprints.items():
            if found != meta[name]:
                raise checkpoints.CheckpointError(
                    f"{run} was trained with the {name} {meta[name][:12]}; those of its config, "
                    f"{config.model[name]!r}, are now {found[:12]}; put the former ones back there"
                )
        model = build_model(config, vqgan, tokenizer.vocab_size)
        params = checkpoints.load_export(run)["params"]
        weights = {"params": params, "stage1": stage1, "encoders": frozen}
        return cls(config, model, vqgan, encoders, jax.device_put(weights), tokenizer)

    def __call__(
        self,
        reference: Image,
        text: str,
        *,
        labels: Int8[np.ndarray, " A"] | None = None,
        change: Bool[np.ndarray, " N"] | None = None,
        num: int = 1,
        seed: int = 0,
        **decode: float,
    ) -> UInt8[np.ndarray, "num S S 3"]:
        """`num` pictures of the person in `reference` as `text` says.

        Picture i depends on `seed` and i and not on `num`.

        Args:
          reference, labels, change: see `Request`.
          decode: fields of `DecodeOptions` that replace those of the run's config.

        Raises:
          ValueError: a reference of another size, a bad option or seed, or no labels where they
            are read.
        """
        requests = [Request(reference, text, seed, labels, change)] * num
        return self._in_order(num, self._batches(requests, range(num), BATCH_SIZE, decode))

    def draw(
        self, requests: Sequence[Request], *, batch_size: int = BATCH_SIZE, **decode: float
    ) -> UInt8[np.ndarray, "M S S 3"]:
        """A picture for each request, the one that `__call__` draws first for it.

        Raises:
          ValueError: see `__call__`.
        """
        drawn = self.draw_batches(requests, batch_size=batch_size, **decode)
        return self._in_order(len(requests), drawn)

    def draw_batches(
        self, requests: Sequence[Request], *, batch_size: int = BATCH_SIZE, **decode: float
    ) -> Iterator[tuple[list[int], UInt8[np.ndarray, "B S S 3"]]]:
        """The pictures of `draw` as they come: which of the requests, by place, and theirs.

        Requests whose texts have one bucket of tokens share batches, so that none is padded
        because of another.

        Raises:
          ValueError: see `__call__`; before the first picture.
        """
        return self._batches(requests, [0] * len(requests), batch_size, decode)

    def frames(self, request: Request, **decode: float) -> UInt8[np.ndarray, "steps S S 3"]:
        """The picture as it appears, after each iteration; what is still open is paled."""
        draw = functools.partial(frames_batch, self.networks, self._options(decode))
        made = draw(self.weights, self._records([request]), picture_keys([request.seed], [0]))
        return np.stack([self._kept(request, image) for image in np.asarray(made)[:, 0]])

    def morph(
        self, first: Request, second: Request, *, frames: int = 16, **decode: float
    ) -> UInt8[np.ndarray, "F S S 3"]:
        """`frames` pictures from one request's to another's of the same reference and seed.

        Both are drawn from the same noise, and Stage I's vectors of the two are mixed.
        """
        draw = functools.partial(morph_batch, self.networks, self._options(decode))
        records = self._records([first, second])
        keys = picture_keys([first.seed] * 2, [0, 0])
        shares = (1 - np.cos(np.linspace(0, np.pi, frames))) / 2  # slow at both ends
        made = draw(self.weights, records, keys, shares.astype(np.float32))
        return np.stack([self._kept(first, image) for image in np.asarray(made)])

    def attention(self, reference: Image, text: str) -> list[tuple[str, Float[np.ndarray, "h w"]]]:
        """Each sentence of the text, and where on the reference it looks: AU attention.

        The maps are means over heads and over the sentence's tokens; each sums to 1.

        Raises:
          ValueError: the model has no structure tokens or reads labels.
        """
        if "structure" not in self.model.tokens or self.model.label_tokens:
            raise ValueError("this run has no attention of a text to structure tokens to show")
        records = self._records([Request(reference, text)])

        @jax.jit
        def maps(weights, records):
            image = pixels.to_float(records["reference"])
            of_face = reference_features(self.vqgan, self.encoders, weights, image)
            inputs = context_inputs(self.vqgan, self.encoders, weights, records, image, of_face)
            no = np.zeros(1, bool)
            _, out = self.model.apply(
                {"params": weights["params"]},
                **inputs,
                drop_text=no,
                drop_reference=no,
                method="context",
            )
            return out["au_attention"][0].mean(0)  # [L, S]

        of_tokens = np.asarray(maps(self.weights, records))
        side = round(of_tokens.shape[1] ** 0.5)
        sentences = _SENTENCE_END.split(text.strip())
        found, start = [], 0
        for number, sentence in enumerate(sentences, start=1):
            beginning = " ".join(sentences[:number])
            mask = self.tokenizer.encode_batch([beginning], self._buckets)[1]
            end = int(mask.sum()) - 1  # but for the end token
            if end > start:
                of_sentence = of_tokens[start:end].mean(0).reshape(side, side)
                found.append((sentence, of_sentence))
            start = end
        return found

    def encode(
        self, texts: Sequence[str]
    ) -> tuple[Int32[np.ndarray, "B L"], Bool[np.ndarray, "B L"]]:
        """Tokens of texts and where they are, as `Tokenizer.encode_batch` has them.

        Says of each text that is cut that it is, the first time.
        """
        before = self.tokenizer.truncated
        encoded = self.tokenizer.encode_batch(texts, self._buckets)
        if self.tokenizer.truncated > before:
            cut = {text for text in set(texts) - self._known_cut if self._is_cut(text)}
            if cut:
                subject = "a text is" if len(cut) == 1 else f"{len(cut)} texts are"
                longest = f"{max(self._buckets)} tokens, the longest that this run reads"
                say(f"{subject} cut after {longest}")
            self._known_cut.update(cut)
        return encoded

    @property
    def networks(self) -> Networks:
        """What the programs of `synthesis` take."""
        return Networks(self.model, self.vqgan, self.encoders)

    @property
    def _buckets(self) -> tuple[int, ...]:
        return tuple(self.config.data.buckets)

    def _options(self, decode: dict[str, Any]) -> DecodeOptions:
        return DecodeOptions(**{**self.config.decode, **decode})

    def _batches(
        self,
        requests: Sequence[Request],
        numbers: Sequence[int],
        batch_size: int,
        decode: dict[str, Any],
    ) -> Iterator[tuple[list[int], UInt8[np.ndarray, "B S S 3"]]]:
        """See `draw_batches`; `numbers` says which of its seed's pictures each request is for."""
        draw = functools.partial(generate_batch, self.networks, self._options(decode))
        self.encode([request.text for request in requests])  # says in one line which are cut
        groups: dict[tuple, list[int]] = collections.defaultdict(list)
        for place, request in enumerate(requests):
            length = self._records([request])["text_tokens"].shape[1]
            groups[length, request.change is None, request.labels is None].append(place)
        for group in groups.values():
            # Few sizes, so that few programs are compiled, and under twice the rows asked for.
            rows = min(batch_size, 1 << (len(group) - 1).bit_length())
            for start in range(0, len(group), rows):
                places = group[start : start + rows]
                asked = [requests[place] for place in places]
                keys = picture_keys(
                    [request.seed for request in asked], [numbers[place] for place in places]
                )
                made = map_batches(draw, self.weights, self._records(asked), keys, batch_size=rows)
                kept = [self._kept(*pair) for pair in zip(asked, made, strict=True)]
                yield places, np.stack(kept)

    def _in_order(
        self, count: int, drawn: Iterator[tuple[list[int], UInt8[np.ndarray, "B S S 3"]]]
    ) -> UInt8[np.ndarray, "M S S 3"]:
        """All `count` pictures of `_batches`, each in its place."""
        size = self.vqgan.image_size
        images = np.zeros((count, size, size, 3), np.uint8)
        for places, made in drawn:
            images[places] = made
        return images

    def _is_cut(self, text: str) -> bool:
        before = self.tokenizer.truncated
        self.tokenizer.encode_batch([text], self._buckets)
        return self.tokenizer.truncated > before

    def _records(self, requests: Sequence[Request]) -> dict[str, np.ndarray]:
        """What `generate_batch` takes, checked."""
        size = self.vqgan.image_size
        for request in requests:
            if request.reference.shape != (size, size, 3):
                raise ValueError(
                    f"the reference is {request.reference.shape}, this run wants {(size, size, 3)}"
                )
            if self.model.label_tokens and request.labels is None:
                raise ValueError(
                    "this run reads labels and no text: say which units (--aus 6,12, or labels=)"
                )
        tokens, mask = self.encode([request.text for request in requests])
        records = {
            "reference": np.stack([request.reference for request in requests]),
            "text_tokens": tokens,
            "text_mask": mask,
        }
        for name in ("labels", "change"):
            if all(getattr(request, name) is not None for request in requests):
                records[name] = np.stack([getattr(request, name) for request in requests])
        return records

    def _kept(self, request: Request, image: Image) -> Image:
        """`image`, with the reference's own pixels where it was not to be changed."""
        if request.change is None:
            return image
        weight = region_masks.blend_weight(request.change, self.vqgan.image_size)
        mixed = weight * image + (1 - weight) * request.reference
        return np.round(mixed).astype(np.uint8)
