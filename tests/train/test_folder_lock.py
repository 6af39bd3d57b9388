"""The lock on an experiment folder."""

import errno
import fcntl
import logging
import multiprocessing
import os

import pytest

from espnet2_supernet.errors import CheckpointError
from espnet2_supernet.train.folder_lock import LOCK_FILE, locked_folder


def test_a_second_one_is_refused_until_the_first_is_done(tmp_path):
    folder = tmp_path / "exp"
    with locked_folder(folder):
        with pytest.raises(CheckpointError, match=rf"exp: process {os.getpid()} on .*output_dir"):
            with locked_folder(folder):
                raise AssertionError("two at once")
        with locked_folder(tmp_path / "other"):
            pass
    with pytest.raises(KeyError), locked_folder(folder):
        raise KeyError("an error releases it, too")
    with locked_folder(folder):
        assert [file.name for file in folder.iterdir()] == [LOCK_FILE]


def test_a_forked_process_does_not_hold_the_lock(tmp_path):
    context = multiprocessing.get_context("fork")
    ready, wait = context.Event(), context.Event()
    with locked_folder(tmp_path):
        child = context.Process(target=lambda: (ready.set(), wait.wait(60)))
        child.start()
        assert ready.wait(60)
        with pytest.raises(CheckpointError), locked_folder(tmp_path):
            raise AssertionError("the child has released its parent's lock")
    with locked_folder(tmp_path):  # the child is alive
        pass
    wait.set()
    child.join()
    assert child.exitcode == 0


def test_a_file_system_without_locks_is_told_about(tmp_path, monkeypatch, caplog):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with caplog.at_level(logging.WARNING), locked_folder(tmp_path):
        assert "no lock (No locks available)" in caplog.text
