"""Ablations of Stage II: removed inputs, and the required runs of each variant."""

import functools
import pathlib

import jax
import pytest

from auface_jax.data.tokenizer import load_tokenizer
from auface_jax.models.vq_auface import FACE_TOKENS
from auface_jax.runs import config_files, required_runs
from tests.helpers import tiny


@functools.cache
def ablated(change):
    """Builds a variant's task and state, a batch, and a function of changes to that batch.

    The function returns the loss and the gradient norm of a step on the changed batch.
    """
    config = tiny.stage2_config()
    variant = f"quickstart,ablation={change}"
    module = config_files.load_config_file(tiny.CONFIGS / "stage2.py", variant)
    with config.unlocked():
        config.model.update({name: module.model[name] for name in ("input", "tokens")})
        config.optimizer.muon_lr_multiplier = 0.0  # the tests compare the state before any update
    task = tiny.stage2_task(config)
    batch = tiny.records(4, vocab_size=load_tokenizer("").vocab_size)
    state, frozen = tiny.random_state(task, batch), {"stage1": task.stage1_weights, "encoders": {}}
    step = jax.jit(task.step)

    def losses(**other):
        _, metrics = step(state, frozen, batch | other, jax.random.key(5))
        return float(metrics["loss"]), float(metrics["grad_norm"])

    return task, state, batch, losses


PARTS = {
    "structure": {"au_attention", "null_structure"},
    "appearance": {"appearance_in", "fusion", "null_appearance"},
    "reference": {"reference_in", "null_reference"},
}


@pytest.mark.parametrize("change", ["no_structure", "no_appearance", "no_reference", "no_face"])
def test_removed_inputs_have_no_parameters(change):
    task, state, *_ = ablated(change)
    names = set(state.params)
    for token in FACE_TOKENS:
        assert (PARTS[token] <= names) == (token in task.model.tokens)
        assert bool(PARTS[token] & names) == (token in task.model.tokens)
    assert ("face" in names) == bool({"structure", "appearance"} & set(task.model.tokens))
    blocks = [part for name, part in state.params["maskgit"].items() if name.startswith("blocks")]
    for block in blocks:
        assert ("reference_attention" in block) == ("reference" in task.model.tokens)


@pytest.mark.slow
def test_ablation_no_face_depends_on_the_text_alone():
    _, _, batch, losses = ablated("no_face")
    assert losses(reference=batch["reference"][::-1]) == losses()
    assert losses(text_tokens=batch["text_tokens"][::-1]) != losses()


@pytest.mark.slow
def test_ablation_labels_depends_on_labels_and_not_on_the_text():
    task, state, batch, losses = ablated("labels")
    assert task.model.label_tokens == 64  # the number of tokens of a text
    assert state.params["labels"]["out"]["kernel"].shape[-1] == tiny.TEXT_FIELDS["d_model"]
    assert "text" not in state.params
    other = {"text_tokens": batch["text_tokens"][::-1], "text_mask": ~batch["text_mask"]}
    assert losses(**other) == losses()
    assert losses(labels=1 - batch["labels"]) != losses()


def test_variants_have_their_own_folders_and_share_stage1():
    def completed(variant):
        config = config_files.load_config_file(tiny.CONFIGS / "stage2.py", variant)
        preset = variant.split(",")[0]
        workdir = pathlib.Path(f"runs/stage2-{preset}{required_runs.suffix(config)}")
        requires = required_runs.complete(config, "stage2", workdir).requires
        return workdir.name, requires.stage1.run, requires.au_probe.run

    quickstart = ("runs/stage1-quickstart", "runs/au_probe-quickstart")
    assert completed("quickstart") == ("stage2-quickstart", *quickstart)
    assert completed("quickstart,ablation=labels") == ("stage2-quickstart-labels", *quickstart)
    name, stage1_run, probe = completed("quickstart,ablation=no_face,anatomical=on")
    assert name == "stage2-quickstart-no_face-anatomical"
    assert (stage1_run, probe) == ("runs/stage1-quickstart-anatomical", quickstart[1])
    assert completed("paper,anatomical=off")[1] == "runs/stage1-paper-no_anatomical"
    assert completed("paper,anatomical=on") == completed(
        "paper"
    )  # the preset has this loss already
    with pytest.raises(ValueError, match=r"'ablation=no' is no variant; legal are .*no_structure"):
        config_files.load_config_file(tiny.CONFIGS / "stage2.py", "quickstart,ablation=no")


def test_variant_with_a_changed_stage1_trains_it(tmp_path):
    config = config_files.load_config_file(tiny.CONFIGS / "stage2.py", "quickstart,anatomical=on")
    required_runs.complete(config, "stage2", tmp_path / "stage2-quickstart-anatomical")
    trained = {}
    required_runs.train_requirements(
        config, tiny.CONFIGS, lambda config, run: trained.update({run.name: config})
    )
    assert set(trained) == {"stage1-quickstart-anatomical", "au_probe-quickstart"}
    made = trained["stage1-quickstart-anatomical"]
    assert made.loss.anatomical == 0.015  # the weight of the preset `paper`
    assert made.anatomical.run == "runs/au_image_loss-quickstart"
    plain = tiny.load_config("stage1")
    assert made.loss.recon == plain.loss.recon and plain.loss.anatomical == 0.0
