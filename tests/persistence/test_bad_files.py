"""Files that are damaged, foreign or made to harm: one clear error each, and nothing is run."""

import contextlib
import copy
import json
import pickle
import warnings

import numpy as np
import pytest
import safetensors.numpy
import torch
from scipy import sparse
from sklearn.exceptions import InconsistentVersionWarning

import skvae
from skvae import VAEImputer, VAETransformer
from skvae.persistence import SavedFileError
from skvae.persistence.files import DIGEST, read_file, write_file

FILLED = VAEImputer(hidden_layer_sizes=(), random_state=0)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.skvae"


@pytest.fixture(scope="module")
def saved(tmp_path_factory, array):
    """The document, the arrays and the bytes of a small fitted estimator."""
    path = tmp_path_factory.mktemp("saved") / "model"
    VAEImputer(hidden_layer_sizes=(), random_state=0).fit(array[:, :2]).save(path)
    document, blobs = read_file(path)
    del document[DIGEST]
    return document, blobs, path.read_bytes()


@pytest.fixture
def altered(path, saved):
    """Write the file again with changes, with a checksum that fits, and load it."""

    def load(blobs=None, **changes):
        write_file(path, {**copy.deepcopy(saved[0]), **changes}, {**saved[1], **(blobs or {})})
        return skvae.load(path)

    return load


def refuses(path, match):
    return pytest.raises(SavedFileError, match=f"(?s)^{path}.*{match}")


@pytest.mark.parametrize("part", range(12))
def test_any_flipped_bit(part, path, saved):
    content = saved[2]
    # The first bytes, which say how long the header is, and others all over the file.
    places = [*range(part, 160, 12), *range(160 + part, len(content), 12 * 41)]
    for place in places:
        changed = bytearray(content)
        changed[place] ^= 1 << (place % 8)
        path.write_bytes(changed)
        with refuses(path, "damaged|no estimator saved by skvae|no saved estimator"):
            skvae.load(path)


@pytest.mark.parametrize("share", [0.001, 0.3, 0.9, 0.9999])
def test_cut_short(share, path, saved):
    path.write_bytes(saved[2][: int(share * len(saved[2]))])
    with refuses(path, "cut short|no estimator saved by skvae"):
        skvae.load(path)


def test_more_at_the_end(path, saved):
    path.write_bytes(saved[2] + b"\0")
    with refuses(path, "damaged"):
        skvae.load(path)


def test_foreign_files(path, tmp_path):
    for content, match in [
        (b"", "is empty"),
        (b"words, and more of them than eight bytes", "no estimator saved by skvae"),
        (pickle.dumps(FILLED), "looks like a pickle"),
        (b"{}", "no estimator saved by skvae"),
        (b"\xff" * 100, "no estimator saved by skvae"),
        ((10**6).to_bytes(8, "little") + b"[" * 10**6, "or is damaged"),
        (safetensors.numpy.save({"weight": np.ones(2)}), "no entry of skvae"),
        (safetensors.numpy.save({}, metadata={"skvae": "no json"}), "cannot be read"),
        (safetensors.numpy.save({}, metadata={"skvae": "[1]"}), "cannot be read"),
        (safetensors.numpy.save({}, metadata={"skvae": '{"sha256": NaN}'}), "cannot be read"),
        (safetensors.numpy.save({}, metadata={"skvae": "[" * 10**5}), "cannot be read"),
    ]:
        path.write_bytes(content)
        with refuses(path, match):
            skvae.load(path)
    torch.save({}, path)
    with refuses(path, "file of torch"):
        skvae.load(path)


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"missing\.skvae"):
        skvae.load(tmp_path / "missing.skvae")
    for use in (skvae.load, FILLED.save):
        with pytest.raises(IsADirectoryError, match=f"This is a folder.*{tmp_path}"):
            use(tmp_path)


def test_another_class(path):
    FILLED.save(path)
    with refuses(path, "holds a VAEImputer, not a VAETransformer.*skvae.load or VAEImputer.load"):
        VAETransformer.load(path)
    assert type(VAEImputer.load(str(path))) is VAEImputer


def test_newer_format(path, altered):
    with refuses(path, "format 2,.*Upgrade"):
        altered(format=2)
    for nonsense in (None, "1", 0, True, -1, [1]):
        with refuses(path, "no format"):
            altered(format=nonsense)


def test_other_versions_warn(saved, altered):
    versions = saved[0]["versions"]
    with pytest.warns(UserWarning, match=r"saved by skvae 0\.0\.1"):
        altered(versions={**versions, "skvae": "0.0.1"})
    with pytest.warns(InconsistentVersionWarning, match=r"VAEImputer from version 0\.9 when"):
        altered(versions={**versions, "scikit-learn": "0.9"})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        altered(versions={**versions, "numpy": "1.0", "torch": "1.0", "pandas": "1.0"})
        with pytest.raises(UserWarning, match="saved by skvae"):
            altered(versions={**versions, "skvae": "0.0.1"})


def test_parts_of_scikit_learn_warn_as_they_do(path):
    VAEImputer(hidden_layer_sizes=(), add_indicator=True).fit([[1, np.nan], [2, 3], [3, 4]]).save(
        path
    )
    document, blobs = read_file(path)
    del document[DIGEST]
    (node,) = (one for one in document["nodes"] if "sklearn.impute.MissingIndicator" in one[1:2])
    next(pair for pair in node[3:] if pair[0] == "_sklearn_version")[1] = "0.9"
    write_file(path, document, blobs)
    with pytest.warns(InconsistentVersionWarning, match=r"MissingIndicator from version 0\.9"):
        skvae.load(path)


def test_unknown_estimators(path, altered):
    for name in (
        "os.system",
        "skvae.estimators.imputer.Other",
        "skvae.models.vae.VAE",
        ["a"],
        None,
    ):
        with refuses(path, "does not know"):
            altered(**{"class": name})
    with refuses(path, "first object is not the estimator"):
        altered(**{"class": "skvae.estimators.transformer.VAETransformer"})


def tree(depth):
    nested = 1
    for _ in range(depth):
        nested = ["tuple", nested]
    return nested


# Nodes that stand in the place of the first one, which is pointed at by others.
HARM = {
    "unknown class": ["object", "os.system", "attributes", ["command", "true"]],
    "another's class": ["object", "builtins.eval", "attributes"],
    "class of a module that is not there": ["object", "evil.Class", "attributes"],
    "no class": ["object", 7, "attributes"],
    "nothing of an object": ["object"],
    "unknown kind": ["eval", "1"],
    "kind without fields": ["array"],
    "empty": [],
    "no list": {"__reduce__": 1},
    "words": "object",
    "points beyond": ["list", ["ref", 10**9]],
    "points before": ["list", ["ref", -1]],
    "points at words": ["list", ["ref", "0"]],
    "points at True": ["list", ["ref", True]],
    "points at a fraction": ["list", ["ref", 0.0]],
    "bomb": ["list", tree(100_000)],
    "object within": ["list", ["list", 1]],
    "key twice": ["dict", ["a", 1], ["a", 2]],
    "list as key": ["dict", [["ref", 0], 1]],
    "no pairs": ["dict", 1, 2],
    "attribute that is a number": ["object", "skvae.models.context.Context", "attributes", [1, 2]],
    "attribute that is no name": [
        "object",
        "skvae.models.context.Context",
        "attributes",
        ["a b", 2],
    ],
    "hook": ["object", "torch.nn.ModuleList", "attributes", ["_forward_hooks", ["ref", 0]]],
    "state of its own": ["object", "skvae.models.context.Context", "state", 7],
    "missing array": ["array", "<f8", [1], [0], "nowhere"],
    "array of a huge shape": ["array", "<f8", [10**12], [0], "more"],
    "array of a negative shape": ["array", "<f8", [-1], [0], "more"],
    "axes twice": ["array", "<f8", [2, 1], [0, 0], "more"],
    "objects without entries": ["array", "|O", [10**12], []],
    "array of records": ["array", "i4,f4", [1], [0], "more"],
    "array of a dtype that is code": ["array", "(lambda: 1)()", [1], [0], "more"],
    "storage of unknown numbers": ["storage", "torch.nothing", "more"],
    "huge integer": ["list", ["int", 7]],
    "no number": ["list", ["float", "zz"]],
    "device": ["list", ["torch.device", "no such thing"]],
    "time zone that is a file": [
        "list",
        ["Timestamp", "datetime64[ns]", 0, "dateutil//etc/passwd"],
    ],
    "dtype that is none": ["list", ["extension", "import os"]],
    "random state outside its key": ["RandomState", 1, 10**6, 0, 0.0],
    "path that is a number": ["list", ["path", 3]],
}


@pytest.mark.parametrize("name", HARM)
def test_harm(name, path, saved, altered):
    nodes = copy.deepcopy(saved[0]["nodes"])
    nodes[0] = HARM[name]
    if name == "bomb":  # json itself gives up, at writing as at reading
        document = json.dumps({DIGEST: "0" * 64, "nodes": []})
        bomb = document.replace("[]", "[" * 100_000 + "]" * 100_000)
        path.write_bytes(safetensors.numpy.save({}, metadata={"skvae": bomb}))
        with refuses(path, "cannot be read"):
            skvae.load(path)
        nodes[0] = ["list", tree(900)]
    with refuses(path, "cannot be read as a VAEImputer"):
        altered(nodes=nodes, blobs={"more": np.ones(2)})


def test_tensors_stay_within_their_memory(path, saved, altered):
    places = [i for i, node in enumerate(saved[0]["nodes"]) if node[0] == "tensor"]
    place = next(i for i in places if min(saved[0]["nodes"][i][2], default=0) > 1)
    n_axes = len(saved[0]["nodes"][place][2])
    for field, value in [
        *((2, [10**9] * n_axes), (3, [10**9] * n_axes), (3, [-1] * n_axes), (3, [1] * 9)),
        *((4, 10**9), (4, -1), (1, "torch.qint8"), (1, 7), (5, 1), (6, 7), (6, None)),
    ]:
        nodes = copy.deepcopy(saved[0]["nodes"])
        nodes[place][field] = value
        with refuses(path, "cannot be read as a VAEImputer"):
            altered(nodes=nodes)


def test_an_array_belongs_to_one_object(path, saved, altered):
    nodes = copy.deepcopy(saved[0]["nodes"])
    first, second = [node for node in nodes if node[0] == "storage"][:2]
    second[2] = first[2]
    with refuses(path, "used twice"):
        altered(nodes=nodes)


def test_nonsense_around_the_nodes(path, altered):
    for changes in ({"nodes": None}, {"nodes": {}}, {"root": -1}, {"root": 10**9}, {"root": None}):
        with refuses(path, "cannot be read as a VAEImputer"):
            altered(**changes)
    with refuses(path, "does not say what wrote it"):
        altered(versions=None)


def test_sparse_matrices_point_within(path):
    matrix = sparse.csr_array(np.eye(3))
    matrix.indices[0] = 10**6
    VAEImputer(missing_values=matrix).save(path)
    with refuses(path, "cannot be read as a VAEImputer"):
        skvae.load(path)


def test_random_edits(path, saved):
    """Whatever stands in the document: an estimator comes out, or the one error."""
    rng = np.random.default_rng(0)
    document, blobs, _ = saved
    waste = [None, -1, 10**30, "x", [], ["ref", 0], ["tuple"], ["float", "7ff8"], ["dtype", "|O"]]
    loaded = 0
    for _ in range(150):
        changed = copy.deepcopy(document)
        place = changed["nodes"]
        while isinstance(place[deeper := rng.integers(len(place))], list) and place[deeper]:
            if rng.random() < 0.2:
                break
            place = place[deeper]
        place[deeper] = waste[rng.integers(len(waste))]
        write_file(path, changed, blobs)
        with contextlib.suppress(SavedFileError):
            loaded += isinstance(skvae.load(path), VAEImputer)
    assert loaded < 150
