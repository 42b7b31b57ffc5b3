"""Estimators of all sorts into a file and back: nothing changes."""

import pickle
import subprocess
import sys

import joblib
import numpy as np
import pytest
import sklearn

import skvae
from skvae import (
    MultimodalVAE,
    SemiSupervisedVAEClassifier,
    VAEImputer,
    VAEOutlierDetector,
    VAETransformer,
)

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning:skvae"),
]

NETS = {"hidden_layer_sizes": (4,), "max_iter": 4, "random_state": 0}
LINEAR = {"hidden_layer_sizes": (), "random_state": 0}
TWO = {"n_components": 2, **NETS}
PANDAS = {"transform": "pandas"}

IMPUTERS = {
    "frame": VAEImputer(add_indicator=True, **NETS).set_output(**PANDAS),
    "linear": VAEImputer(keep_empty_features=True, **LINEAR),
    "kinds": VAEImputer(
        column_types={"count": "continuous"}, likelihood={"continuous": "student_t"}, **LINEAR
    ),
    "resampled": VAEImputer(n_estimators=2, sample_posterior=True, **LINEAR),
    "random": VAEImputer(hidden_layer_sizes=(), random_state=np.random.RandomState(3)),
}
ARRAY_IMPUTERS = {
    "array": VAEImputer(missing_values=-1, **LINEAR),
    "matching": VAEImputer(inference="posterior_matching", **NETS),
    "adaptive": VAEImputer(inference="adaptive", **NETS),
    **{
        law: VAEImputer(mechanism="mnar", missingness_model=law, max_iter=4, **LINEAR)
        for law in ("high", "self_masking", "fully_connected", "network", "latent")
    },
}
TRANSFORMERS = {
    "frame": VAETransformer(**TWO).set_output(**PANDAS),
    "linear": VAETransformer(2, rotation="varimax", **LINEAR),
    "mixture": VAETransformer(prior="mixture", inference="posterior_matching", **TWO),
    "vamp": VAETransformer(prior="vamp", **TWO),
    "conditional": VAETransformer(condition_on=["colour", "flag"], **TWO),
    "identifiable": VAETransformer(condition_on=["colour"], conditioning="prior", **TWO),
}
ARRAY_TRANSFORMERS = {
    "sparse": VAETransformer(decoder="sparse", **TWO),
    "isotropic": VAETransformer(2, noise="isotropic", **LINEAR),
    "markov": VAETransformer((2, 1), layer_inference="both", **NETS),
    "skip": VAETransformer((2, 1), hierarchy="skip", layer_inference="bottom_up", **NETS),
}
CLASSIFIERS = {
    **{
        model: SemiSupervisedVAEClassifier(model, **TWO)
        for model in ("m1", "m2", "m1+m2", "auxiliary", "skip_auxiliary")
    },
    "linear": SemiSupervisedVAEClassifier("m1", class_weight={"no": 1, "yes": 2}, **LINEAR),
}
DETECTORS = {
    "ensemble": VAEOutlierDetector(**TWO),
    "linear": VAEOutlierDetector("neighbours", contamination=0.1, **LINEAR),
    "adaptive": VAEOutlierDetector("elbo", inference="adaptive", **TWO),
}
BLOCKS = {
    "product": MultimodalVAE(fusion="poe", readout="decoder", **TWO),
    "mixture": MultimodalVAE(fusion="moe", **TWO),
    "subsets": MultimodalVAE(fusion="mopoe", n_private_components=1, prior="normal", **TWO),
    "linear": MultimodalVAE(
        {"first": slice(0, 2), "rest": [2, 3, 4]}, 2, modality_weights="balanced", **LINEAR
    ),
}
GROUPS = {
    "imputer": IMPUTERS,
    "imputer of arrays": ARRAY_IMPUTERS,
    "transformer": TRANSFORMERS,
    "transformer of arrays": ARRAY_TRANSFORMERS,
    "classifier": CLASSIFIERS,
    "detector": DETECTORS,
    "blocks": BLOCKS,
}
SETTINGS = [(group, name) for group, settings in GROUPS.items() for name in settings]

# Called with a few rows; what an estimator does not have, or refuses, it must refuse again.
METHODS = {
    **{
        name: lambda method, X, options: method(X)
        for name in (
            *("transform", "predict", "predict_proba", "decision_function", "posterior"),
            *("reconstruct", "predict_interval", "explain", "effective_sample_size"),
            *("score_samples", "layer_divergences"),
        )
    },
    "get_feature_names_out": lambda method, X, options: method(),
    "sample": lambda method, X, options: method(3, random_state=0, **options),
    "sample_imputations": lambda method, X, options: method(X, 2, random_state=0),
    "sensitivity": lambda method, X, options: method(X, {0: [1.0]}, 2, random_state=0),
    "sample_conditional": lambda method, X, options: method(X, "first", 2, random_state=0),
}


def table_and_labels(group, name, frame, array):
    if group == "blocks" and name != "linear":
        return ({"first": frame[["real", "colour"]], "rest": frame[["other", "flag"]]},)
    if "arrays" in group or group == "blocks":
        return (np.where(np.isnan(array), -1, array) if name == "array" else array,)
    if group == "classifier":
        labels = np.where(frame["flag"].to_numpy(dtype=bool), "yes", "no").astype(object)
        labels[::2] = -1
        return frame.drop(columns="flag"), labels
    return (frame,)


def first_rows(X):
    return {name: block[:4] for name, block in X.items()} if isinstance(X, dict) else X[:4]


def answers(model, X, options):
    """What the public methods return for some rows, and the message where they refuse."""
    found = {}
    for name, call in METHODS.items():
        if hasattr(model, name):
            try:
                found[name] = call(getattr(model, name), first_rows(X), options)
            except ValueError as error:
                found[name] = str(error)
    return found


@pytest.mark.parametrize(("group", "name"), SETTINGS)
def test_nothing_changes(group, name, frame, array, same, tmp_path):
    X, *labels = table_and_labels(group, name, frame, array)
    model = sklearn.base.clone(GROUPS[group][name]).fit(X, *labels)
    path = tmp_path / "model.skvae"
    model.save(path)
    again = skvae.load(path)
    same(model, again)

    condition = getattr(model, "condition_on", None)
    options = {"condition": frame[condition].iloc[0].to_dict()} if condition else {}
    expected = answers(model, X, options)
    assert sum(not isinstance(answer, str) for answer in expected.values()) >= 2
    same(expected, answers(again, X, options))
    again.save(tmp_path / "again")  # what answered is still what was saved
    assert (tmp_path / "again").read_bytes() == path.read_bytes()
    # Pickles open too.
    same(expected, answers(pickle.loads(pickle.dumps(model)), X, options))


@pytest.mark.parametrize(("group", "name"), SETTINGS)
def test_unfitted_estimators_are_their_parameters(group, name, same, tmp_path):
    model = GROUPS[group][name]
    model.save(tmp_path / "model")
    again = type(model).load(tmp_path / "model")
    same(model, again)
    assert again.get_params().keys() == model.get_params().keys()


def test_random_states_go_on_where_they_were(array, same, tmp_path):
    random = np.random.RandomState(3)
    random.normal()  # one more is in stock
    VAEImputer(random_state=random).save(tmp_path / "model")
    again = skvae.load(tmp_path / "model").random_state
    same(random.normal(size=5), again.normal(size=5))


def test_requests_for_metadata(tmp_path):
    with sklearn.config_context(enable_metadata_routing=True):
        model = VAEImputer().set_fit_request(sample_weight=True)
        model.save(tmp_path / "model")
        again = skvae.load(tmp_path / "model")
        assert again.get_metadata_routing().fit.requests == {"sample_weight": True}
        assert again._metadata_request.fit.owner in (again, "VAEImputer")


def test_joblib(array, same, tmp_path):
    model = VAEImputer(**LINEAR).fit(array)
    joblib.dump(model, tmp_path / "model.joblib")
    mapped = joblib.load(tmp_path / "model.joblib", mmap_mode="r")
    same(model.transform(array), mapped.transform(array))
    mapped.save(tmp_path / "model")  # arrays that lie in a file are arrays
    same(model, skvae.load(tmp_path / "model"))


ELSEWHERE = """
import sys
import numpy as np
import skvae
np.save(sys.argv[2], skvae.load(sys.argv[1]).transform(np.load(sys.argv[3])))
"""


def test_another_process_fills_the_same(array, tmp_path):
    model = VAEImputer(**LINEAR).fit(array)
    model.save(tmp_path / "model")
    np.save(tmp_path / "rows.npy", array)
    places = [str(tmp_path / name) for name in ("model", "filled.npy", "rows.npy")]
    subprocess.run([sys.executable, "-c", ELSEWHERE, *places], check=True)
    assert np.load(tmp_path / "filled.npy").tobytes() == model.transform(array).tobytes()
