"""What `generate` refuses before it loads a run, which therefore need not be there."""

import pytest

from auface_jax import generate

RUN = ("--run", "runs/none")


def refused(capsys, *arguments):
    with pytest.raises(SystemExit) as stopped:
        generate.main([*RUN, *arguments])
    assert stopped.value.code == 2
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--aus", "6,99"), "99"),
        (("--text", "  "), "--text is empty"),
        (("--aus", "6", "--num", "0"), "--num 0"),
        (("--aus", "6", "--text", "both"), "not allowed with"),
        ((), "required"),
        (("--aus", "6C,12"), "give every unit a degree"),
        (("--aus", "6", "--to-aus", "4"), "make a GIF"),
        (("--aus", "6", "--to-aus", "4,98", "--out", "a.gif"), "98"),
        (("--aus", "6", "--level-steps", "3,many"), "'3,many' are no iterations"),
        (("--aus", "6"), "runs/none does not exist"),
    ],
)
def test_bad_requests_are_refused_with_the_bad_value(capsys, arguments, message):
    assert message in refused(capsys, *arguments)


def test_jobs_refuse_at_once_what_no_line_of_theirs_can_honour(capsys):
    message = refused(
        capsys,
        *("--jobs", "jobs.csv", "--out", "made.gif"),
        *("--num", "9", "--seed", "3", "--explain", "why.png", "--to-aus", "4"),
    )
    for fault in (
        "--num 9 has no effect with --jobs: write a line for each picture",
        "--seed 3 has no effect with --jobs: write it in the column seed",
        "--explain why.png has no effect with --jobs: give the text or the units of that line",
        "--to-aus 4 has no effect with --jobs: ",
        "--out made.gif has an ending",
    ):
        assert fault in message
    assert message.count("has no effect") == 4 and "is none" not in message
    message = refused(capsys, "--jobs", "jobs.csv", "--to-text", "A smile.")
    assert "--to-text A smile. has no effect with --jobs" in message
    assert "--jobs writes to a folder: name it by --out" in message
    # The others are heard: nothing is wrong but the run.
    message = refused(
        capsys,
        *("--jobs", "jobs.csv", "--out", "made", "--reference", "S01"),
        *("--reference-aligned", "--change", "mouth", "--steps", "1", "--guidance", "2"),
    )
    assert "runs/none does not exist" in message


def test_a_gif_is_of_one_picture(capsys):
    message = refused(capsys, "--aus", "6", "--num", "2", "--seed", "-1", "--out", "a.gif")
    assert "--num 2 has no effect on a GIF" in message and "--seed -1: at least 0" in message
