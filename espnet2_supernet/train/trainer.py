"""ESPnet's trainer with masks on a schedule and checkpoints that survive."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from espnet2.iterators.abs_iter_factory import AbsIterFactory
from espnet2.train import trainer as host
from espnet2.train.trainer import Trainer

from espnet2_supernet.damon.rules import warn_of_moving_frames
from espnet2_supernet.errors import CheckpointError, ConfigError
from espnet2_supernet.sparsity.pruner import Pruner
from espnet2_supernet.train.averaging import average_nbest_models
from espnet2_supernet.train.checkpoint import atomic_save
from espnet2_supernet.train.monitor import EpochMonitor, HistoryPlot, PlotFunction
from espnet2_supernet.train.repair import repair_links
from espnet2_supernet.train.reporter import SupernetReporter

# Attribute of a model whose masks were given, so that no schedule has to estimate them
MASKS_ARE_FINAL = "masks_are_final"


class SupernetTrainer(Trainer):
    """Trains a supernet.

    What it adds to ESPnet's trainer: it tells the pruner how many updates there will be; writes
    checkpoints atomically; refuses those of another configuration; ranks and averages only
    epochs whose masks are final; reports sparsity and subnet sizes after every epoch.

    Attributes:
        layer_plot: Draws the sparsity of the layers after every epoch; set by the task.
        history_plot: Draws the statistics of all epochs after every epoch; likewise.
    """

    layer_plot: PlotFunction | None = None
    history_plot: HistoryPlot | None = None

    @classmethod
    def run(
        cls,
        model: torch.nn.Module,
        optimizers: Sequence[torch.optim.Optimizer],
        schedulers: Sequence[Any],
        train_iter_factory: AbsIterFactory,
        valid_iter_factory: AbsIterFactory,
        plot_attention_iter_factory: AbsIterFactory | None,
        trainer_options: Any,
        distributed_option: Any,
    ) -> None:
        """Train; the arguments are those of :meth:`espnet2.train.trainer.Trainer.run`.

        Raises:
            ConfigError: If the number of updates cannot be known, or one process has several GPUs.
            CheckpointError: If a checkpoint cannot be written or resumed.
        """
        _refuse_data_parallel(distributed_option)
        is_main = not distributed_option.distributed or distributed_option.dist_rank == 0
        monitor = EpochMonitor(
            model,
            trainer_options.output_dir,
            trainer_options.max_epoch,
            is_main,
            cls.layer_plot,
            cls.history_plot,
        )
        pruner = monitor.pruner
        if pruner is not None:
            _plan_pruning(pruner, model, count_updates(train_iter_factory, trainer_options))
        _look_over(model, trainer_options, is_main)
        with _host_replaced(monitor):
            super().run(
                model=model,
                optimizers=optimizers,
                schedulers=schedulers,
                train_iter_factory=train_iter_factory,
                valid_iter_factory=valid_iter_factory,
                plot_attention_iter_factory=plot_attention_iter_factory,
                trainer_options=trainer_options,
                distributed_option=distributed_option,
            )
        if pruner is not None and not pruner.finished:
            _tell_unfinished(pruner, monitor)

    @staticmethod
    def resume(checkpoint: str | Path, model: torch.nn.Module, *args: Any, **kwargs: Any) -> None:
        """Continue from a checkpoint; the arguments are those of ESPnet's trainer.

        Raises:
            CheckpointError: If it is damaged or belongs to another configuration.
        """
        pruner = getattr(model, "pruner", None)
        planned = None if pruner is None else int(pruner.total_steps)
        try:
            Trainer.resume(checkpoint, model, *args, **kwargs)
        except CheckpointError:
            raise
        except Exception as error:  # whatever unpickling or load_state_dict may raise
            reason = " ".join(str(error).split())[:300]
            raise CheckpointError(
                f"{checkpoint}: cannot resume ({type(error).__name__}: {reason}). It is damaged "
                "or belongs to another configuration; restore the configuration, or delete the "
                "file to start again, or choose another --output_dir"
            ) from error
        if pruner is not None and int(pruner.total_steps) != planned:
            logging.warning(
                f"This run would make {planned} updates, the checkpoint was planned for "
                f"{int(pruner.total_steps)}: the pruning schedule stays as planned"
            )
        repair_links(Path(checkpoint).parent, model, kwargs["reporter"].get_epoch())

    @classmethod
    def train_one_epoch(
        cls,
        model: torch.nn.Module,
        iterator: Iterable[Any],
        optimizers: Sequence[torch.optim.Optimizer],
        **kwargs: Any,
    ) -> bool:
        """Train one epoch from clean gradients.

        Without this, gradients of an incomplete accumulation (``accum_grad``) would leak into the
        next epoch, and a resumed run would differ from an uninterrupted one.

        Raises:
            ConfigError: If no update was made; ESPnet would end the training as if it were done.
        """
        for optimizer in optimizers:
            optimizer.zero_grad()
        nothing_learnt = super().train_one_epoch(
            model=model, iterator=iterator, optimizers=optimizers, **kwargs
        )
        if nothing_learnt:
            raise ConfigError(
                "no update was made in this epoch: every gradient was not finite, or accum_grad "
                "exceeds the batches of an epoch. Look for samples that are not numbers (validate "
                "the data), lower the learning rate or accum_grad; the last checkpoint is kept"
            )
        return False


def _look_over(model: torch.nn.Module, options: Any, is_main: bool) -> None:
    """Tell DDP of parameters that a step may not use, and the user of what should not learn."""
    if may_leave_parameters_unused(model):
        options.unused_parameters = True
    if is_main:
        warn_of_moving_frames(model)


def _refuse_data_parallel(option: Any) -> None:
    """Refuse ``torch.nn.DataParallel``, which ESPnet takes for several GPUs in one process.

    It copies the modules for every batch. A subnet would be activated in the original alone, so
    that the copies would train the dense full network under the subnet's name.
    """
    if not option.distributed and option.ngpu > 1:
        raise ConfigError(
            f"ngpu: {option.ngpu} GPUs need one process each: add --multiprocessing_distributed "
            "true, or use --ngpu 1"
        )


def _plan_pruning(pruner: Pruner, model: torch.nn.Module, num_updates: int) -> None:
    # --init_param may have brought the end of another training's schedule
    pruner.reset()
    pruner.set_total_steps(num_updates)
    if getattr(model, MASKS_ARE_FINAL, False):
        pruner.skip_to_end()


def _tell_unfinished(pruner: Pruner, monitor: EpochMonitor) -> None:
    message = (
        f"warning: training ended at update {int(pruner.step)}, before the pruning schedule did: "
        "the masks have not reached their sparsity. Train longer, or lower "
        "supernet_conf.schedule.end"
    )
    logging.warning(message)
    monitor.say(message)


def may_leave_parameters_unused(model: torch.nn.Module) -> bool:
    """Return whether a step may leave out some parameters, which DistributedDataParallel must know.

    Args:
        model: Model with ``supernet_config``.
    """
    config = getattr(model, "supernet_config", None)
    if config is None:
        return False
    has_own_parameters = config.layer_norm == "per_subnet" or any(
        subnet.depth is not None or subnet.own_head for subnet in config.subnets.values()
    )
    return has_own_parameters and set(config.sampling.always) != set(config.subnets)


def count_updates(train_iter_factory: AbsIterFactory, options: Any) -> int:
    """Return how many optimiser updates a whole training makes.

    Args:
        train_iter_factory: Builds the batches of an epoch.
        options: ESPnet's trainer options; ``max_epoch`` and ``accum_grad`` are used.

    Raises:
        ConfigError: If the iterator has no length.
    """
    try:
        iterations = len(train_iter_factory.build_iter(1))  # type: ignore[arg-type]
    except TypeError as error:
        raise ConfigError(
            "supernet_conf.schedule needs the number of updates, but this iterator_type has no "
            "length: use iterator_type: sequence"
        ) from error
    return max(1, options.max_epoch * (iterations // max(1, options.accum_grad)))


class _TorchWithAtomicSave:
    """Stands for the module ``torch`` inside ESPnet's trainer; only ``save`` is ours."""

    save = staticmethod(atomic_save)

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)


@contextmanager
def _host_replaced(monitor: EpochMonitor) -> Iterator[None]:
    """Replace three names in the namespace of ESPnet's trainer module, and nowhere else."""
    names = {
        "torch": _TorchWithAtomicSave(),
        "average_nbest_models": average_nbest_models,
        "Reporter": lambda: SupernetReporter(monitor),
    }
    saved = {name: getattr(host, name) for name in names}
    try:
        for name, value in names.items():
            setattr(host, name, value)
        yield
    finally:
        for name, value in saved.items():
            setattr(host, name, value)
