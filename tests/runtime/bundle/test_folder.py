"""Bundles on the disk: what is written is read, and nothing else."""

import json
import os
import subprocess

import numpy as np
import pytest

from espnet2_supernet.errors import CheckpointError
from espnet2_supernet.runtime.bundle import file_digest, read_bundle, write_bundle
from espnet2_supernet.runtime.bundle.block_matrix import BlockMatrix


def edit(folder, change):
    """Change ``bundle.json`` and mend the checksum: a mistake, not an accident."""
    path = folder / "bundle.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    lines = [line.split("  ") for line in (folder / "SHA256SUMS").read_text().splitlines()]
    sums = "".join(f"{file_digest(folder / name)}  {name}\n" for _, name in lines)
    (folder / "SHA256SUMS").write_text(sums)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_what_is_written_is_read(make_bundle, tmp_path, precision):
    bundle = make_bundle(precision=precision)
    sizes = write_bundle(tmp_path, bundle, {"note.json": {"a": 1}})
    assert sizes == {p.name: p.stat().st_size for p in tmp_path.iterdir()}
    found = read_bundle(tmp_path, allow_untrained=True)
    assert found.description == bundle.description
    assert found.weights.keys() == bundle.weights.keys()
    for name, value in bundle.weights.items():
        if isinstance(value, BlockMatrix):
            assert (value.scales is not None) == (precision == "int8" and "filters" not in name)
            np.testing.assert_array_equal(value.to_dense(), found.weights[name].to_dense())
        else:
            assert found.weights[name].dtype == np.float32
            np.testing.assert_array_equal(value.astype(np.float32), found.weights[name])
    before = (tmp_path / "weights.npz").read_bytes()
    write_bundle(tmp_path, bundle)
    assert (tmp_path / "weights.npz").read_bytes() == before  # equal weights, equal bytes


def test_keys_that_came_later_are_there_only_where_they_say_something(make_bundle, tmp_path):
    """So that older programs read all other bundles, and refuse these."""
    for tokens, expected in ((None, False), ("downsample", True)):
        write_bundle(tmp_path, make_bundle("ahead", tokens=tokens))
        content = json.loads((tmp_path / "bundle.json").read_text())
        assert ("keep_rule" in content) == expected
        assert not {"key_size", "value_size"} & set(content["encoder"])


def test_coreutils_check_the_sums(written):
    done = subprocess.run(["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=written, timeout=60)
    assert done.returncode == 0


@pytest.mark.parametrize("name", ["weights.npz", "bundle.json", "SHA256SUMS"])
def test_a_missing_file_is_named(written, name):
    (written / name).unlink()
    with pytest.raises(CheckpointError, match=f"{name}.*cannot be read"):
        read_bundle(written, allow_untrained=True)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(CheckpointError, match="no such bundle folder"):
        read_bundle(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match="no bundle"):
        read_bundle(tmp_path)


@pytest.mark.parametrize("keep", [0, 1, 0.5, 0.999])
def test_truncated_weights(written, keep):
    path = written / "weights.npz"
    os.truncate(path, keep if keep in (0, 1) else int(keep * path.stat().st_size))
    with pytest.raises(CheckpointError, match="weights.npz: truncated or edited"):
        read_bundle(written, allow_untrained=True)


def test_one_changed_bit(written):
    path = written / "weights.npz"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="weights.npz: truncated or edited"):
        read_bundle(written, allow_untrained=True)


def test_an_edited_description(written):
    path = written / "bundle.json"
    path.write_text(path.read_text().replace('"chunk_size": 4', '"chunk_size": 8'))
    with pytest.raises(CheckpointError, match="bundle.json: truncated or edited"):
        read_bundle(written, allow_untrained=True)
    path.write_text(path.read_text()[:100])
    with pytest.raises(CheckpointError, match="bundle.json: truncated or edited"):
        read_bundle(written, allow_untrained=True)


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_another_version(written, version):
    edit(written, lambda content: content.update(version=version))
    with pytest.raises(CheckpointError, match=f"bundle version {version!r}, this program reads 1"):
        read_bundle(written, allow_untrained=True)


def test_another_format(written):
    edit(written, lambda content: content.update(format="zip"))
    with pytest.raises(CheckpointError, match="not the description of a bundle"):
        read_bundle(written, allow_untrained=True)


def test_an_untrained_subnet(written):
    with pytest.raises(CheckpointError, match="subnet 'device' was not trained"):
        read_bundle(written)
    assert not read_bundle(written, allow_untrained=True).description.source.trained


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(colour="red"), r"unknown keys \['colour'\]"),
        (lambda c: c["features"].pop("fs"), r"missing keys \['fs'\]"),
        (lambda c: c["features"].update(fs="16000"), "fs: wanted int, got '16000'"),
        (lambda c: c["features"].update(norm_means=1), "norm_means: wanted bool"),
        (lambda c: c.update(precision="fp8"), "precision: 'fp8' is not one of"),
        (lambda c: c.update(subsampling="none"), "subsampling: 'none' is not one of"),
        (lambda c: c["predictor"].update(rnn_type="rnn"), "rnn_type: 'rnn' is not one of"),
        (lambda c: c.update(ctc=False, predictor=None), "neither a CTC head nor an RNN-T"),
        (lambda c: c["tokens"].update(token_list=["a", 1]), "token_list: wanted a list of str"),
        (lambda c: c["encoder"].update(heads=[2, 3, 4]), "heads: 3 sizes for 2 blocks"),
        (lambda c: c.update(source=[]), "source: a block of keys is expected"),
        (lambda c: c.update(keep_rule={"kind": "loud"}), "keep_rule.kind: wanted one of salad"),
        (lambda c: c.update(keep_rule={"king": "salad"}), r"keep_rule: unknown keys \['king'\]"),
        (
            lambda c: c.update(keep_rule={"kind": "downsample", "before_block": 9}),
            "keep_rule.before_block: wanted one of 2 blocks",
        ),
        (
            lambda c: c.update(keep_rule={"kind": "downsample", "restore_before_block": 3}),
            "keep_rule.restore_before_block: wanted one of 2 blocks",
        ),
    ],
)
def test_a_wrong_description_is_named(written, change, message):
    edit(written, change)
    with pytest.raises(CheckpointError, match=message):
        read_bundle(written, allow_untrained=True)
