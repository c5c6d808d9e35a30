"""The paper's tables and figures: run what is missing, then draw everything.

    python benchmarks/reproduce.py --table=2 --dataset=ml-1m --model=LightGCN,SGL,SimGCL [--data_path=../shared/datasets]
    python benchmarks/reproduce.py --figure=5
    python benchmarks/reproduce.py --all [--ray_address=auto]
    python benchmarks/reproduce.py --render

Each cell is one run of ``run_unlearn.py`` in a process of its own; its JSON is written under ``benchmarks/results`` when it is
done, and a cell that is there is not run again: delete it to repeat it, start again what was killed. Cells share trainings by
``--checkpoint_dir``. The page is ``benchmarks/results/README.md``.
"""

import argparse
import os
import sys
from pathlib import Path

import yaml
from reproduction.cells import ROOT, SEEDS, load
from reproduction.document import render
from reproduction.experiments import EXPERIMENTS, REQUESTS, SHIPPED, all_cells, bases
from reproduction.processes import run_here, run_on_ray

from recbole_unlearn.arguments import Parser
from recbole_unlearn.command_line import INTERRUPTED
from recbole_unlearn.errors import UsageError, unknown
from recbole_unlearn.method import METHODS
from recbole_unlearn.model import MODELS


def parse(arguments):
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    what = parser.add_argument_group("what")
    what.add_argument("--table", type=_list, default=[], help="2, 3, 4, 5, separated by commas")
    what.add_argument("--figure", type=_list, default=[], help="2 to 6, or scaling")
    what.add_argument("--all", action="store_true", help="all of them; the paper's size besides: --setting=d128")
    what.add_argument("--render", action="store_true", help="run nothing, draw what is there")
    what.add_argument("--list", action="store_true", help="run nothing, name the cells and whether they are there")
    of = parser.add_argument_group("of what (default: what the table or figure usually shows)")
    of.add_argument("--dataset", type=_list, help="e.g. ml-1m,gowalla,yelp2018")
    of.add_argument("--model", type=_list, help="e.g. LightGCN,SGL,SimGCL")
    of.add_argument("--request", type=_list, help=f"of Table 2: {','.join(REQUESTS)}")
    of.add_argument("--method", type=_list, help="only the cells of these methods, e.g. Retrain,UnlearnRec")
    of.add_argument("--seed", type=_list, help="only the cells of these seeds, e.g. 2021")
    of.add_argument("--setting", type=_list, help="d64 (default), d128 (the paper's), or a yaml file")
    where = parser.add_argument_group("where")
    where.add_argument(
        "--results", default=str(ROOT / "benchmarks" / "results"), help="folder of the cells and the page"
    )
    where.add_argument("--checkpoint_dir", default="saved", help="folder of trainings, shared by cells (default saved)")
    where.add_argument("--data_path", help="folder of the datasets (default: RecBole's download)")
    where.add_argument("--gpu_id", help="as in run_unlearn.py; empty: the CPU; on Ray it is the cluster's to say")
    where.add_argument(
        "--eval_batch_size",
        type=int,
        help="as in run_unlearn.py: changes seconds and memory alone; 100000000 suits a GPU",
    )
    where.add_argument(
        "--workers",
        type=int,
        default=1,
        help="cells at a time here (default 1); not for Table 4 and Figures 4 and scaling",
    )
    where.add_argument("--ray_address", help="running Ray cluster, e.g. auto: one cell a task")
    return parser.parse_args(arguments)


def main(arguments=None):
    """Exit code 0; 1 if a cell failed, 2 after wrong usage, 130 after an interruption."""
    try:
        asked = parse(arguments)
        _check(asked)
        of = asked.dataset, asked.model, asked.request, _settings(asked.setting)
        cells = all_cells([EXPERIMENTS[name].cells(base) for name in _experiments(asked) for base in bases(name, *of)])
        cells = [cell for cell in cells if cell.method in (asked.method or [cell.method])]
        cells = [cell for cell in cells if str(cell.seed) in (asked.seed or [str(cell.seed)])]
        cells.sort(key=lambda cell: cell.seed)  # a whole table first, then its other seeds
        if not cells and not asked.render:
            raise UsageError("No cell of these tables and figures is of this --method and --seed.")
        missing = [cell for cell in cells if load(asked.results, cell) is None]
        if asked.list:
            print("\n".join(f"{'missing' if cell in missing else 'there  '} {cell}" for cell in cells))
            return 0
        failed = {} if asked.render else _run(asked, missing)
        for cell, error in failed.items():
            print(f"reproduce: {cell} failed: {error}", file=sys.stderr)
        print(f"Page: {render(asked.results)}")
    except UsageError as error:
        print(f"reproduce: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("reproduce: interrupted; the same command goes on with the next cell.", file=sys.stderr)
        return INTERRUPTED
    return 1 if failed else 0


def _experiments(asked):
    """Keys of ``EXPERIMENTS``; none for ``--render`` alone."""
    if asked.all and (asked.table or asked.figure or asked.request):
        raise UsageError("--all is all tables, figures and requests: leave out --table, --figure and --request.")
    if asked.all:
        return list(EXPERIMENTS)
    names = [f"table {each}" for each in asked.table] + [f"figure {each}" for each in asked.figure]
    for name in names:
        if name not in EXPERIMENTS:
            raise UsageError(f"There is no {name}; choose among: {', '.join(EXPERIMENTS)}.")
    if not names and (asked.list or not asked.render):
        raise UsageError("Say what: --table=2, --figure=5, --all or --render; see --help.")
    if asked.request and not any(len(EXPERIMENTS[name].requests) > 1 for name in names):
        raise UsageError("Only Table 2 has several requests: leave out --request.")
    return names


def _settings(names):
    """Settings by the name of a shipped one, or a file's path from the repository's root."""
    settings = []
    for name in names or []:
        if _shipped(name):
            settings.append(name)
        elif Path(name).is_file():
            settings.append(_own_setting(name))
        else:
            raise UsageError(f"Setting '{name}' is neither one of properties/setting nor a file.")
    return settings


def _shipped(name):
    of_a_model = any(name.endswith(f"-{model}") for model in MODELS)  # a part of the setting before it
    return (ROOT / "properties" / "setting" / f"{name}.yaml").is_file() and not of_a_model


def _own_setting(file):
    """The path of a user's setting, whose name stands for it in results."""
    path = os.path.relpath(file, ROOT)
    if _shipped(Path(file).stem):
        raise UsageError(f"Setting '{file}' has the name of a shipped one, and so would its results: rename it.")
    if " " in path:
        raise UsageError(f"Setting '{file}': RecBole takes no blanks in the path of a configuration file.")
    named = Path(file)
    for part in (named, *(named.with_stem(f"{named.stem}-{model}") for model in MODELS)):
        _check_own_setting(part)
    return path


def _check_own_setting(file):
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8")) if file.is_file() else {}
    except yaml.YAMLError as error:
        raise UsageError(f"Setting '{file}' is not valid yaml: {' '.join(str(error).split())}") from None
    varied = sorted(SHIPPED.keys() & content.keys()) if isinstance(content, dict) else []
    if varied:
        raise UsageError(f"Setting '{file}' sets {', '.join(varied)}, which the tables vary: leave it out.")


def _check(asked):
    """Refuse names that would run nothing, or fail in every cell."""
    if asked.workers < 1:
        raise UsageError(f"--workers must be at least 1, not {asked.workers}.")
    if asked.ray_address and asked.workers > 1:
        raise UsageError(
            "On Ray a cell is a task, as many at a time as the cluster has place for: leave out --workers."
        )
    for kind, given, known in (
        ("model", asked.model, MODELS),
        ("method", asked.method, METHODS),
        ("request", asked.request, REQUESTS),
        ("seed", asked.seed, list(map(str, SEEDS))),
    ):
        for name in given or []:
            if name not in known:
                raise unknown(kind, name, known)


def _run(asked, cells):
    data_path = asked.data_path and os.path.abspath(asked.data_path)
    machine = {"checkpoint_dir": os.path.abspath(asked.checkpoint_dir), "data_path": data_path}
    machine |= {"gpu_id": asked.gpu_id, "eval_batch_size": asked.eval_batch_size}
    machine = {key: value for key, value in machine.items() if value is not None}
    if asked.ray_address:
        return run_on_ray(cells, machine, asked.results, asked.ray_address)
    return run_here(cells, machine, asked.results, asked.workers)


def _list(text):
    return [part for part in text.split(",") if part]


if __name__ == "__main__":
    sys.exit(main())
