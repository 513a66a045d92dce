"""Laws of the conversion of weights: strict both ways, nothing unpickled, nothing lost."""

import json
import pickle

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from flax import linen as nn
from safetensors.numpy import save_file

from auface_jax.pretrained import convert, tables, weight_files
from auface_jax.pretrained.tables import (
    BATCH_COUNTERS,
    Network,
    Rule,
    batch_norm_rules,
    conv_rules,
    linear_rules,
)
from tests.helpers.parity import import_torch


class Small(nn.Module):
    """Network of a convolution, a batch norm and a linear layer on the flattened features."""

    width: int
    classes: int = 2
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x):
        x = nn.Conv(self.width, (3, 3), use_bias=False, dtype=self.dtype, name="stem")(x)
        x = nn.BatchNorm(use_running_average=True, name="norm")(x)
        x = nn.relu(x).reshape(x.shape[0], -1)
        return nn.Dense(self.classes, dtype=self.dtype, name="head")(x)


SMALL = Network(
    module=Small,
    inputs=(jax.ShapeDtypeStruct((1, 4, 6, 3), jnp.float32),),
    fields=lambda source: {"width": source.shape("stem.weight")[0]},
    rules=(
        *conv_rules("stem", "stem"),
        *batch_norm_rules("bn", "norm"),
        Rule(r"fc\.weight", "params/head/kernel", tables.linear_over(4, 6)),
        Rule(r"fc\.bias", "params/head/bias"),
    ),
    ignored=(BATCH_COUNTERS, r"aux\..*"),
)


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setitem(convert.NETWORKS, "small", f"{__name__}:SMALL")


def tensors(width=5, dtype=np.float32):
    rng = np.random.default_rng(0)
    shapes = {
        "stem.weight": (width, 3, 3, 3),
        "bn.weight": (width,),
        "bn.bias": (width,),
        "bn.running_mean": (width,),
        "bn.running_var": (width,),
        "fc.weight": (2, width * 4 * 6),
        "fc.bias": (2,),
        "aux.weight": (7,),
    }
    arrays = {key: rng.uniform(0.5, 2, shape).astype(dtype) for key, shape in shapes.items()}
    return arrays | {"bn.num_batches_tracked": np.array(9)}


def saved(path, **overrides):
    save_file({**tensors(), **overrides}, path)
    return path


def test_table_maps_keys_to_leaves():
    arrays = tensors()
    module, variables = convert.to_variables(SMALL, weight_files.from_arrays(arrays))
    assert module == Small(width=5)
    np.testing.assert_array_equal(
        variables["params"]["stem"]["kernel"], arrays["stem.weight"].transpose(2, 3, 1, 0)
    )
    norm, statistics = variables["params"]["norm"], variables["batch_stats"]["norm"]
    for leaf, key in [
        (norm["scale"], "bn.weight"),
        (norm["bias"], "bn.bias"),
        (statistics["mean"], "bn.running_mean"),
        (statistics["var"], "bn.running_var"),
    ]:
        np.testing.assert_array_equal(leaf, arrays[key])


def test_linear_over_reads_features_in_flax_order():
    rng = np.random.default_rng(1)
    features, weight = rng.normal(size=(2, 5, 4, 6)), rng.normal(size=(3, 5 * 4 * 6))
    theirs = features.reshape(2, -1) @ weight.T
    ours = features.transpose(0, 2, 3, 1).reshape(2, -1) @ tables.linear_over(4, 6)(weight)
    np.testing.assert_allclose(ours, theirs)


def test_linear_and_pointwise_agree():
    weight = np.random.default_rng(2).normal(size=(3, 5))
    for axes in (1, 2):
        kernel = tables.pointwise(weight.reshape(3, 5, *(1,) * axes))
        np.testing.assert_array_equal(kernel, tables.linear(weight))
        np.testing.assert_array_equal(
            kernel, tables.conv(weight.reshape(3, 5, *(1,) * axes)).squeeze()
        )


def test_conversion_lists_all_faults_in_one_message():
    arrays = tensors()
    del arrays["fc.bias"]
    arrays["bn.bias"] = np.zeros(6, np.float32)
    arrays["bn.weight"] = np.zeros(5, np.int32)
    arrays["bn.running_var"] = np.full(5, np.nan, np.float32)
    arrays["stem.bias"] = np.zeros(5, np.float32)
    arrays["fc.weight"] = np.zeros((2, 7), np.float32)
    arrays["body.weight"] = np.zeros(3, np.float32)
    with pytest.raises(convert.ConversionError) as caught:
        convert.to_variables(SMALL, weight_files.from_arrays(arrays, "mine.pth"))
    message = str(caught.value)
    assert message.startswith("mine.pth does not fit Small, 7 faults:")
    for part in [
        "'bn.bias' [6] does not fit 'params/norm/bias': it becomes [6], the module has [5]",
        "'bn.weight' [5] does not fit 'params/norm/scale': it is int32, the module has float32",
        "5 of its 5 values are not finite",
        "'stem.bias' [5] goes to 'params/stem/bias', which the module does not have",
        "7 inputs are not C x 4 x 6",
        "'body.weight' [3] is matched by no rule and not ignored",
        "leaf 'params/head/bias' [2] is filled by no source key",
    ]:
        assert part in message
    assert len(message.split("\n")) == 8


def test_ambiguous_keys_and_doubly_filled_leaves_are_faults():
    twice = Network(
        **{**SMALL.__dict__, "rules": (*SMALL.rules, *linear_rules("fc", "head"))},
    )
    with pytest.raises(convert.ConversionError, match=r"'fc\.bias' \[2\] is matched by 2 rules"):
        convert.to_variables(twice, weight_files.from_arrays(tensors()))
    doubled = Network(
        **{**SMALL.__dict__, "rules": (*SMALL.rules, Rule("fc2", "params/head/bias"))},
    )
    arrays = tensors() | {"fc2": np.zeros(2, np.float32)}
    with pytest.raises(convert.ConversionError, match=r"which 'fc\.bias' fills already"):
        convert.to_variables(doubled, weight_files.from_arrays(arrays))


def test_source_of_another_network_names_the_missing_key():
    arrays = {"encoder.weight": np.zeros(3)}
    with pytest.raises(ValueError, match=r"no key 'stem\.weight'.*encoder\.weight"):
        convert.to_variables(SMALL, weight_files.from_arrays(arrays))


def test_converted_folder_loads_without_the_source(tmp_path):
    source = saved(tmp_path / "source.safetensors")
    folder = convert.convert("small", source, tmp_path / "out")
    module, variables = convert.to_variables(SMALL, weight_files.open_source(source))
    source.unlink()
    loaded = convert.load(folder, "small")
    assert loaded.module == module and loaded.network == "small"
    jax.tree.map(np.testing.assert_array_equal, loaded.variables, variables)
    image = np.ones((2, 4, 6, 3), np.float32)
    assert np.isfinite(loaded.module.apply(loaded.variables, image)).all()
    assert convert.load(folder, dtype=jnp.bfloat16).module.dtype == jnp.bfloat16


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float64], ids=str)
def test_files_keep_half_precision_and_variables_are_float32(tmp_path, dtype):
    arrays = tensors(dtype=dtype)
    source = tmp_path / "low.safetensors"
    save_file(arrays, source)
    folder = convert.convert("small", source, tmp_path / "out")
    leaves = weight_files.open_source(folder / convert.WEIGHTS)
    kept = np.float32 if dtype == np.float64 else dtype
    assert {leaves.read(key).dtype for key in leaves.shapes} == {np.dtype(kept)}
    variables = convert.load(folder).variables
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {np.dtype(np.float32)}
    np.testing.assert_array_equal(
        variables["params"]["norm"]["scale"], arrays["bn.weight"].astype(np.float32)
    )


def test_sharded_folder_equals_one_file(tmp_path):
    arrays = tensors()
    keys = sorted(arrays)
    shards = {"a.safetensors": keys[:4], "b.safetensors": keys[4:]}
    for name, part in shards.items():
        save_file({key: arrays[key] for key in part}, tmp_path / name)
    index = {"weight_map": {key: name for name, part in shards.items() for key in part}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    source = weight_files.open_source(tmp_path)
    assert source.shapes == {key: array.shape for key, array in arrays.items()}
    for key, array in arrays.items():
        np.testing.assert_array_equal(source.read(key), array)
    (tmp_path / "b.safetensors").unlink()
    with pytest.raises(weight_files.WeightFileError, match=r"do not exist: b\.safetensors"):
        weight_files.open_source(tmp_path)


def test_fingerprint_depends_on_the_contents(tmp_path):
    one = saved(tmp_path / "w.safetensors")
    first = weight_files.open_source(one).fingerprint()
    assert weight_files.open_source(saved(one)).fingerprint() == first
    changed = tensors()["fc.bias"] + 1e-6
    other = weight_files.open_source(saved(one, **{"fc.bias": changed})).fingerprint()
    assert other != first and len(first) == 64
    assert convert.load(convert.convert("small", one, tmp_path / "o")).fingerprint == other


def test_load_refuses_folders_that_do_not_fit(tmp_path):
    source = saved(tmp_path / "w.safetensors")
    with pytest.raises(convert.ConversionError, match=r"the published weights first.*small"):
        convert.load(tmp_path, "small")
    folder = convert.convert("small", source, tmp_path / "out")
    with pytest.raises(convert.ConversionError, match="holds the network 'small', not 't5'"):
        convert.load(folder, "t5")
    with pytest.raises(
        convert.ConversionError,
        match=r"2 faults:\n  'params/head/bias': the file has \[2\], the module \[3\]",
    ):
        convert.load(folder, classes=3)
    described = json.loads((folder / convert.DESCRIPTION).read_text())
    (folder / convert.DESCRIPTION).write_text(json.dumps({**described, "format_version": 0}))
    with pytest.raises(convert.ConversionError, match="format 0"):
        convert.load(folder)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.pth", None, "there is no file"),
        ("text.csv", "1,2", "neither .safetensors nor"),
    ],
)
def test_paths_without_weights_are_refused(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(weight_files.WeightFileError, match=message):
        weight_files.open_source(tmp_path / name)
    with pytest.raises(weight_files.WeightFileError, match=r"holds none of model\.safetensors"):
        weight_files.open_source(tmp_path)


def test_command_converts_and_reports_errors_in_one_line(tmp_path, capsys):
    source = saved(tmp_path / "w.safetensors")
    arguments = ["small", str(source), str(tmp_path / "out"), "--field", "classes=2"]
    convert.main(arguments)
    assert "small, 397 values, from" in capsys.readouterr().out
    with pytest.raises(SystemExit) as caught:
        convert.main([*arguments[:-1], "classes=3"])
    assert caught.value.code == 1
    assert "2 faults" in capsys.readouterr().err


def test_every_registered_network_exists():
    for name in convert.NETWORKS:
        network = convert.find_network(name)
        assert network.rules and callable(network.fields)
    with pytest.raises(ValueError, match="'t6' is unknown; known are"):
        convert.find_network("t6")


@pytest.mark.parity
def test_torch_checkpoints_are_read_wrapped_or_bare(tmp_path):
    torch = import_torch()
    state = {key: torch.from_numpy(np.asarray(array)) for key, array in tensors().items()}
    low = {key: tensor.bfloat16() for key, tensor in state.items()}
    wrapped = {"state_dict": {f"module.{key}": tensor for key, tensor in state.items()}, "epoch": 3}
    for name, saved_object in [("bare", state), ("wrapped", wrapped), ("low", low)]:
        torch.save(saved_object, tmp_path / f"{name}.pth")
        source = weight_files.open_source(tmp_path / f"{name}.pth")
        assert source.shapes.keys() == state.keys()
        expected = (low if name == "low" else state)["stem.weight"].float().numpy()
        np.testing.assert_array_equal(source.read("stem.weight").astype(np.float32), expected)
    torch.save({"epoch": 3}, tmp_path / "empty.pth")
    with pytest.raises(weight_files.WeightFileError, match="no table of tensors.*epoch"):
        weight_files.open_source(tmp_path / "empty.pth")


class Payload:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


@pytest.mark.parity
def test_torch_checkpoint_runs_no_code(tmp_path):
    torch = import_torch()
    marker = tmp_path / "ran"
    torch.save({"weight": torch.zeros(1), "more": Payload(str(marker))}, tmp_path / "bad.pth")
    with pytest.raises(weight_files.WeightFileError, match="tensors and plain containers alone"):
        weight_files.open_source(tmp_path / "bad.pth")
    (tmp_path / "old.pth").write_bytes(pickle.dumps(Payload(str(marker)), protocol=2))
    with pytest.raises(weight_files.WeightFileError):
        weight_files.open_source(tmp_path / "old.pth")
    assert not marker.exists()
