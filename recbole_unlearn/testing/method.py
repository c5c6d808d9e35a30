"""What every unlearning method must hold to."""

import copy
import inspect
import itertools
import os
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from recbole_unlearn.cost import Cost
from recbole_unlearn.data.request import Request
from recbole_unlearn.evaluator.evaluator import UnlearningEvaluator
from recbole_unlearn.evaluator.stages import costed_stages
from recbole_unlearn.method import Stage, Unlearner
from recbole_unlearn.model import Recommender
from recbole_unlearn.model_file import load_model, save_model
from recbole_unlearn.sequence.requests import following
from recbole_unlearn.task import UnlearningData
from recbole_unlearn.testing.runs import Run, fixture, prepared_run, scores, tiny_config

OF_TEST = {"test", "test_data", "observed"}
OF_REQUEST = {"request", "remaining", "remaining_graph"}


class Watched:
    """The data of a run, which notes what a method reads of them.

    Attributes:
        read: names since the last :meth:`take`.
    """

    def __init__(self, data: UnlearningData) -> None:
        self._data, self.read = data, set[str]()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        self.read.add(name)
        return getattr(self._data, name)

    def take(self) -> set[str]:
        """The names read since the last call."""
        read, self.read = self.read, set()
        return read


@dataclass
class Done:
    """A method after its work.

    Args:
        run: what it was given.
        method: prepared.
        prepared: what ``prepare`` returned.
        stages: its results with their costs.
        read: names of the data that ``prepare``, and then ``unlearn``, read.
        before: deep copy of what the run held before.
        settings: those of the run before.
    """

    run: Run
    method: Unlearner
    prepared: float
    stages: list[tuple[Stage, Cost]]
    read: tuple[set[str], set[str]]
    before: list[torch.Tensor] = field(repr=False)
    settings: dict[str, Any] = field(repr=False)

    @classmethod
    def of(cls, method: type[Unlearner], run: Run) -> "Done":
        """Prepare and unlearn."""
        before, settings = copy.deepcopy(run.content()), run.config.as_dict()
        data = Watched(run.data)
        worker = method(run.config, data, run.original)
        data.take()
        prepared = worker.prepare()
        of_prepare = data.take()
        stages = list(costed_stages(worker, run.config["device"]))
        return cls(run, worker, prepared, stages, (of_prepare, data.take()), before, settings)

    def scores(self) -> dict[str, torch.Tensor]:
        """Scores by the name of the stage."""
        return {stage.name: scores(stage.model) for stage, _ in self.stages}


class MethodContract:
    """Checks of one method. Subclass it as ``class TestMine(MethodContract): method = MyMethod``.

    Attributes:
        method: a registered class.
        backbone: a registered backbone's name.
        settings: what differs from :func:`~recbole_unlearn.testing.runs.tiny_settings`.
    """

    method: type[Unlearner]
    backbone = "LightGCN"
    settings: Mapping[str, Any] = {}

    @fixture(scope="class")
    @classmethod
    def run(cls, tmp_path_factory: Any) -> Iterator[Run]:
        """The trained original and its data; the checks work in a folder of their own."""
        name = cls.method.__name__
        settings = {"unlearn_methods": name, **cls.settings}
        with tiny_config(tmp_path_factory.mktemp(name), cls.backbone, settings) as config:
            yield prepared_run(config)

    @fixture(scope="class")
    @classmethod
    def done(cls, run: Run) -> Done:
        """The method after its work, which the checks read."""
        return Done.of(cls.method, run)

    def test_preparing_sees_no_request(self, done: Done) -> None:
        read = sorted(done.read[0] & (OF_REQUEST | OF_TEST))
        assert not read, f"{self.method.__name__}.prepare reads data.{', data.'.join(read)}: the request comes later"

    def test_unlearning_sees_no_test_data(self, done: Done) -> None:
        read = sorted(done.read[1] & OF_TEST)
        assert not read, f"{self.method.__name__}.unlearn reads data.{', data.'.join(read)}"

    def test_prepare_and_unlearn_are_timed_apart(self, done: Done) -> None:
        name = self.method.__name__
        assert done.prepared is not None and done.prepared >= 0, (
            f"{name}.prepare returns {done.prepared!r}, not the seconds of earlier runs (0.0 if there are none)"
        )
        assert inspect.isgenerator(done.method.unlearn()), (
            f"{name}.unlearn must yield its stages: what it does before is not timed"
        )
        assert done.stages and all(stage.seconds_before >= 0 for stage, _ in done.stages)
        for (_, earlier), (stage, later) in itertools.pairwise(done.stages):
            assert later.seconds >= earlier.seconds or not stage.continues

    def test_results_are_finite(self, done: Done) -> None:
        run = done.run
        for stage, _ in done.stages:
            metrics, _ = UnlearningEvaluator(run.config, run.data, run.original).evaluate(stage.model)
            finite = scores(stage.model).isfinite().all() and np.isfinite(list(metrics.values())).all()
            assert finite, f"{self.method.__name__} {stage.name} has scores or metrics that are not finite: {metrics}"

    def test_what_it_is_given_stays_as_it_is(self, done: Done) -> None:
        same = all(torch.equal(old, new) for old, new in zip(done.before, done.run.content(), strict=True))
        assert same, f"{self.method.__name__} changes the original model or the data: work on original.revised(...)"
        assert done.run.config.as_dict() == done.settings, f"{self.method.__name__} changes the settings"

    def test_its_graphs_hold_no_forgotten_edge(self, done: Done) -> None:
        """It forgets at least what DropEdges forgets."""
        request = done.run.data.request
        for stage, _ in done.stages:
            if isinstance(stage.model, Recommender):
                held = stage.model.graph.contains(request.users, request.items)
                assert not held.any(), f"{self.method.__name__} {stage.name}: the result's graph has forgotten edges"

    def test_another_run_is_equal(self, done: Done) -> None:
        """Other global random streams and another folder change nothing."""
        torch.manual_seed(1)
        np.random.seed(1)
        random.seed(1)
        run = done.run
        folder = os.path.join(run.config["checkpoint_dir"], "another")
        again = Done.of(self.method, replace(run, config=run.config.replace(checkpoint_dir=folder)))
        self._same(done, again.scores(), "draws at random without a seed: two runs with one seed differ")

    def test_it_loads_what_it_saved(self, done: Done) -> None:
        self._same(done, Done.of(self.method, done.run).scores(), "scores otherwise when it goes on from its files")

    def test_what_it_prepared_serves_again(self, done: Done) -> None:
        again = {stage.name: scores(stage.model) for stage in done.method.unlearn()}
        self._same(done, again, "gives another result when it unlearns a second time")

    def test_saved_models_score_as_before(self, done: Done, tmp_path: Path) -> None:
        for stage, _ in done.stages:
            if isinstance(stage.model, Recommender):
                path = str(tmp_path / "model.safetensors")
                save_model(path, stage.model, done.run.config, done.run.data.train)
                same = torch.equal(scores(load_model(path)[1]), scores(stage.model))
                assert same, f"{self.method.__name__} {stage.name} scores otherwise when it is loaded"

    def test_it_goes_on_from_its_own_result(self, done: Done) -> None:
        data, (last, _), name = done.run.data, done.stages[-1], self.method.__name__
        again = following(data, data.remaining_graph.users[0])
        try:
            method = done.method.continued(again, last.model)
        except NotImplementedError:
            return  # which the report of a sequence says
        for stage in method.unlearn():
            assert scores(stage.model).isfinite().all(), f"{name} {stage.name}: a second request gives no finite scores"
            if isinstance(stage.model, Recommender):
                for request in (data.request, again.request):
                    held = stage.model.graph.contains(request.users, request.items)
                    assert not held.any(), f"{name} {stage.name}: after a second request the graph has forgotten edges"

    def test_one_edge_a_user_and_everything(self, run: Run) -> None:
        graph = run.data.graph
        everything = torch.ones(len(graph), dtype=torch.bool)
        requests = {
            "one edge": torch.arange(len(graph)) == 0,
            "a user": graph.users == graph.users[0],
            "everything": everything,
        }
        for kind, edges in requests.items():
            for name, each in Done.of(self.method, asking_for(run, edges)).scores().items():
                finite = each.isfinite().all()
                assert finite, f"{self.method.__name__} {name}: scores are not finite after forgetting {kind}"

    def test_an_empty_request_changes_nothing(self, run: Run) -> None:
        done = Done.of(self.method, asking_for(run, torch.zeros(len(run.data.graph), dtype=torch.bool)))
        before = scores(done.method.before())
        for name, each in done.scores().items():
            same = torch.allclose(each, before, rtol=0, atol=1e-6)
            assert same, f"{self.method.__name__} {name} changes scores although nothing is to be forgotten"

    def _same(self, done, others, what):
        for name, each in done.scores().items():
            assert name in others and torch.equal(each, others[name]), f"{self.method.__name__} {name} {what}"


def asking_for(run: Run, edges: torch.Tensor) -> Run:
    """The same run with another request.

    Args:
        edges: what to forget, boolean over the edges of ``run.data.graph``.
    """
    data, forgotten = run.data, run.data.graph.subgraph(edges)
    request = Request(forgotten.users, forgotten.items)
    return replace(run, data=replace(data, request=request))
