"""Descriptions, other dictionaries, and the command `describe`."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest

from auface_jax import facs
from auface_jax.describe import main
from auface_jax.facs import descriptions

DICTIONARY = facs.load_dictionary()


def test_describe_uses_one_text_of_every_construct():
    rng = np.random.default_rng(0)
    labels = facs.labels_from_units([1, 10, 12, 15])
    text = facs.describe(labels, rng)
    for name in facs.constructs(labels):
        assert sum(variant in text for variant in DICTIONARY.constructs[name]) == 1
    said = [t for n in facs.constructs(labels) for t in DICTIONARY.constructs[n] if t in text]
    assert text == " ".join(said)  # in the order of the constructs


def test_describe_depends_on_its_seed_and_reaches_every_text():
    labels = facs.labels_from_units([12, 15])
    assert facs.describe(labels, np.random.default_rng(3)) == facs.describe(
        labels, np.random.default_rng(3)
    )
    drawn = {facs.describe(labels, np.random.default_rng(seed)) for seed in range(60)}
    assert drawn == set(DICTIONARY.constructs["AU12+AU15"])


def test_face_without_units_gets_a_neutral_text():
    drawn = {facs.describe(np.zeros(12), np.random.default_rng(seed)) for seed in range(60)}
    assert drawn == set(DICTIONARY.neutral)


def test_describe_constructs_refuses_an_unknown_construct():
    with pytest.raises(ValueError, match="AU12.AU6"):
        facs.describe_constructs(["AU12+AU6"], np.random.default_rng(0))


# --- Another dictionary.


def written(tmp_path, change=lambda content: None):
    content = {
        "schema_version": 1,
        "language": "xx",
        "neutral": [f"neutral {i}" for i in range(5)],
        "constructs": {n: [f"{n} väriänt {i}" for i in range(5)] for n in facs.CONSTRUCT_NAMES},
    }
    change(content)
    path = tmp_path / "dictionary.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_describe_uses_another_dictionary(tmp_path):
    dictionary = facs.load_dictionary(written(tmp_path))
    text = facs.describe(facs.labels_from_units([6, 12]), np.random.default_rng(0), dictionary)
    assert re.fullmatch(r"AU6\+AU12 väriänt \d", text)
    assert facs.describe(np.zeros(12), np.random.default_rng(0), dictionary).startswith("neutral")


def test_all_faults_of_a_dictionary_are_listed_at_once(tmp_path):
    def spoil(content):
        table = content["constructs"]
        content["schema_version"] = 2
        content["texts"] = {}
        content["neutral"][4] = " neutral 0"
        table["AU12+AU6"] = table.pop("AU6+AU12")
        table["AU1"].pop()
        table["AU2"][1] = table["AU4"][0]
        table["AU4"][2] = 7
        table["AU7"] = "one text"
        table["AU10"][3] = "  "
        table["AU14"][0] = "two\nlines"

    with pytest.raises(facs.DictionaryError) as error:
        facs.load_dictionary(written(tmp_path, spoil))
    expected = [
        "schema_version is 2",
        "unknown key 'texts'",
        r"neutral\[4\] begins or ends with white space",
        r"neutral\[4\] repeats the text of neutral\[0\]",
        r"unknown construct 'AU12\+AU6' \(did you mean",
        r"missing construct AU6\+AU12",
        "AU1 has 4 texts",
        r"AU4\[0\] repeats the text of AU2\[1\]|AU2\[1\] repeats the text of AU4\[0\]",
        r"AU4\[2\] is 7, not a text",
        "AU7 is 'one text', not a list",
        r"AU10\[3\] is blank",
        r"AU14\[0\] holds control characters",
    ]
    assert len(error.value.faults) == len(expected)
    for pattern in expected:
        assert any(re.search(pattern, fault) for fault in error.value.faults), pattern
        assert re.search(pattern, str(error.value))


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"", "not a UTF-8 JSON file"),
        (b"\xff\xfe{", "not a UTF-8 JSON file"),
        (b"[]", "holds a JSON list"),
        (b"{}", "missing key 'constructs'"),
        (b'{"constructs": 3}', "constructs is a int"),
        (b'{"neutral": [], "neutral": []}', "key 'neutral' is given more than once"),
    ],
)
def test_invalid_dictionary_files_are_refused(data, fault):
    with pytest.raises(facs.DictionaryError, match=fault):
        descriptions.parse_dictionary(data, source="test")


def test_missing_dictionary_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere.json"):
        facs.load_dictionary(tmp_path / "nowhere.json")


# --- The command.


def test_command_prints_constructs_and_text():
    arguments = ["-m", "auface_jax.describe", "--aus", "6,12,15", "--seed", "1"]
    out = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=True)
    constructs, text = out.stdout.splitlines()
    assert constructs == "constructs: AU6+AU12+AU15"
    assert text in DICTIONARY.constructs["AU6+AU12+AU15"]


def test_command_describes_a_neutral_face_with_another_dictionary(tmp_path, capsys):
    main(["--aus", "", "--dictionary", str(written(tmp_path))])
    assert re.fullmatch(r"constructs: none \(neutral face\)\nneutral \d\n", capsys.readouterr().out)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--aus", "6,13"], "unknown action unit 13"),
        (["--aus", "6", "--seed", "-1"], "--seed is -1"),
        (["--aus", "6", "--dictionary", "nowhere.json"], "no dictionary file"),
    ],
)
def test_command_refuses_invalid_arguments_with_a_reason(arguments, message, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2 and message in capsys.readouterr().err
