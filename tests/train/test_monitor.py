from types import SimpleNamespace

from espnet2_supernet.train.monitor import EpochMonitor

COUNTS = dict.fromkeys(["parameters", "nonzero", "prunable", "prunable_nonzero"], 1)


def make_model(**more):
    supernet = SimpleNamespace(subnets={"server": None}, counts=lambda *_: dict(COUNTS))
    return SimpleNamespace(supernet=supernet, pruner=None, **more)


def test_pretraining_is_told_in_one_line(tmp_path, capsys):
    monitor = EpochMonitor(make_model(), tmp_path, 4)
    valid = {"loss": 2.5, "loss_server": 2.0, "accuracy_server": 0.25}
    valid |= {"code_perplexity_0": 31.04, "code_perplexity_1": 12.0}
    monitor.epoch_done(1, {1: {"train": {"loss": 3.0}, "valid": valid}})
    told = capsys.readouterr().out
    assert told == (tmp_path / "progress.log").read_text()
    assert "server: loss 2, accuracy 25.0 % | code perplexity 31.0, 12.0 |" in told


def test_warnings_of_the_model_are_told(tmp_path, capsys, caplog):
    model = make_model(epoch_warnings=lambda stats: [f"collapsed at {stats['loss']}"])
    EpochMonitor(model, tmp_path, 4).epoch_done(1, {1: {"valid": {"loss": 0.5}}})
    assert capsys.readouterr().out.splitlines()[1] == "warning: collapsed at 0.5"
    assert caplog.messages == ["collapsed at 0.5"]
    EpochMonitor(model, tmp_path, 4, is_main=False).epoch_done(2, {2: {"valid": {"loss": 0.5}}})
    assert capsys.readouterr().out == ""
