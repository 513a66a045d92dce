"""Stage II: trains VQ-AUFace on image tokens of a frozen Stage I (paper, Stage II).

The loss is masked cross-entropy with a cosine mask schedule. In a fraction of the examples learned
nulls replace the text, the reference or both; guidance and the held-out figures without text or
reference need them.
"""

import dataclasses
import functools
import pathlib

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax
from jaxtyping import Array
from PIL import Image

from auface_jax.data.loading.collate import References, SkippedRecords
from auface_jax.data.loading.example_selection import (
    distinct_examples,
    spread_examples,
    take_examples,
)
from auface_jax.data.shards import built_unaligned
from auface_jax.data.tokenizer import Tokenizer, load_tokenizer
from auface_jax.facs import describe, labels_from_units, load_dictionary
from auface_jax.facs.other_words import load_other_words
from auface_jax.generation import masking
from auface_jax.generation.decode_options import DecodeOptions
from auface_jax.generation.encoders import Encoders, load_encoders
from auface_jax.generation.stage1 import load_vqgan
from auface_jax.generation.stages import (
    Networks,
    build_model,
    generate_batch,
    reference_features,
    tokenize_batch,
)
from auface_jax.images import pixels, sheets
from auface_jax.images.comparison import comparison_sheet
from auface_jax.models.vq_auface import VQAUFace
from auface_jax.models.vqgan import VQGAN
from auface_jax.parallel.map_batches import map_batches
from auface_jax.parallel.sharding import all_gather_parameters, from_first_process
from auface_jax.runs import checkpoints
from auface_jax.runs.console import say
from auface_jax.training.losses import masked_tokens
from auface_jax.training.losses.units import unit_cross_entropy
from auface_jax.training.state import TrainState, apply_gradients
from auface_jax.training.tasks.base import Batch, DataOfRun, Evaluation, PyTree, Task, TaskData
from auface_jax.training.tasks.maskgit_batch import augment, context_dropout
from auface_jax.training.tasks.maskgit_evaluation import (
    TEXT_INPUTS,
    cross_entropies,
    probe_f1,
    unit_scores,
)

# AU combinations that a viewer distinguishes at a glance, some of opposed muscles (1+4, 12+15).
SHOWN_SETS = ((12,), (6, 12), (1, 2), (4,), (1, 4), (15, 17), (12, 15), (10,), (24,))


@dataclasses.dataclass(frozen=True, eq=False)
class MaskGITTask(Task):
    """Trains VQ-AUFace on the tokens of a frozen Stage I.

    Attributes:
      text_tokenizer: the tokenizer of the descriptions.
      vqgan, stage1_weights: the finished Stage I.
      encoders, encoder_weights: the pre-trained encoders of text and reference face that the config
        names.
      encoder_fingerprints: fingerprints of these encoders by name.
    """

    text_tokenizer: Tokenizer
    vqgan: VQGAN
    stage1_weights: PyTree
    encoders: Encoders
    encoder_weights: PyTree
    encoder_fingerprints: dict[str, str]

    progress_metrics = ("loss", "loss_level0")

    @classmethod
    def from_config(cls, config: ml_collections.ConfigDict, num_steps: int) -> "MaskGITTask":
        """Reads Stage I and the pre-trained encoders that the config names."""
        return cls.on_stage1(
            config, num_steps, load_vqgan(pathlib.Path(config.requires.stage1.run))
        )

    @classmethod
    def on_stage1(
        cls, config: ml_collections.ConfigDict, num_steps: int, stage1: tuple[VQGAN, PyTree]
    ) -> "MaskGITTask":
        """Builds the task on a Stage I in memory: its module and its weights.

        Raises:
          ValueError: the token layout does not support an option in `config.speed`.
        """
        tokenizer = load_tokenizer(config.data.tokenizer)
        encoders, weights, fingerprints = load_encoders(config, tokenizer.vocab_size)
        return cls(config, num_steps, tokenizer, *stage1, encoders, weights, fingerprints)

    def __post_init__(self):
        per_step = self.config.speed.quantizers_per_step
        if per_step and not self.config.speed.mask_group:
            raise ValueError(
                f"quantizers_per_step={per_step} needs mask_group, with which logits are computed "
                "for masked tokens alone; set mask_group, or quantizers_per_step=0"
            )
        layout = self.config.model.transformer.layout
        masking.check_quantizers_per_step(per_step, self.vqgan.num_quantizers, layout)

    @property
    def model(self) -> VQAUFace:
        return build_model(self.config, self.vqgan, self.text_tokenizer.vocab_size)

    @property
    def networks(self) -> Networks:
        return Networks(self.model, self.vqgan, self.encoders)

    def data(self, run_data: DataOfRun) -> TaskData:
        """Opens records with faces and descriptions."""
        return run_data.faces(texts=True)

    def fingerprints(self) -> dict[str, str]:
        """Returns the fingerprints of Stage I and of the pre-trained encoders."""
        stage1 = checkpoints.weights_fingerprint(self.stage1_weights)
        return {checkpoints.weights_key("stage1"): stage1} | self.encoder_fingerprints

    def load_frozen(self) -> PyTree:
        """Returns the weights of Stage I and of the pre-trained encoders.

        With `cache_references` the features of every training reference are included, so that they
        are computed once and not in every step.

        Raises:
          ValueError: the config asks for both cached and augmented references.
        """
        if self.encoders.appearance is not None and built_unaligned(self.config.data.dir):
            say(
                f"{self.config.data.dir} was built from pictures as they were cropped, and ArcFace "
                "looks for eyes, nose and mouth where aligned faces have them: build it with "
                "--align landmarks or detector"
            )
        frozen = {"stage1": self.stage1_weights, "encoders": self.encoder_weights}
        if not self.config.get("cache_references", False):
            return frozen
        if self.config.augment.shift or self.config.augment.tint:
            raise ValueError(
                "cache_references=True keeps what is computed of each reference, and augment "
                f"(shift={self.config.augment.shift}, tint={self.config.augment.tint}) makes it "
                "another picture in every step; set one of them to nothing"
            )
        skipped = SkippedRecords(say) if self.config.data.skip_corrupt else None
        references = References(self.config.data.dir, "train", skipped=skipped)
        every = references.all(mirrored=self.config.data.flip)
        dtype = jnp.dtype(self.config.model.dtype)  # the dtype of the layers that read the features

        @jax.jit
        def features(frozen, images):
            made = reference_features(self.vqgan, self.encoders, frozen, pixels.to_float(images))
            return {
                name: value if name == "codes" else value.astype(dtype)
                for name, value in made.items()
            }

        made = map_batches(
            features, jax.device_put(frozen), every, batch_size=self.config.batch_size
        )
        # Processes may differ in the last bit and so in a token; all must train on the same tokens.
        return frozen | {"references": from_first_process(made)}

    def init(self, rng: jax.Array, batch: Batch) -> TrainState:
        """Draws random weights."""
        vqgan, one = self.vqgan, {name: rows[:1] for name, rows in batch.items()}
        tokens = jnp.zeros((1, vqgan.grid**2, vqgan.num_quantizers), jnp.int32)
        reference = pixels.to_float(one["reference"])
        # Only the shapes of the frozen networks' outputs are needed.
        features = jax.eval_shape(
            lambda variables, reference, tokens, mask: {
                **self.encoders.encode_reference(variables, reference),
                **self.encoders.encode_text(variables, tokens, mask),
            },
            *(self.encoder_weights, reference, one["text_tokens"], one["text_mask"]),
        )
        inputs = {name: one[name] for name in ("text_tokens", "text_mask", "labels")}
        inputs |= jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), features)
        params = self.model.init(
            rng,
            tokens,
            tokens == 0,
            **inputs,
            reference=reference,
            reference_latents=jnp.zeros((1, vqgan.grid**2, vqgan.latent_dim)),
            drop_text=jnp.zeros(1, bool),
            drop_reference=jnp.zeros(1, bool),
        )["params"]
        return self.initial_state(params)

    def step(
        self, state: TrainState, frozen: PyTree, batch: Batch, rng: jax.Array
    ) -> tuple[TrainState, dict[str, Array]]:
        """Makes one update of VQ-AUFace; Stage I and the encoders are frozen."""
        c = self.config
        group, quantizers_per_step = c.speed.mask_group, c.speed.quantizers_per_step
        vqgan = self.vqgan
        mask_key, drop_key, augment_key = jax.random.split(rng, 3)
        deal_key = jax.random.fold_in(rng, 3)  # independent of the three keys above
        batch = augment(augment_key, batch, c.augment)
        codes, inputs = tokenize_batch(vqgan, self.encoders, all_gather_parameters(frozen), batch)
        rows, positions, levels = codes.shape
        layout = c.model.transformer.layout
        given = tuple(c.loss.quantizer_weights)  # further levels have the last weight
        level_weights = tuple(given[min(level, len(given) - 1)] for level in range(levels))
        tokens = {"positions": positions, "num_quantizers": levels, "layout": layout}
        tokens["full"] = c.full_mask_prob
        masked = masking.training_mask(mask_key, rows, **tokens, group=group)
        drop_text, drop_reference = context_dropout(drop_key, rows, c.dropout)

        def loss_fn(params):
            variables = {"params": all_gather_parameters(params)}
            drops = {"drop_text": drop_text, "drop_reference": drop_reference}
            context, out = self.model.apply(variables, **inputs, **drops, method="context")
            places, hidden = None, masked
            if group:  # the heads compute logits of masked tokens only
                most = masking.max_masked_tokens(group, **tokens)
                places, hidden = masking.masked_token_indices(
                    masked,
                    group=group,
                    count=most,
                    layout=layout,
                    quantizers_per_step=quantizers_per_step,
                    rng=deal_key,
                )
            logits, targets = self.model.apply(
                variables, codes, masked, context, places, method="logits_at"
            )
            hidden = jnp.broadcast_to(hidden, targets.shape)
            of_tokens, per_level = masked_tokens.masked_cross_entropy(
                logits, targets, hidden, c.label_smoothing, level_weights
            )
            # Without text the units are unknown.
            told = jnp.where(drop_text[:, None], -1, batch["labels"])
            units = unit_cross_entropy(out["unit_logits"], told)
            return of_tokens + c.loss.units * units, (per_level, units)

        (loss, (per_level, units)), gradients = jax.value_and_grad(loss_fn, has_aux=True)(
            state.params
        )
        metrics = {"loss": loss, "loss_units": units, "grad_norm": optax.tree.norm(gradients)}
        metrics |= {f"loss_level{q}": per_level[q] for q in range(levels)}
        return apply_gradients(state, gradients, self.optimizer, c.ema_decay), metrics

    def export(self, state: TrainState) -> PyTree:
        """Returns the averaged parameters."""
        return {"params": state.ema_params}

    # --- Held-out figures and pictures -----------------------------------------------------------

    def sample(self, state: TrainState, frozen: PyTree, splits: dict[str, Batch]) -> dict:
        """Makes a sheet of a few held-out people."""
        test = spread_examples(splits["test"], 8)
        made = self.generate(self.export(state), frozen, test, seed=0)
        return {"generated": comparison_sheet(test, made)}

    def evaluate(self, state: TrainState, frozen: PyTree, splits: dict[str, Batch]) -> Evaluation:
        """Computes cross-entropies with and without each input, unit scores, and sheets."""
        test, weights = splits["test"], self.export(state)
        figures = cross_entropies(
            self.networks,
            drawing_weights(weights, frozen),
            test,
            layout=self.config.model.transformer.layout,
            batch_size=self.config.batch_size,
        )
        made = self.generate(weights, frozen, test, seed=0)
        probe_run = pathlib.Path(self.config.requires.au_probe.run)
        figures |= unit_scores(probe_run, test, made)
        if not self.model.label_tokens:
            other = self.told_otherwise(test)
            drawn = self.generate(weights, frozen, other, seed=2)
            figures["au_f1_generated_other_words"] = probe_f1(probe_run, other, drawn)
        rows = distinct_examples(test, 10)
        sheet = comparison_sheet(take_examples(test, rows), made[rows])
        sets = self.unit_set_sheet(weights, frozen, test)
        notes = {"token_layout": self.config.model.transformer.layout}
        return Evaluation(figures, {"generated": sheet, "unit_sets": sets}, notes)

    def told_otherwise(self, test: Batch) -> Batch:
        """Returns the descriptions of `facs.other_words`, with references of held-out people."""
        other = load_other_words()
        length = tuple(self.config.data.buckets)
        tokens, mask = self.text_tokenizer.encode_batch(other.texts, length)
        people = np.arange(len(other.texts)) % len(test["reference"])
        return {
            "reference": test["reference"][people],
            "text_tokens": tokens,
            "text_mask": mask,
            "labels": other.labels,
        }

    def generate(self, weights: PyTree, frozen: PyTree, records: Batch, seed: int) -> np.ndarray:
        """Generates pictures uint8 [M, H, W, 3] for the references and texts of `records`."""
        options = DecodeOptions(**self.config.decode)
        keys = jax.random.split(jax.random.key(seed), len(records["reference"]))
        return map_batches(
            functools.partial(generate_batch, self.networks, options),
            drawing_weights(weights, frozen),
            {name: records[name] for name in ("reference", *TEXT_INPUTS)},
            np.asarray(jax.random.key_data(keys)),
            batch_size=self.config.batch_size,
        )

    def unit_set_sheet(self, weights: PyTree, frozen: PyTree, test: Batch) -> Image.Image:
        """Makes a sheet of the same AU combinations for several held-out people.

        Each person keeps one reference, so that differences come from the text alone.
        """
        subjects = sorted(set(test["subjects"]))[:5]
        firsts = [test["subjects"].index(subject) for subject in subjects]
        references = test["reference"][firsts]
        rng = np.random.default_rng(0)
        dictionary = load_dictionary(self.config.data.dictionary or None)
        labels = [labels_from_units(units) for units in SHOWN_SETS]
        texts = [describe(row, rng, dictionary) for row in labels]
        tokens, mask = self.text_tokenizer.encode_batch(
            [text for text in texts for _ in subjects], tuple(self.config.data.buckets)[-1:]
        )
        # One call of `generate` pads only one batch; a call for each combination would pad many.
        records = {
            "reference": np.concatenate([references] * len(texts)),
            "text_tokens": tokens,
            "text_mask": mask,
            "labels": np.repeat(labels, len(subjects), axis=0),
        }
        made = self.generate(weights, frozen, records, seed=1)
        columns = [references, *np.split(made, len(texts))]
        titles = ["reference", *("AU" + "+".join(map(str, units)) for units in SHOWN_SETS)]
        scale = max(1, 128 // self.vqgan.image_size)
        return sheets.sheet(columns, titles, list(subjects), scale=scale)


def drawing_weights(weights: PyTree, frozen: PyTree) -> PyTree:
    """Returns the weights for `generate_batch`, without the cached features of references."""
    return {"params": weights["params"], "stage1": frozen["stage1"], "encoders": frozen["encoders"]}
