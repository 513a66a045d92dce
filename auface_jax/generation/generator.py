"""A finished Stage II run as a function: a reference face and a description -> images.

generator = Generator.from_run("runs/stage2-quickstart")
[image] = generator(reference, "The brows are raised.", seed=3)
images = generator.generate(
    [Request(reference, text, seed=i) for i, text in enumerate(texts)]
)
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
from auface_jax.generation.decode_options import DecodeOptions
from auface_jax.generation.encoders import Encoders, load_encoders
from auface_jax.generation.request import Image, Request, picture_keys
from auface_jax.generation.stage1 import load_vqgan
from auface_jax.generation.stages import (
    Networks,
    attention_maps,
    build_model,
    frames_batch,
    generate_batch,
    morph_batch,
)
from auface_jax.models.vq_auface import VQAUFace
from auface_jax.models.vqgan import VQGAN
from auface_jax.parallel.map_batches import map_batches
from auface_jax.runs import checkpoints
from auface_jax.runs.console import say

PyTree = Any

BATCH_SIZE = 16  # default number of images that one program generates at once

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")


@dataclasses.dataclass(frozen=True)
class Generator:
    """A finished Stage II run, ready to generate images.

    Attributes:
      config: config of the run.
      model: network of Stage II.
      vqgan: networks of Stage I.
      encoders: pre-trained encoders of text and reference.
      weights: {"params", "stage1", "encoders"}, an argument of the compiled programs.
      tokenizer: text tokenizer that the run was trained with.
    """

    config: ml_collections.ConfigDict
    model: VQAUFace
    vqgan: VQGAN
    encoders: Encoders
    weights: PyTree
    tokenizer: Tokenizer
    # Truncated texts that the user was told of already.
    _known_truncated: set[str] = dataclasses.field(default_factory=set, init=False, repr=False)

    @classmethod
    def from_run(cls, run: str | pathlib.Path) -> "Generator":
        """Loads a finished Stage II run, and the Stage I run that it names.

        Args:
          run: folder of the run.

        Raises:
          checkpoints.CheckpointError: the run is not finished, not of Stage II, or was trained with
            another text tokenizer or other encoders; or its Stage I run does not exist, or is not
            the one that it was trained on.
        """
        run = pathlib.Path(run)
        config = checkpoints.load_config(run, task="maskgit")
        tokenizer = load_tokenizer(config.data.tokenizer)
        meta = checkpoints.load_meta(run)
        trained_with = meta["text_tokenizer"]
        if tokenizer.fingerprint != trained_with:
            raise checkpoints.CheckpointError(
                f"{run} was trained with the text tokenizer {trained_with[:12]}, but the tokenizer "
                f"of its config, {config.data.tokenizer or 'the embedded default'!r}, is now "
                f"{tokenizer.fingerprint[:12]}; use the version of this package that trained it"
            )
        vqgan, stage1 = load_vqgan(checkpoints.required_run(run, "stage1"))
        encoders, frozen, fingerprints = load_encoders(config, tokenizer.vocab_size)
        for name, found in fingerprints.items():
            if found != meta[name]:
                raise checkpoints.CheckpointError(
                    f"{run} was trained with the {name} {meta[name][:12]}, but the weights of its "
                    f"config, {config.model[name]!r}, are now {found[:12]}; restore the former ones"
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
        """Generates `num` images of the person in `reference`, as `text` describes.

        Image i depends on `seed` and i, and not on `num`.

        Args:
          reference: see `Request`.
          text: see `Request`.
          labels: see `Request`.
          change: see `Request`.
          num: number of images.
          seed: see `Request`.
          **decode: fields of `DecodeOptions` that replace those of the run's config.

        Raises:
          ValueError: the reference has another size than the run's, an option or the seed is out of
            range, or labels are missing for a run that reads them.
        """
        requests = [Request(reference, text, seed, labels, change)] * num
        return self._in_order(num, self._batches(requests, range(num), BATCH_SIZE, decode))

    def generate(
        self, requests: Sequence[Request], *, batch_size: int = BATCH_SIZE, **decode: float
    ) -> UInt8[np.ndarray, "M S S 3"]:
        """Generates an image for each request, the first one that `__call__` returns for it.

        Args:
          requests: the requests.
          batch_size: number of images that one program generates at once.
          **decode: fields of `DecodeOptions` that replace those of the run's config.

        Raises:
          ValueError: see `__call__`.
        """
        batches = self.generate_batches(requests, batch_size=batch_size, **decode)
        return self._in_order(len(requests), batches)

    def generate_batches(
        self, requests: Sequence[Request], *, batch_size: int = BATCH_SIZE, **decode: float
    ) -> Iterator[tuple[list[int], UInt8[np.ndarray, "B S S 3"]]]:
        """Generates the images of `generate` batch by batch.

        Requests whose texts are in the same bucket of tokens share batches, so that no text is
        padded because of another.

        Args:
          requests: the requests.
          batch_size: number of images that one program generates at once.
          **decode: fields of `DecodeOptions` that replace those of the run's config.

        Yields:
          Indices of some requests, and their images.

        Raises:
          ValueError: see `__call__`; raised before the first batch.
        """
        return self._batches(requests, [0] * len(requests), batch_size, decode)

    def frames(self, request: Request, **decode: float) -> UInt8[np.ndarray, "steps S S 3"]:
        """Returns the image after each decoding iteration; undecided positions are paled."""
        run = functools.partial(frames_batch, self.networks, self._options(decode))
        images = run(self.weights, self._records([request]), picture_keys([request.seed], [0]))
        return np.stack([self._blend(request, image) for image in np.asarray(images)[:, 0]])

    def morph(
        self, first: Request, second: Request, *, frames: int = 16, **decode: float
    ) -> UInt8[np.ndarray, "F S S 3"]:
        """Generates a transition between the images of two requests of one reference and seed.

        Both are sampled from the same noise, and their Stage I vectors are interpolated.

        Args:
          first: request of the first frame.
          second: request of the last frame.
          frames: number of frames.
          **decode: fields of `DecodeOptions` that replace those of the run's config.
        """
        run = functools.partial(morph_batch, self.networks, self._options(decode))
        records = self._records([first, second])
        keys = picture_keys([first.seed] * 2, [0, 0])
        shares = (1 - np.cos(np.linspace(0, np.pi, frames))) / 2  # slow at both ends
        images = run(self.weights, records, keys, shares.astype(np.float32))
        return np.stack([self._blend(first, image) for image in np.asarray(images)])

    def attention(self, reference: Image, text: str) -> list[tuple[str, Float[np.ndarray, "h w"]]]:
        """Computes the AU attention of each sentence of a text to the reference.

        Args:
          reference: image of the person.
          text: description of the face.

        Returns:
          Each sentence and its map, the mean over heads and over the sentence's tokens, which sums
          to 1.

        Raises:
          ValueError: the model has no structure tokens or reads labels.
        """
        if "structure" not in self.model.tokens or self.model.label_tokens:
            raise ValueError(
                "this run has no attention from a text to structure tokens: it reads labels, or "
                "its model.tokens lack 'structure'"
            )
        records = self._records([Request(reference, text)])
        by_token = np.asarray(attention_maps(self.networks, self.weights, records))[0]
        side = round(by_token.shape[1] ** 0.5)
        sentences = _SENTENCE_END.split(text.strip())
        result, start = [], 0
        for number, sentence in enumerate(sentences, start=1):
            beginning = " ".join(sentences[:number])
            mask = self.tokenizer.encode_batch([beginning], self._buckets)[1]
            end = int(mask.sum()) - 1  # without the end token
            if end > start:
                sentence_map = by_token[start:end].mean(0).reshape(side, side)
                result.append((sentence, sentence_map))
            start = end
        return result

    def encode(
        self, texts: Sequence[str]
    ) -> tuple[Int32[np.ndarray, "B L"], Bool[np.ndarray, "B L"]]:
        """Encodes texts by `Tokenizer.encode_batch`, and reports each truncated text once.

        Returns:
          Tokens, and the mask that is True at tokens and False at padding.
        """
        before = self.tokenizer.truncated
        encoded = self.tokenizer.encode_batch(texts, self._buckets)
        if self.tokenizer.truncated > before:
            known = self._known_truncated
            new = {text for text in set(texts) - known if self._is_truncated(text)}
            if new:
                subject = "a text is" if len(new) == 1 else f"{len(new)} texts are"
                longest = f"{max(self._buckets)} tokens, the longest that this run reads"
                say(f"{subject} cut after {longest}")
            known.update(new)
        return encoded

    @property
    def networks(self) -> Networks:
        """First argument of the programs in `stages`."""
        return Networks(self.model, self.vqgan, self.encoders)

    @property
    def _buckets(self) -> tuple[int, ...]:
        """Numbers of tokens that texts are padded to."""
        return tuple(self.config.data.buckets)

    def _options(self, decode: dict[str, Any]) -> DecodeOptions:
        """Returns the options of the config with some fields replaced."""
        return DecodeOptions(**{**self.config.decode, **decode})

    def _batches(
        self,
        requests: Sequence[Request],
        numbers: Sequence[int],
        batch_size: int,
        decode: dict[str, Any],
    ) -> Iterator[tuple[list[int], UInt8[np.ndarray, "B S S 3"]]]:
        """See `generate_batches`; `numbers` counts the images of each seed, see `picture_keys`."""
        run = functools.partial(generate_batch, self.networks, self._options(decode))
        self.encode([request.text for request in requests])  # reports truncated texts in one line
        groups: dict[tuple, list[int]] = collections.defaultdict(list)
        for index, request in enumerate(requests):
            length = self._records([request])["text_tokens"].shape[1]
            groups[length, request.change is None, request.labels is None].append(index)
        for group in groups.values():
            # Few batch sizes, so that few programs are compiled, with at most half of it padding.
            size = min(batch_size, 1 << (len(group) - 1).bit_length())
            for start in range(0, len(group), size):
                indices = group[start : start + size]
                batch = [requests[index] for index in indices]
                keys = picture_keys(
                    [request.seed for request in batch], [numbers[index] for index in indices]
                )
                images = map_batches(run, self.weights, self._records(batch), keys, batch_size=size)
                blended = [self._blend(*pair) for pair in zip(batch, images, strict=True)]
                yield indices, np.stack(blended)

    def _in_order(
        self, count: int, batches: Iterator[tuple[list[int], UInt8[np.ndarray, "B S S 3"]]]
    ) -> UInt8[np.ndarray, "M S S 3"]:
        """Returns all `count` images of `_batches` in the order of the requests."""
        size = self.vqgan.image_size
        images = np.zeros((count, size, size, 3), np.uint8)
        for indices, batch in batches:
            images[indices] = batch
        return images

    def _is_truncated(self, text: str) -> bool:
        """Returns True if the tokenizer truncates the text."""
        before = self.tokenizer.truncated
        self.tokenizer.encode_batch([text], self._buckets)
        return self.tokenizer.truncated > before

    def _records(self, requests: Sequence[Request]) -> dict[str, np.ndarray]:
        """Returns the checked records of `generate_batch`."""
        size = self.vqgan.image_size
        for request in requests:
            if request.reference.shape != (size, size, 3):
                raise ValueError(
                    f"the reference has the shape {request.reference.shape}, this run needs "
                    f"{(size, size, 3)}"
                )
            if self.model.label_tokens and request.labels is None:
                raise ValueError(
                    "this run reads labels and no text: give the units (--aus 6,12, or labels=)"
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

    def _blend(self, request: Request, image: Image) -> Image:
        """Blends the image with the reference, which keeps its pixels outside of `change`."""
        if request.change is None:
            return image
        weight = region_masks.blend_weight(request.change, self.vqgan.image_size)
        mixed = weight * image + (1 - weight) * request.reference
        return np.round(mixed).astype(np.uint8)
