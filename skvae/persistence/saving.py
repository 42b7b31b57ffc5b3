"""Estimators into a file and out of it."""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import sklearn
import torch
from sklearn.exceptions import InconsistentVersionWarning

from skvae.inference.session import torch_defaults
from skvae.persistence.classes import classes, names
from skvae.persistence.errors import Malformed, SavedFileError
from skvae.persistence.files import read_file, write_file
from skvae.persistence.graph import Reader, Writer
from skvae.persistence.kinds import BY_TAG, find

# Of the file's layout; a reader takes those up to its own.
FORMAT = 1


def save(estimator: Any, path: str | os.PathLike[str]) -> None:
    """Write an estimator, fitted or not, to one file without pickle.

    The file is a container of safetensors. Tensors and arrays keep their bits, dtypes and
    layout; parameters and everything else stand in JSON beside them. Tensors on an accelerator
    are written as those of the CPU.

    Parameters
    ----------
    estimator : estimator of skvae
    path : str or path-like
        A file there is replaced in one step.

    Raises
    ------
    ImportError
        Without safetensors (``pip install 'skvae[save]'``).
    TypeError
        If the estimator is none of skvae's own, or holds functions, modules, callbacks or other
        objects of the user's; the message names the attribute.
    OSError
        If the file cannot be written.
    """
    name = names().get(type(estimator))
    if name is None or not hasattr(estimator, "get_params"):
        raise TypeError(
            f"{type(estimator).__module__}.{type(estimator).__qualname__} is none of skvae's own "
            "estimators, and cannot be saved: save steps of a pipeline one by one, or store it all "
            "with joblib.dump or pickle."
        )
    if getattr(estimator, "_skl_callbacks", None):
        raise TypeError(
            f"The callbacks of {type(estimator).__name__} cannot be saved: they are code. Take "
            "them off with estimator.set_callbacks() first."
        )
    writer = Writer(find, type(estimator).__name__)
    _, root = writer.value(estimator)
    document = {
        "format": FORMAT,
        "class": name,
        "versions": _versions(),
        "root": root,
        "nodes": writer.nodes,
    }
    write_file(Path(path), document, writer.blobs)


def load(path: str | os.PathLike[str], kind: type | None = None) -> Any:
    """Read an estimator from a file of `save`.

    Nothing in the file is executed: objects are made of skvae's own classes, and of a few of
    numpy's, pandas', scikit-learn's and torch's, by name from a fixed list. All tensors are on the
    CPU.

    Parameters
    ----------
    path : str or path-like
    kind : type or None, default=None
        What the estimator must be.

    Returns
    -------
    estimator
        Predictions, parameters and attributes are those of the one that was saved.

    Raises
    ------
    ImportError
        Without safetensors (``pip install 'skvae[save]'``).
    OSError
        If there is no such file, or it cannot be read.
    SavedFileError
        A ValueError: if the file is none of skvae, is damaged, comes from a newer version, or
        holds another estimator than `kind`.

    Warns
    -----
    UserWarning
        If another version of skvae wrote the file.
    InconsistentVersionWarning
        If it was written with another version of scikit-learn.
    """
    path = Path(path)
    document, blobs = read_file(path)
    _check_format(path, document.get("format"))
    found = classes().get(str(document.get("class")))
    if found is None or not hasattr(found, "get_params"):
        raise SavedFileError(
            f"{path} holds {document.get('class')!r}, an estimator that this version of skvae "
            f"({_versions()['skvae']}) does not know."
        )
    if kind is not None and not issubclass(found, kind):
        raise SavedFileError(
            f"{path} holds a {found.__name__}, not a {kind.__name__}: load it with skvae.load or "
            f"{found.__name__}.load."
        )
    _warn_of_versions(path, found, document.get("versions"))
    try:
        with torch_defaults():
            made = Reader(BY_TAG, blobs).build(document["nodes"])
        place = document["root"]
        if place not in range(len(made)) or type(made[place]) is not found:
            raise Malformed("its first object is not the estimator")
        return made[place]
    except Warning:  # a warning that the user turned into an error says nothing of the file
        raise
    except Exception as error:
        said = f"{error}" if isinstance(error, Malformed) else f"{type(error).__name__}: {error}"
        raise SavedFileError(
            f"{path} cannot be read as a {found.__name__} of this version of skvae "
            f"({_versions()['skvae']}): {said}."
        ) from error


def _versions() -> dict[str, str]:
    from skvae import __version__

    return {
        "skvae": __version__,
        "numpy": np.__version__,
        "pandas": pd.__version__,
        "scikit-learn": sklearn.__version__,
        "torch": str(torch.__version__),
        "python": ".".join(map(str, sys.version_info[:3])),
    }


def _check_format(path: Path, found: Any) -> None:
    if type(found) is not int or found < 1:
        raise SavedFileError(f"{path} has no format of skvae's files: {found!r}.")
    if found > FORMAT:
        raise SavedFileError(
            f"{path} is in format {found}, and this version of skvae ({_versions()['skvae']}) "
            f"reads formats up to {FORMAT}. Upgrade it: pip install --upgrade skvae."
        )


def _warn_of_versions(path: Path, found: type, versions: Any) -> None:
    if not isinstance(versions, dict):
        raise SavedFileError(f"{path} does not say what wrote it.")
    here = _versions()
    if versions.get("skvae") != here["skvae"]:
        warnings.warn(
            f"{path} was saved by skvae {versions.get('skvae')}, and this is {here['skvae']}: "
            "predictions may differ, or fail. Fit the estimator again where that matters.",
            UserWarning,
            stacklevel=3,
        )
    if versions.get("scikit-learn") != here["scikit-learn"]:
        warnings.warn(
            InconsistentVersionWarning(
                estimator_name=found.__name__,
                current_sklearn_version=here["scikit-learn"],
                original_sklearn_version=str(versions.get("scikit-learn")),
            ),
            stacklevel=3,
        )
