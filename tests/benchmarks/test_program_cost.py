"""What a step costs: products counted in jaxprs, collectives read from a program's text."""

import textwrap
from collections import Counter
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from benchmarks.program_cost import Collective, bytes_on_a_device, collectives, product_flops


def shape(*dimensions, dtype=np.float32):
    return jax.ShapeDtypeStruct(dimensions, dtype)


# --- FLOPs of products ---------------------------------------------------------------------------

X, W = shape(3, 5), shape(5, 7)
MATMUL = 2 * 3 * 5 * 7


def product(x, w):
    return jnp.square(x @ w).sum()


def test_a_product_is_a_multiplication_and_an_addition_a_term():
    assert product_flops(jnp.matmul, X, W) == MATMUL
    assert product_flops(partial(jnp.einsum, "bij,bjk->bik"), shape(4, 3, 5), shape(4, 5, 7)) == (
        4 * MATMUL
    )
    assert product_flops(partial(jnp.einsum, "hij,jkh->ik"), shape(4, 3, 5), shape(5, 7, 4)) == (
        4 * MATMUL
    )
    assert product_flops(lambda x, w: jnp.sin(x).sum() + w, X, W) == 0


def test_a_gradient_is_two_more_products_and_remat_a_third():
    gradients = jax.grad(product, (0, 1))
    assert product_flops(gradients, X, W) == 3 * MATMUL
    assert product_flops(jax.grad(product), X, W) == 2 * MATMUL
    assert product_flops(jax.jit(gradients), X, W) == 3 * MATMUL
    remat = jax.checkpoint(lambda x, w: jnp.sin(product(x, w)))
    assert product_flops(jax.grad(remat, (0, 1)), X, W) == 4 * MATMUL


@pytest.mark.parametrize("length", [1, 4])
def test_a_loop_counts_as_often_as_it_runs(length):
    def scanned(x, w):
        return jax.lax.scan(lambda c, _: (c @ w, None), x, None, length=length)[0]

    def nested(x, w):
        return jax.lax.scan(lambda c, _: (scanned(c, w), None), x, None, length=3)[0]

    square, once = shape(5, 5), 2 * 3 * 5 * 5
    assert product_flops(scanned, X, square) == length * once
    assert product_flops(nested, X, square) == 3 * length * once
    gradient = jax.grad(lambda x, w: jnp.square(scanned(x, w)).sum(), (0, 1))
    assert product_flops(gradient, X, square) == 3 * length * once
    counted = partial(jax.lax.fori_loop, 0, length, lambda _, c: jnp.sin(c @ c))
    assert product_flops(counted, square) == length * 2 * 5**3
    unknown = partial(jax.lax.while_loop, lambda c: c.sum() < 1, lambda c: c @ c)
    assert product_flops(unknown, square) == 2 * 5**3


def test_of_branches_the_dearest_counts():
    def chosen(n, x, w):
        branches = (lambda: x @ w, lambda: x @ w + (2 * x) @ w, lambda: jnp.zeros((3, 7)))
        return jax.lax.switch(n, branches)

    assert product_flops(chosen, shape(dtype=np.int32), X, W) == 2 * MATMUL


# Strides divide the sizes, so that the gradients of a strided convolution fill their pictures.
CONVOLUTIONS = {
    "plain": ({"window_strides": (1, 1), "padding": "VALID"}, (6, 4)),
    "padded": ({"window_strides": (1, 1), "padding": "SAME"}, (8, 6)),
    "strided": ({"window_strides": (2, 2), "padding": "SAME"}, (4, 3)),
    "dilated": ({"window_strides": (1, 1), "padding": "VALID", "rhs_dilation": (2, 1)}, (4, 4)),
    "grouped": ({"window_strides": (1, 1), "padding": "SAME", "feature_group_count": 2}, (8, 6)),
    "both": ({"window_strides": (2, 1), "padding": "SAME", "feature_group_count": 2}, (4, 6)),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_a_convolution_is_a_product_a_place_and_so_are_its_gradients(name):
    options, (height, width) = CONVOLUTIONS[name]
    groups = options.get("feature_group_count", 1)

    def convolution(x, kernel):
        numbers = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(x, kernel, dimension_numbers=numbers, **options)

    x, kernel = shape(2, 8, 6, 4), shape(3, 3, 4 // groups, 10)
    once = 2 * (2 * height * width * 10) * (3 * 3 * 4 // groups)
    assert product_flops(convolution, x, kernel) == once

    def loss(x, kernel):
        return jnp.square(convolution(x, kernel)).sum()

    found = product_flops(jax.grad(loss, 1), x, kernel)
    assert found == 2 * once
    found = product_flops(jax.grad(loss, (0, 1)), x, kernel)
    if options["padding"] == "SAME":
        assert found == 3 * once
    else:  # the gradient's zeros round the edge are multiplied
        at_inputs = 2 * (2 * 8 * 6 * 4) * (3 * 3 * 10)
        assert found == 2 * once + at_inputs


def test_zeros_between_inputs_are_not_multiplied():
    """A transposed convolution costs what the convolution does whose transpose it is."""
    x, y, kernel = shape(2, 8, 6, 4), shape(2, 4, 3, 10), shape(3, 3, 4, 10)
    numbers = ("NHWC", "HWIO", "NHWC")
    down = partial(
        jax.lax.conv_general_dilated,
        window_strides=(2, 2),
        padding="SAME",
        dimension_numbers=numbers,
    )
    up = partial(
        jax.lax.conv_transpose,
        strides=(2, 2),
        padding="SAME",
        dimension_numbers=numbers,
        transpose_kernel=True,
    )
    assert product_flops(up, y, kernel) == product_flops(down, x, kernel)


# --- Collectives of a program --------------------------------------------------------------------


def program(entry, **computations):
    """The text of a program, a computation an argument."""
    parts = [
        f"%{name} (p: f32[8]) -> f32[8] {{\n{textwrap.indent(body, '  ')}\n}}"
        for name, body in computations.items()
    ]
    parts.append(f"ENTRY %main (p: f32[8]) -> f32[8] {{\n{textwrap.indent(entry, '  ')}\n}}")
    return "HloModule jit_step, is_scheduled=true\n\n" + "\n\n".join(parts)


SUM = "%s = f32[8]{0} all-reduce(%p), channel_id=1, replica_groups={{0,1},{2,3}}, to_apply=%add"
GATHER = "%g = bf16[2,8]{1,0} all-gather(%p), replica_groups=[2,2]<=[4], dimensions={0}"
THE_SUM = Collective("all-reduce", ("f32[8]",), 32, 2)
THE_GATHER = Collective("all-gather", ("bf16[2,8]",), 32, 2)
ADD = "ROOT %a = f32[] add(%p, %p)"


def test_a_program_without_exchanges_has_none():
    text = program("ROOT %x = f32[8]{0} fusion(%p), kind=kLoop, calls=%add", add=ADD)
    assert collectives(text, 4) == Counter()


def test_loops_multiply_what_is_in_them():
    outer = "%y = f32[8] while(%p), condition=%less, body=%inner"
    outer += ', backend_config={"known_trip_count":{"n":"3"}}'
    entry = "%x = f32[8] while(%p), condition=%less, body=%outer"
    known = entry + ', backend_config={"known_trip_count":{"n":"5"},"known_init_step":{}}'
    parts = {"add": ADD, "less": "ROOT %l = pred[] compare(%p, %p), direction=LT"}
    another = SUM.replace("channel_id=1", "channel_id=2")
    parts |= {"inner": f"{SUM}\n{GATHER}", "outer": f"{outer}\n{another}"}
    found = collectives(program(f"{known}\n{GATHER}", **parts), 4)
    assert found == {THE_SUM: 5 * 3 + 5, THE_GATHER: 5 * 3 + 1}
    found = collectives(program(f"{entry}\n{GATHER}", **parts), 4)
    assert found == {THE_SUM: 3 + 1, THE_GATHER: 3 + 1}, "of unknown length: once"
    limit = (
        "%seven = s32[]{:T(128)} constant(7)\nROOT %l = pred[] compare(%i, %seven), direction=LT"
    )
    found = collectives(program(f"{entry}\n{GATHER}", **{**parts, "less": limit}), 4)
    assert found == {THE_SUM: 7 * 3 + 7, THE_GATHER: 7 * 3 + 1}, "as a TPU's program says it"


def test_the_pieces_of_an_exchange_are_one():
    piece = f"ROOT {SUM}"
    calls = "\n".join(f"%x{n} = f32[8] fusion(%p), calls=%piece{n}" for n in range(3))
    parts = {"add": ADD, "piece0": piece, "piece1": piece, "piece2": piece}
    assert collectives(program(calls, **parts), 4) == {THE_SUM: 1}


def test_calls_count_once_each_and_of_branches_that_which_sends_most():
    fused = "%{} = f32[8] fusion(%p), kind=kCustom, calls=%both"
    entry = "\n".join([fused.format("x"), fused.format("y"), "%z = f32[8] call(%p), to_apply=%sum"])
    parts = {"add": ADD, "sum": SUM, "both": f"{SUM}\n{GATHER}", "none": "%n = f32[8] copy(%p)"}
    # The sum in two fusions is one channel's, in pieces.
    assert collectives(program(entry, **parts), 4) == {THE_SUM: 2, THE_GATHER: 2}
    chosen = "%c = f32[8] conditional(%i, %p, %p, %p), branch_computations={%none, %both, %sum}"
    assert collectives(program(chosen, **parts), 4) == {THE_SUM: 1, THE_GATHER: 1}
    chosen = "%c = f32[8] conditional(%i, %p, %p), true_computation=%sum, false_computation=%none"
    assert collectives(program(chosen, **parts), 4) == {THE_SUM: 1}


@pytest.mark.parametrize(
    ("groups", "number"),
    [
        ("replica_groups={{0,4},{1,5},{2,6},{3,7}}", 2),
        ("replica_groups={{0,1,2,3},{4,5,6,7}}", 4),
        ("replica_groups={}", 8),
        ("replica_groups=[4,2]<=[8]", 2),
        ("replica_groups=[2,4]<=[2,4]T(1,0)", 4),
        ("replica_groups=mesh['data'=2,'tensor'=4] {'tensor'}", 4),
        ("replica_groups=mesh['data'=2,'tensor'=4] {'data','tensor'}", 8),
        ("replica_groups=mesh['a'=8] {'a':(2)2}", 2),
    ],
)
def test_groups_of_devices_are_read_in_every_notation(groups, number):
    text = program(f"%s = f32[8]{{0}} all-reduce(%p), channel_id=1, {groups}, to_apply=%add")
    [found] = collectives(text, 8)
    assert found.group == number


@pytest.mark.parametrize(
    ("result", "called", "shapes", "size"),
    [
        ("(f32[4]{0}, bf16[2,3]{1,0})", "all-reduce(%a, %b)", "f32[4] bf16[2,3]", 28),
        ("(f32[4], f32[6])", "all-reduce-start(%a, %b)", "f32[4] f32[6]", 40),
        ("(f32[4], f32[8])", "all-gather-start(%a)", "f32[8]", 32),
        ("((s8[4], f32[]), (s8[8], f32[2]))", "all-gather-start(%a, %b)", "s8[8] f32[2]", 16),
        ("((f32[8]), f32[4], u32[])", "reduce-scatter-start(%a)", "f32[4]", 16),
        (
            "(f32[6]{0:T(128)S(1)}, f32[6]{0:T(128)}, u32[]{:S(2)}, u32[]{:S(2)})",
            "collective-permute-start(f32[6]{0:T(128)S(1)} %a)",
            "f32[6]",
            24,
        ),
        ("(c64[1,4], /*index=1*/c64[1,4])", "all-to-all(%a, %b)", "c64[1,4] c64[1,4]", 64),
    ],
)
def test_an_exchange_is_its_result_whether_or_not_it_is_awaited_later(result, called, shapes, size):
    """What `-start` gives has the operands, the results and what is needed to wait for them."""
    kind = called.partition("(")[0].removesuffix("-start")
    line = f"%x = {result} {called}, channel_id=1, replica_groups={{{{0,1}}}}, dimensions={{0}}"
    done = f"%y = f32[8] {kind}-done(%x)"
    found = collectives(program(f"{line}\n{done}"), 2)
    assert found == {Collective(kind, tuple(shapes.split()), size, 2): 1}


def test_bytes_sent_are_those_of_a_ring():
    """A sum is a scatter of sums and a gather of what each device has then."""

    def sent(kind, size):
        return Collective(kind, (), size, 4).sent

    whole, part = 4096, 1024
    assert sent("reduce-scatter", part) == sent("all-gather", whole) == 3 * part
    assert sent("all-reduce", whole) == sent("reduce-scatter", part) + sent("all-gather", whole)
    assert sent("all-to-all", whole) == 3 * part and sent("collective-permute", whole) == whole
    assert Collective("all-reduce", (), whole, 1).sent == 0


@pytest.fixture
def mesh():
    return Mesh(np.array(jax.devices()[:2]), "d", axis_types=(AxisType.Auto,))


def test_xla_s_own_text_is_understood(mesh):
    def body(x):
        x, _ = jax.lax.scan(lambda c, _: (jax.lax.psum(0.5 * c, "d"), None), x, None, length=5)
        x = jax.lax.cond(x.sum() > 0, lambda x: jax.lax.psum(2 * x, "d"), jnp.sin, x)
        gathered = jax.lax.all_gather(x, "d")
        return jax.lax.ppermute(jax.lax.psum_scatter(gathered, "d"), "d", [(0, 1), (1, 0)])

    mapped = jax.jit(
        jax.shard_map(body, mesh=mesh, in_specs=P("d"), out_specs=P("d"), check_vma=False)
    )
    text = mapped.lower(shape(8, 4)).compile().as_text()
    found = Counter()
    for one, count in collectives(text, 2).items():
        assert one.group == 2
        found[one.kind, one.size] += count
    rows = 4 * 4 * 4
    assert found == {
        ("all-reduce", rows): 5 + 1,
        ("all-gather", 2 * rows): 1,
        ("reduce-scatter", rows): 1,
        ("collective-permute", rows): 1,
    }


def test_a_product_of_split_rows_and_columns_is_summed_once(mesh):
    """No `shard_map`: XLA itself finds what has to be exchanged."""
    rows, whole = NamedSharding(mesh, P("d")), NamedSharding(mesh, P())
    columns = NamedSharding(mesh, P(None, "d"))
    split = jax.jit(jnp.matmul, in_shardings=(columns, rows), out_shardings=whole)
    found = collectives(split.lower(shape(4, 6), shape(6, 8)).compile().as_text(), 2)
    assert found == {Collective("all-reduce", ("f32[4,8]",), 128, 2): 1}


def test_bytes_on_a_device_are_those_of_its_part(mesh):
    tree = {"split": shape(8, 6), "whole": [shape(5, dtype=jnp.bfloat16), shape(dtype=np.int32)]}
    split, whole = NamedSharding(mesh, P("d")), NamedSharding(mesh, P())
    part, everything = bytes_on_a_device(tree, {"split": split, "whole": [whole, whole]})
    assert everything == 8 * 6 * 4 + 5 * 2 + 4
    assert part == 4 * 6 * 4 + 5 * 2 + 4
