"""A run of all methods: no two purposes share draws, Retrain shares nothing, and the order of methods does not matter."""

import ast
import itertools
import random
import sys
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import recbole_unlearn
from recbole_unlearn import calibration, quick_start, run_unlearn, streams
from recbole_unlearn.encoder import target, twin
from recbole_unlearn.graph import Graph
from recbole_unlearn.method import METHODS
from recbole_unlearn.method.sharded import receraser
from recbole_unlearn.model import UnlearnableRecommender
from recbole_unlearn.testing import tiny_dataset, tiny_settings
from recbole_unlearn.trainer import ResumableTrainer

PACKAGE = Path(recbole_unlearn.__file__).parent
PASSED_THROUGH = ("streams.py", "config.py", "utils.py", Path(__file__).name)  # frames between a purpose and its seed
OF_THE_SPLIT, OF_EVALUATION = "split.py", "abstract_dataloader.py"
# Every read of a seed, by file and function. Streams take it, but for: copies, names and rows of reports, and the split.
READS = {
    ("audit/audit.py", "__init__"),
    ("config.py", "for_model"),
    ("config.py", "stream"),
    ("data/request.py", "request_seed"),
    ("data/sampler.py", "__iter__"),
    ("data/split.py", "split"),
    ("deletion/importing/training_rows.py", "held_out_rows"),
    ("model/exact.py", "__init__"),
    ("report/files.py", "model_file"),
    ("report/files.py", "report_path"),
    ("report/report.py", "__init__"),
    ("report/report.py", "finish"),
    ("sequence/sequence.py", "run"),
    ("streams.py", "begin_stream"),
    ("sweep/tune.py", "search"),
    ("task.py", "prepare_data"),
}
SEEDERS = {"manual_seed", "manual_seed_all", "seed", "default_rng", "RandomState", "init_seed", "SeedSequence"}
SEED_BY_THEMSELVES = {"streams.py", "data/sampler.py", "data/split.py", "method/influence/frozen_loss.py"} | {
    "trainer/resumable.py"
}


@dataclass
class Recorded:
    """What a run of all methods does."""

    places: dict[tuple, set] = field(default_factory=lambda: defaultdict(set))  # (seed, purpose) to where it is named
    seeds: dict[tuple, int] = field(default_factory=dict)  # (seed, purpose) to its stream's seed
    given: dict[int, set] = field(default_factory=lambda: defaultdict(set))  # a generator's seed to where it is given
    first: dict[str, list] = field(default_factory=lambda: defaultdict(list))  # what a generator draws of 10,000
    tables: dict[str, tuple] = field(default_factory=dict)  # a training's first and last table
    online: dict[str, Counter] = field(default_factory=dict)  # a method's calls of what costs time


def place():
    frame = sys._getframe(1)
    while Path(frame.f_code.co_filename).name in PASSED_THROUGH:
        frame = frame.f_back
    return Path(frame.f_code.co_filename).name, frame.f_lineno


def record_seeds(recorded, patch):
    class SeedSequence(np.random.SeedSequence):
        def __init__(self, entropy):
            super().__init__(entropy)
            recorded.places[tuple(entropy)].add(place())
            recorded.seeds[tuple(entropy)] = int(self.generate_state(1)[0])

    class RandomState(np.random.RandomState):
        def __init__(self, seed=None):
            super().__init__(seed)
            recorded.given[seed].add(place())

    class Generator(torch.Generator):
        def manual_seed(self, seed):
            recorded.given[seed].add(place())
            return super().manual_seed(seed)

    def spy(function):
        def call(seed):
            if not isinstance(seed, np.random.Generator):
                recorded.given[seed].add(place())
            return function(seed)

        return call

    patch.setattr(streams, "np", SimpleNamespace(**{**vars(np), "random": SimpleNamespace(**vars(np.random))}))
    patch.setattr(streams.np.random, "SeedSequence", SeedSequence)
    patch.setattr(np.random, "RandomState", RandomState)
    patch.setattr(torch, "Generator", Generator)
    for module, name in ((random, "seed"), (np.random, "seed"), (torch, "manual_seed")):
        patch.setattr(module, name, spy(getattr(module, name)))
    patch.setattr(streams.np.random, "default_rng", spy(np.random.default_rng))
    patch.setattr(np.random, "default_rng", spy(np.random.default_rng))


def record_draws(recorded, patch):
    def spy(module, name, purpose):
        function = getattr(module, name)

        def call(*arguments):
            (generator,) = (argument for argument in arguments if isinstance(argument, torch.Generator))
            same = torch.Generator()
            same.set_state(generator.get_state())
            recorded.first[purpose].append(set(torch.randperm(10_000, generator=same)[:100].tolist()))
            return function(*arguments)

        patch.setattr(module, name, call)

    spy(recbole_unlearn.task.attack, "least_likely_edges", "the attack")
    spy(calibration, "decoys", "the encoder's decoys")
    spy(twin, "decoys", "the twin's decoys")
    spy(receraser, "edge_shards", "RecEraser's first anchors")


def record_tables(recorded, patch):
    fit = ResumableTrainer.fit

    def call(trainer, *arguments, **options):
        name, model = Path(trainer.saved_model_file).name.partition("-LightGCN-")[0], trainer.model
        first = model.ego_embeddings().detach().clone() if hasattr(model, "ego_embeddings") else None
        result = fit(trainer, *arguments, **options)
        if first is not None:
            recorded.tables[name] = first, model.ego_embeddings().detach().clone()
        return result

    patch.setattr(ResumableTrainer, "fit", call)


def record_costs(recorded, patch):
    counts = Counter()

    def counted(name, function):
        def call(*arguments, **options):
            counts[name] += 1
            return function(*arguments, **options)

        return call

    patch.setattr(Graph, "without", counted("remaining graphs", Graph.without))
    patch.setattr(Graph.adjacency, "func", counted("adjacencies", Graph.adjacency.func))
    patch.setattr(Graph, "from_edges", classmethod(counted("graphs", Graph.from_edges.__func__)))
    patch.setattr(target.lightgbm, "train", counted("regressions", target.lightgbm.train))
    patch.setattr(ResumableTrainer, "_train_epoch", counted("epochs", ResumableTrainer._train_epoch))
    costed_stages = quick_start.costed_stages

    def spied(method, device):
        counts.clear()
        modules, stages = set(sys.modules), []
        for stage in costed_stages(method, device):
            stages.append(dict(counts))
            yield stage
            counts.clear()  # of the evaluation
        recorded.online[type(method).__name__] = stages, sorted(set(sys.modules) - modules)

    patch.setattr(quick_start, "costed_stages", spied)


TABLES = [name for name in METHODS if issubclass(UnlearnableRecommender, METHODS[name].serves)]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run of all methods on adversarial edges, and one in the opposite order.

    The backbone has the attack's settings: with the attack's stream, Retrain would be the attacker.
    """
    recorded = []
    for number, order in enumerate((TABLES, TABLES[::-1])):
        folder = tmp_path_factory.mktemp("order")
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            settings = tiny_settings(tiny_dataset(folder / "data"), str(folder / "saved"))
            recorded.append(Recorded())
            for record in (record_seeds, record_draws, record_tables, record_costs)[0 if number == 0 else 3 :]:
                record(recorded[-1], patch)
            for name in ("embedding_size", "n_layers", "learning_rate", "train_batch_size"):
                del settings[name]
            settings |= {"forget_type": "adversarial", "unlearn_methods": order, "forget_attack_epochs": 4}
            settings |= {"ie_teacher": "twin"}
            settings |= {"unlearn_receraser_epochs": 1, "unlearn_gnndelete_steps": 5}  # takes a second less
            run_unlearn("LightGCN", "tiny", config_dict=settings, saved=False)
    return recorded


def test_every_draw_comes_from_a_stream(runs):
    """But RecBole's split; and its loaders seed a generator that evaluation never uses, and training seeds anew."""
    recorded = runs[0]
    streamed, given = set(recorded.seeds.values()), recorded.given
    others = {seed: {file for file, _ in places} for seed, places in given.items() if seed not in streamed}
    # scipy's ARPACK makes a generator that it uses if a start vector is none, and ours is one.
    assert others == {7: {OF_THE_SPLIT, OF_EVALUATION}, None: {"arpack.py"}} and len(given) > 50


def test_no_two_purposes_share_a_stream(runs):
    recorded = runs[0]
    assert len(set(recorded.seeds.values())) == len(recorded.seeds) > 50
    shared = {purpose: places for purpose, places in recorded.places.items() if len(places) > 1}
    assert not shared, "named in several places"
    fixed = {purpose: places for purpose, places in recorded.places.items() if purpose[0] != 7}
    assert {purpose[0] for purpose in fixed} <= {*recorded.seeds.values(), 0}
    assert {file for purpose in fixed if purpose[0] == 0 for file, _ in recorded.places[purpose]} <= {
        "solver.py",
        "spectrum.py",
    }


def test_neither_encoder_nor_twin_nor_anchors_know_the_attacked_nodes(runs):
    first = {name: draws[0] for name, draws in runs[0].first.items()}
    assert len(first) == 4
    for one, other in itertools.combinations(first, 2):
        assert len(first[one] & first[other]) < 10, (one, other)  # 1 by chance, 100 with one stream


def test_retrain_is_neither_the_attacker_nor_the_original_nor_itself(runs):
    tables = runs[0].tables
    names = ("attack", "original", "twin", "retrain-0", "retrain-1")
    for one, other in itertools.combinations(names, 2):
        for moment, (a, b) in enumerate(zip(tables[one], tables[other], strict=True)):
            assert a.shape == b.shape, "the test needs trainings that could be equal"
            assert abs(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1]) < 0.1 + moment, (one, other)
            assert not torch.isclose(a, b).all(dim=1).any(), f"{one} and {other} share rows"


def test_the_order_of_methods_changes_no_method_s_work(runs):
    forth, back = (recorded.online for recorded in runs)
    assert list(forth) == list(back)[::-1] == TABLES
    for name, (stages, imported) in forth.items():
        assert stages == back[name][0], f"{name}: what it computes online depends on the methods before it"
        assert imported == back[name][1] == [], f"{name} imports modules while its seconds are counted"
    assert all(forth[name][0][0].get("remaining graphs") for name in TABLES), "each makes its own remaining graph"


def trees():
    for path in sorted(PACKAGE.rglob("*.py")):
        if not path.is_relative_to(PACKAGE / "testing"):
            yield str(path.relative_to(PACKAGE)), ast.parse(path.read_text(encoding="utf-8"))


def test_nobody_but_streams_seeds_from_the_run_s_seed():
    """A new read of ``config["seed"]`` goes through ``streams``, or is listed here with what it is for."""
    reads, seeders = set(), defaultdict(set)
    for file, tree in trees():
        streamed = {
            node
            for call in ast.walk(tree)
            if isinstance(call, ast.Call)
            and getattr(call.func, "id", "").endswith(("_seed", "_stream"))
            and call.func.id != "init_seed"
            for node in ast.walk(call)
        }
        for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
            for node in ast.walk(function):
                if isinstance(node, ast.Subscript) and getattr(node.slice, "value", None) == "seed":
                    of_a_report = getattr(node.value, "id", "") == "result"  # which states the seed, and draws nothing
                    if isinstance(node.ctx, ast.Load) and node not in streamed and not of_a_report:
                        reads.add((file, function.name))
                name = getattr(node.func, "attr", getattr(node.func, "id", "")) if isinstance(node, ast.Call) else ""
                if name in SEEDERS:
                    seeders[file].add(name)
    assert reads <= READS, f"reads a seed: {sorted(reads - READS)}"
    assert set(seeders) <= SEED_BY_THEMSELVES, dict(seeders)
