"""Loads the teacher of representation learning and checks that a student can copy it."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from espnet2.tasks.asr import frontend_choices

from espnet2_supernet.encrl.model import SupernetEncRLModel
from espnet2_supernet.encrl.teacher import FrozenTeacher
from espnet2_supernet.errors import CheckpointError, ConfigError
from espnet2_supernet.runtime.bundle import file_digest
from espnet2_supernet.tasks.asr import SupernetASRTask
from espnet2_supernet.tasks.loading import read_config
from espnet2_supernet.tasks.starting import differing_tokens
from espnet2_supernet.tasks.transfer import completed


def attach_teacher(args: argparse.Namespace, student: SupernetEncRLModel) -> None:
    """Give a new student the teacher that its options name.

    Args:
        args: Training options; ``teacher_sha256`` is checked, or filled in when None, so that
            ``config.yaml`` tells which file taught.
        student: The student, built with the same options.

    Raises:
        CheckpointError: If a file is missing, or is not what its hash says.
        ConfigError: If teacher and student do not fit each other, naming what differs.
    """
    where = args.teacher_model_file
    if not where:
        raise ConfigError("teacher_model_file: not given; encrl_train copies a trained recogniser")
    check_digest(args)
    _, options = read_config(args.teacher_config_file, where)
    _check_options(options, args, where)
    model, _ = SupernetASRTask.build_model_from_file(args.teacher_config_file, where)
    try:
        teacher = FrozenTeacher(model, args.teacher_subnet)
    except ConfigError as error:
        raise ConfigError(f"teacher_model_file: {where}: {error}") from error
    _check_models(teacher, student, where)
    student.set_teacher(teacher)


def check_digest(args: argparse.Namespace) -> None:
    """Compare the teacher's file with ``teacher_sha256``, or note its digest there.

    Raises:
        CheckpointError: If the file is missing or another one.
    """
    path = Path(args.teacher_model_file)
    if not path.is_file():
        raise CheckpointError(f"teacher_model_file: {path}: no such file; train the teacher first")
    digest = file_digest(path)
    if args.teacher_sha256 and args.teacher_sha256 != digest:
        raise CheckpointError(
            f"teacher_model_file: {path} is not the file that teacher_sha256 names: its SHA-256 "
            f"begins with {digest[:12]}, not {args.teacher_sha256[:12]}; restore the file, or "
            "leave teacher_sha256 out to learn from this one"
        )
    args.teacher_sha256 = digest


def _check_options(teacher: Mapping[str, Any], args: argparse.Namespace, where: str) -> None:
    """Refuse a teacher with other tokens or features.

    Raises:
        ConfigError: Naming every option that differs.
    """
    differing = differing_tokens(teacher["token_list"], args.token_list)
    for name in ("frontend", "normalize"):
        if teacher.get(name) != getattr(args, name):
            differing.append(f"{name} was {teacher.get(name)}, is {getattr(args, name)}")
    class_ = frontend_choices.get_class(args.frontend)
    before = completed(class_, teacher.get("frontend_conf"))
    after = completed(class_, args.frontend_conf)
    for key in sorted(before.keys() | after.keys()):
        if before.get(key) != after.get(key):
            differing.append(f"frontend_conf.{key} was {before.get(key)}, is {after.get(key)}")
    if differing:
        raise ConfigError(
            f"{where}: teacher and student must hear the same features and know the same tokens: "
            f"{'; '.join(differing)}"
        )


def _check_models(teacher: FrozenTeacher, student: SupernetEncRLModel, where: str) -> None:
    """Refuse a teacher whose frames or statistics differ, or which is smaller.

    Raises:
        ConfigError: Naming what differs.
    """
    factors = [m.encoder.subsampling_factor for m in (teacher.model, student)]
    if factors[0] != factors[1]:
        raise ConfigError(
            f"{where}: encoder_conf.subsampling: a frame of the teacher has {factors[0]} features, "
            f"one of the student {factors[1]}; frames are compared one by one"
        )
    blocks = [
        teacher.model.supernet.num_layers(teacher.subnet.name),
        max(map(student.supernet.num_layers, student.supernet.subnets)),
    ]
    if blocks[1] > blocks[0]:
        raise ConfigError(
            f"encoder_conf.num_blocks: the student has {blocks[1]} blocks, its teacher {blocks[0]} "
            f"({where}): lower num_blocks, or choose a larger teacher_model_file or teacher_subnet"
        )
    if student.normalize is None:
        return
    for name in ("mean", "std"):
        pair = [getattr(m.normalize, name, torch.zeros(0)) for m in (teacher.model, student)]
        if not torch.allclose(pair[0].double(), pair[1].double(), rtol=1e-4, atol=1e-5):
            raise ConfigError(
                f"normalize_conf.stats_file: {name} differs from the teacher's ({where}); give "
                "the statistics that the teacher was trained with"
            )
