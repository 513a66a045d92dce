"""CSVs of requests: illegal names, references and bytes are reported line by line."""

import pytest

from auface_jax.generation.request_csv import read_request_csv


def test_output_names_are_compared_as_files(tmp_path):
    path = tmp_path / "jobs.csv"
    path.write_text("text,out\nA smile.,a.png\nA smile.,./a.png\nA smile.,b/../A.png\n")
    with pytest.raises(ValueError, match=r"line 4: out 'b/../A.png' is not the name of a PNG"):
        read_request_csv(str(path), out=tmp_path)
    path.write_text("text,out\nA smile.,a.png\nA smile.,./a.png\nA smile.,A.png\n")
    with pytest.raises(ValueError) as fault:
        read_request_csv(str(path), out=tmp_path)
    assert "line 3: out './a.png' is that of line 2" in str(fault.value)
    assert "line 4: out 'A.png' is that of line 3" in str(fault.value)


def test_outputs_that_would_overwrite_inputs_are_refused(tmp_path):
    for name in ("me.png", "default.png"):
        (tmp_path / name).write_bytes(b"a face")
    (tmp_path / "linked").symlink_to(tmp_path)
    path = tmp_path / "jobs.csv"
    path.write_text("reference,text,out\n,A smile.,me.png\nme.png,A smile.,default.png\n")
    with pytest.raises(ValueError) as fault:
        read_request_csv(
            str(path), out=tmp_path / "linked", also_read=[str(tmp_path / "default.png")]
        )
    for named in ("line 2: out 'me.png'", "line 3: out 'default.png'"):
        assert named in str(fault.value)
    assert len(read_request_csv(str(path), out=tmp_path / "elsewhere")) == 2


def test_unreadable_seeds_and_bytes_are_named(tmp_path):
    path = tmp_path / "jobs.csv"
    path.write_text("text,seed\nA smile.,4294967295\nA smile.,4294967296\n")
    with pytest.raises(ValueError, match="line 3: seed '4294967296' is not a whole number from 0"):
        read_request_csv(str(path), out=tmp_path)
    path.write_bytes("text\nEin Lächeln.\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"jobs.csv: not UTF-8 .*; save it as UTF-8 text"):
        read_request_csv(str(path), out=tmp_path)
    path.write_text("reference;text\nme.png;A smile.\n")
    with pytest.raises(ValueError, match="separate them by commas, not by semicolons"):
        read_request_csv(str(path), out=tmp_path)
    path.write_text("text\n" + "A smile. " * 20_000)
    with pytest.raises(ValueError, match=r"jobs.csv: not a CSV \(field larger than"):
        read_request_csv(str(path), out=tmp_path)
