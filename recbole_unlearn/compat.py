"""Lets RecBole 1.2 run on current numpy, scipy, pandas and torch, and in several processes at a time.

This module adds an alias only if the installed library lacks it, so that nothing changes on the versions that RecBole
was written for. See RecBole's issues 2215, 2185, 2174 and 2034.
"""

import functools
import importlib.util
import os
import sys
import warnings
from contextlib import contextmanager

import numpy as np
import pandas as pd
import scipy.sparse as sp

from recbole_unlearn.errors import UsageError

# numpy >= 1.24 and >= 2 removed these names; RecBole's Config and metrics still use them.
_NUMPY_ALIASES = {
    "float": np.float64,
    "float_": np.float64,
    "complex_": np.complex128,
    "unicode_": np.str_,
    "bool": np.bool_,
}


def _dok_update(matrix, data):
    """The unchecked update that stock LightGCN and NGCF call, and that scipy >= 1.13 hides."""
    matrix._dict.update(data)


def _fill_nan(dataset):
    """Assign filled columns for RecBole's method, whose chained ``fillna(inplace=True)`` is a no-op in pandas >= 3."""
    from recbole.utils import FeatureType

    for name in dataset.feat_name_list:
        feat = getattr(dataset, name)
        for field in feat:
            if dataset.field2type[field] == FeatureType.TOKEN:
                feat[field] = feat[field].fillna(0)
            elif dataset.field2type[field] == FeatureType.FLOAT:
                feat[field] = feat[field].fillna(feat[field].mean())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pandas warns of that no-op; RecBole still fills sequence fields
        return _recbole_fill_nan(dataset)


@contextmanager
def _replaced(owner, name, value):
    """Replace an attribute inside a block."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


def _load_feat(dataset, filepath, source):
    """Fill blank sequences for RecBole's method, whose chained ``fillna(inplace=True)`` is a no-op in pandas >= 3."""
    read = pd.read_csv

    def read_csv(*arguments, **options):
        table = read(*arguments, **options)
        return table.fillna({column: "" for column in table if column.endswith("_seq")})

    with _replaced(pd, "read_csv", read_csv):
        return _recbole_load_feat(dataset, filepath, source)


def _with_lengths(method):
    """Let ``agg(len)`` measure each sequence, as RecBole means it; pandas >= 3 measures the whole column."""
    aggregate = pd.Series.agg

    def agg(column, function=None, *arguments, **options):
        return column.map(len) if function is len else aggregate(column, function, *arguments, **options)

    @functools.wraps(method)
    def call(dataset, *arguments):
        with _replaced(pd.Series, "agg", agg):
            return method(dataset, *arguments)

    return call


class _Mended:
    """A module with other functions in the place of some of its own."""

    def __init__(self, module, **functions):
        self._module = module
        vars(self).update(functions)

    def __getattr__(self, name):
        return getattr(self._module, name)


def _mend_quick_start(module):
    """Let RecBole's quick start read its checkpoints and report to a current ray."""
    recboles = module.load_data_and_model

    @functools.wraps(recboles)
    def load_data_and_model(model_file):
        checkpoint = recbole_checkpoint.load(model_file)
        if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get("config"), Config):
            raise UsageError(f"'{model_file}' is not a checkpoint of RecBole's Trainer: it has no Config.")
        Config.compatibility_settings(checkpoint["config"])  # as in every new Config
        read = torch.load

        def load(file, *arguments, **options):
            return checkpoint if file is model_file else read(file, *arguments, **options)

        with _replaced(torch, "load", load):
            return recboles(model_file)

    module.load_data_and_model = load_data_and_model
    report = module.tune.report  # takes a dict by now; RecBole gives keywords
    module.tune = _Mended(module.tune, report=lambda **metrics: report(metrics))


class _MendOnImport:
    """Mends RecBole's quick start when somebody imports it; the import takes seconds."""

    name = "recbole.quick_start.quick_start"

    def find_spec(self, name, path=None, target=None):
        if name != self.name:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        assert spec is not None and spec.loader is not None
        execute = spec.loader.exec_module

        def exec_module(module):
            execute(module)
            _mend_quick_start(module)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]  # of this one loader
        return spec


def _ensure_dir(folder):
    """Make a folder in one step; RecBole's check before it fails if another process makes the folder in between."""
    try:
        os.makedirs(folder, exist_ok=True)
    except FileExistsError:
        raise UsageError(f"RecBole writes to a folder '{folder}', but a file of that name exists: move it.") from None
    except OSError as error:
        raise UsageError(
            f"Folder '{folder}' cannot be made: {error.strerror}. Choose another, e.g. with --checkpoint_dir=FOLDER."
        ) from None


for _name, _value in _NUMPY_ALIASES.items():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy 1.2x warns when a removed name is looked up
        if not hasattr(np, _name):
            setattr(np, _name, _value)

if not hasattr(sp.dok_matrix, "_update"):
    sp.dok_matrix._update = _dok_update

# RecBole's own code causes these warnings on current libraries, and no user can act on them.
warnings.filterwarnings("ignore", message=r".*torch\.cuda\.amp\.GradScaler.*", category=FutureWarning)
warnings.filterwarnings("ignore", message=r".*The given NumPy array is not writ.*", category=UserWarning)
warnings.filterwarnings("ignore", message=r".*Sparse CSR tensor support is in beta.*", category=UserWarning)
warnings.filterwarnings("ignore", message=r".*Detected pickle protocol 4 in the checkpoint.*", category=UserWarning)
warnings.filterwarnings("ignore", message=r".*Sparse invariant checks are implicitly disabled.*", category=UserWarning)

import recbole.trainer.trainer  # noqa: E402  (RecBole's import needs the aliases above)
import recbole.utils.logger  # noqa: E402
import torch  # noqa: E402
from recbole.config import Config  # noqa: E402
from recbole.data.dataset import Dataset, KnowledgeBasedDataset, SequentialDataset  # noqa: E402

from recbole_unlearn.files import recbole_checkpoint  # noqa: E402

# RecBole's trainers read their own checkpoints, which torch >= 2.6 refuses.
recbole.trainer.trainer.torch = _Mended(torch, load=recbole_checkpoint.load)
if _MendOnImport.name in sys.modules:
    _mend_quick_start(sys.modules[_MendOnImport.name])
    package, module = sys.modules["recbole.quick_start"], sys.modules[_MendOnImport.name]
    vars(package)["load_data_and_model"] = module.load_data_and_model
else:
    sys.meta_path.insert(0, _MendOnImport())

recbole.utils.logger.ensure_dir = recbole.trainer.trainer.ensure_dir = _ensure_dir

_recbole_fill_nan, _recbole_load_feat = Dataset._fill_nan, Dataset._load_feat
if int(pd.__version__.split(".")[0]) >= 3:
    Dataset._fill_nan = _fill_nan
    Dataset._load_feat = _load_feat
    for _class, _name in (
        (Dataset, "_remap"),
        (Dataset, "_normalize"),
        (Dataset, "_discretization"),
        (KnowledgeBasedDataset, "_reset_ent_remapID"),
        (SequentialDataset, "_benchmark_presets"),
    ):
        setattr(_class, _name, _with_lengths(getattr(_class, _name)))
