from espnet2_supernet.train.reporter import MASKS_FINAL, SupernetReporter


class FakeMonitor:
    """Masks are final from epoch 3 on."""

    def __init__(self):
        self.epoch, self.seen = 0, []

    def epoch_stats(self):
        self.epoch += 1
        return {MASKS_FINAL: float(self.epoch >= 3), "sparsity_device": 0.1 * self.epoch}

    def epoch_done(self, epoch, history):
        self.seen.append((epoch, history[epoch]["valid"]["sparsity_device"]))


def run_epochs(losses) -> SupernetReporter:
    reporter = SupernetReporter(FakeMonitor())
    for epoch, loss in enumerate(losses, 1):
        reporter.set_epoch(epoch)
        for key in ("train", "valid"):
            with reporter.observe(key) as phase:
                phase.register({"loss": loss}, 1)
                phase.next()
    return reporter


def test_only_epochs_with_final_masks_are_ranked():
    reporter = run_epochs([1.0, 0.5])
    assert reporter.sort_epochs("valid", "loss", "min") == [2, 1]  # none is final yet: all count
    reporter = run_epochs([1.0, 0.5, 3.0, 2.0])
    assert reporter.sort_epochs("valid", "loss", "min") == [4, 3]
    assert reporter.sort_epochs("valid", "loss", "max") == [3, 4]
    assert reporter.get_best_epoch("valid", "loss", "min") == 4


def test_not_a_number_is_worst():
    reporter = run_epochs([1.0, 1.0, float("nan"), 2.0])
    assert reporter.sort_epochs("valid", "loss", "min") == [4, 3]


def test_training_never_stops_early_while_pruning():
    assert not run_epochs([1.0, 2.0]).check_early_stopping(0, "valid", "loss", "min")
    assert run_epochs([9.0, 9.0, 1.0, 2.0]).check_early_stopping(0, "valid", "loss", "min")


def test_statistics_of_the_epoch_reach_the_log_and_the_checkpoint():
    reporter = run_epochs([1.0])
    assert reporter.get_value("valid", "sparsity_device") == 0.1
    assert "sparsity_device=0.100" in reporter.log_message()
    assert reporter.state_dict()["stats"][1]["valid"][MASKS_FINAL] == 0.0
    assert reporter._monitor.seen == [(1, 0.1)]
