"""Stages 1 to 5 for real, on a corpus of beeps in LibriSpeech layout."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

WORDS = ("ONE TWO THREE", "FOUR FIVE", "SIX SEVEN EIGHT NINE", "TEN")


@pytest.fixture
def corpus(tmp_path) -> Path:
    """Six readers with four utterances of half a second to a second each."""
    subset = tmp_path / "corpus/LibriSpeech/my-train"
    generator = np.random.default_rng(0)
    for reader in range(1, 7):
        chapter = subset / str(reader) / "10"
        chapter.mkdir(parents=True)
        lines = []
        for number, words in enumerate(WORDS):
            name = f"{reader}-10-{number:04d}"
            samples = 0.1 * generator.standard_normal(8000 + 2000 * number)
            soundfile.write(chapter / f"{name}.flac", samples, 16000)
            lines.append(f"{name} {words}\n")
        (chapter / f"{reader}-10.trans.txt").write_text("".join(lines))
    return tmp_path / "corpus"


def options(*more: str) -> list[str]:
    data = "--partial true --train_subsets my-train --held_out_speakers 2"
    fixed = {"local_data_opts": data, "test_sets": "dev", "token_type": "char", "nj": "1"}
    fixed |= {"stop_stage": "5", "speed_perturb_factors": "", "python": sys.executable}
    return [word for name, value in fixed.items() for word in (f"--{name}", value)] + list(more)


def ids(path: Path) -> set[str]:
    return {line.split()[0] for line in path.read_text().splitlines()}


def test_a_partial_corpus_with_held_out_readers(egs, corpus, run):
    recipe = egs / "librispeech_100/supernet1"
    env = {"LIBRISPEECH": str(corpus)}
    done = run("./run.sh", *options("--max_wav_duration", "0.8"), cwd=recipe, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    raw = recipe / "dump/raw"
    train, dev = ids(raw / "org/train_clean_100/wav.scp"), ids(raw / "org/dev/wav.scp")
    assert len(train) == 16 and len(dev) == 8
    assert not {name.split("-")[0] for name in train} & {name.split("-")[0] for name in dev}
    assert len(ids(raw / "train_clean_100/text")) == 12, "utterances over 0.8 s are filtered"
    tokens = (recipe / "data/en_token_list/char/tokens.txt").read_text().split()
    assert tokens[:2] == ["<blank>", "<unk>"] and tokens[-1] == "<sos/eos>"

    again = run("./run.sh", *options("--max_wav_duration", "0.8"), cwd=recipe, env=env)
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("up to date") == 6
    other = run("./run.sh", *options("--max_wav_duration", "2"), cwd=recipe, env=env)
    assert other.stdout.count("up to date") == 3, "filter and tokens are made anew"
    assert len(ids(raw / "train_clean_100/text")) == 16


def test_pretraining_needs_no_text_and_few_labels_are_taken_from_every_speaker(egs, corpus, run):
    recipe = egs / "librispeech_100/supernet1"
    untold = recipe / "data/untold"
    untold.mkdir(parents=True)
    first = next(corpus.rglob("1-10-0000.flac"))
    (untold / "wav.scp").write_text(f"extra-1 {first}\nextra-2 {first}\n")
    more = ("--label_fraction", "0.5", "--speed_perturb_factors", "0.9 1.0")
    more += ("--ssl_train_sets", "train_clean_100_sp untold_sp")
    env = {"LIBRISPEECH": str(corpus)}
    done = run("./run.sh", *options(*more), cwd=recipe, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    dump = recipe / "dump"
    joined = dump / "audio/train_clean_100_sp+untold_sp"
    assert len(ids(joined / "wav.scp")) == 2 * (16 + 2)
    assert not list((dump / "audio").rglob("text"))
    few = [
        name.removeprefix("sp0.9-") for name in ids(dump / "raw/train_clean_100_labels0.5_sp/text")
    ]
    assert sorted(few) == sorted(2 * list(ids(recipe / "data/train_clean_100_labels0.5/text")))
    assert sorted(name.split("-")[0] for name in set(few)) == sorted(
        2 * sorted({name.split("-")[0] for name in ids(recipe / "data/train_clean_100/text")})
    )
    assert (recipe / "data/en_token_list/char_labels0.5/tokens.txt").exists()
    again = run("./run.sh", *options(*more), cwd=recipe, env=env)
    assert again.returncode == 0 and "format" not in again.stderr

    clash = ("--ssl_train_sets", "train_clean_100 train_clean_100_again")
    shutil.copytree(recipe / "data/train_clean_100", recipe / "data/train_clean_100_again")
    done = run("./run.sh", *options(*clash), cwd=recipe, env=env)
    assert done.returncode == 1
    assert re.search(
        r"audio/train_clean_100_again: utterance '\S+' is already in dump/raw/train_clean_100$",
        done.stderr,
        re.MULTILINE,
    )


def test_a_corpus_without_any_text(egs, corpus, run):
    recipe = egs / "librispeech_100/supernet1"
    for name in ("untold", "untold_dev"):
        (recipe / "data" / name).mkdir(parents=True)
        lines = (f"{name}-{path.stem} {path}\n" for path in corpus.rglob("*-0001.flac"))
        (recipe / "data" / name / "wav.scp").write_text("".join(sorted(lines)))
    sets = ("--train_set", "", "--valid_set", "untold_dev", "--ssl_train_sets", "untold")
    more = (*sets, "--test_sets", "", "--max_wav_duration", "0.8")
    done = run("./run.sh", *options(*more), cwd=recipe, env={"LIBRISPEECH": str(corpus)})
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Stage 4" in done.stdout and "Stage 5" not in done.stdout
    audio = recipe / "dump/audio"
    assert len(ids(audio / "untold/wav.scp")) == len(ids(audio / "untold_dev/wav.scp")) == 6
    assert not (recipe / "dump/raw").exists()


def test_a_corpus_that_is_not_there(egs, run, tmp_path):
    recipe = egs / "librispeech_100/supernet1"
    done = run("./run.sh", *options(), cwd=recipe, env={"LIBRISPEECH": str(tmp_path / "absent")})
    assert done.returncode == 1
    assert f"LIBRISPEECH={tmp_path / 'absent'} does not exist" in done.stderr
    done = run("./run.sh", "--stage", "1", cwd=egs / "an4/supernet1", env={"AN4": "/absent/an4"})
    assert done.returncode == 1
    assert "AN4=/absent/an4 does not exist" in done.stderr


def test_damaged_audio_stops_the_recipe_and_is_named(egs, corpus, run):
    recipe = egs / "librispeech_100/supernet1"
    for path in corpus.rglob("1-10-0002.flac"):
        path.write_bytes(path.read_bytes()[:100])
    done = run("./run.sh", *options(), cwd=recipe, env={"LIBRISPEECH": str(corpus)})
    assert done.returncode != 0
    assert "1-10-0002" in done.stdout + done.stderr
    assert not (recipe / "dump/raw/org/train_clean_100/.done").exists()
