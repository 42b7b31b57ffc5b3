"""The classes whose objects a file may hold."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from functools import cache

from sklearn.impute import MissingIndicator
from sklearn.preprocessing import QuantileTransformer
from sklearn.utils._metadata_requests import MetadataRequest, MethodMetadataRequest
from torch import nn

# Rooms whose objects estimators are made of.
ROOMS = ("distributions", "nn", "models", "inference", "training", "tabular", "estimators")
# Other people's classes that fitted estimators hold, by names that outlive moves between files.
FOREIGN: dict[str, type] = {
    "sklearn.impute.MissingIndicator": MissingIndicator,
    "sklearn.preprocessing.QuantileTransformer": QuantileTransformer,
    "sklearn.utils.MetadataRequest": MetadataRequest,
    "sklearn.utils.MethodMetadataRequest": MethodMetadataRequest,
    "torch.nn.ModuleDict": nn.ModuleDict,
    "torch.nn.ModuleList": nn.ModuleList,
    "torch.nn.ParameterList": nn.ParameterList,
}


@cache
def classes() -> dict[str, type]:
    """All of them by name. A file picks from these; it cannot make anything else be imported."""
    return FOREIGN | {f"{found.__module__}.{found.__qualname__}": found for found in _own_classes()}


@cache
def names() -> dict[type, str]:
    """Names by class."""
    return {found: name for name, found in classes().items()}


def _own_classes() -> Iterator[type]:
    for room in ROOMS:
        package = importlib.import_module(f"skvae.{room}")
        for file in pkgutil.iter_modules(package.__path__, f"skvae.{room}."):
            for found in vars(importlib.import_module(file.name)).values():
                # Enumerations, tuples and the like are made in ways of their own.
                own = isinstance(found, type) and found.__module__ == file.name
                if own and getattr(found, "__new__", None) is object.__new__:
                    yield found
