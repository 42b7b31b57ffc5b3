"""Tables in chunks, tables longer than `subsample`, and answers part by part."""

import builtins
import os
import re
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from skvae import (
    MultimodalVAE,
    SemiSupervisedVAEClassifier,
    VAEImputer,
    VAEOutlierDetector,
    VAETransformer,
)
from skvae.chunks import iter_chunks, map_chunks
from skvae.estimators._prediction import scaled_table

pa = pytest.importorskip("pyarrow")
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

QUICK = {"hidden_layer_sizes": (), "n_components": 2, "random_state": 0}
CUTS = [(0, 1, 100, 240), (0, 77, 154, 200, 240)]
ESTIMATORS = {
    "imputer": VAEImputer(**QUICK),
    "transformer": VAETransformer(**QUICK),
    "detector": VAEOutlierDetector(**QUICK),
    "blocks": MultimodalVAE({"one": ["f", "i"], "two": ["s", "b", "c"]}, **QUICK),
}


def mixed_frame(n=240, seed=0):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=n)
    frame = pd.DataFrame(
        {
            "f": z + 0.3 * rng.normal(size=n),
            "i": pd.array(rng.poisson(np.exp(0.5 * z) * 5), dtype="Int64"),
            "s": np.where(z > 0, "up", "down").astype(object),
            "b": pd.array(z + rng.normal(size=n) > 0, dtype="boolean"),
            "c": pd.Categorical.from_codes(np.digitize(z, [-0.5, 0.5]), ["lo", "mid", "hi"]),
        }
    )
    return frame.mask(rng.random(frame.shape) < 0.15)


def cut(frame, at):
    return [frame[a:b] for a, b in pairwise(at)]


def answers(estimator, frame):
    """Something of every kind of estimator that hangs on all it has learnt."""
    if hasattr(estimator, "score_samples"):
        return estimator.score_samples(frame)
    return estimator.predict_proba(frame)


def fitted(name, X, **more):
    estimator = ESTIMATORS[name]
    return type(estimator)(**{**estimator.get_params(), **more}).fit(X)


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize("subsample", [60, None])
def test_chunks_are_the_table(name, subsample):
    frame = mixed_frame()
    whole = answers(fitted(name, frame, subsample=subsample), frame)
    for at in CUTS:
        chunked = fitted(name, iter(cut(frame, at)), subsample=subsample)
        np.testing.assert_array_equal(answers(chunked, frame), whole)


@pytest.mark.parametrize("subsample", [60, 5000])
def test_arrays_in_chunks(subsample):
    X = mixed_frame()[["f", "i"]].to_numpy(dtype=float, na_value=np.nan)
    whole = VAEImputer(**QUICK, subsample=subsample).fit(X).transform(X)
    parts = (X[a : a + 50] for a in range(0, len(X), 50))
    chunked = VAEImputer(**QUICK, subsample=subsample).fit(parts).transform(X)
    np.testing.assert_array_equal(chunked, whole)


def test_short_tables_are_not_sampled():
    frame = mixed_frame()
    usual = VAETransformer(**QUICK).fit(frame)
    exact = VAETransformer(**QUICK, subsample=len(frame)).fit(frame)
    np.testing.assert_array_equal(usual.transform(frame), exact.transform(frame))
    # A random state that is not asked for rows leaves the fit what it was.
    settings = {**QUICK, "random_state": np.random.RandomState(3)}
    one = VAETransformer(**settings).fit(frame).transform(frame)
    settings["random_state"] = np.random.RandomState(3)
    np.testing.assert_array_equal(one, VAETransformer(**settings).fit([frame]).transform(frame))


def test_weights_follow_their_rows():
    frame = mixed_frame()
    weight = np.random.default_rng(1).integers(0, 3, len(frame)).astype(float)
    there = frame[weight > 0].reset_index(drop=True)
    whole = VAETransformer(**QUICK, subsample=60).fit(frame, sample_weight=weight)
    without = VAETransformer(**QUICK, subsample=60).fit(there, sample_weight=weight[weight > 0])
    np.testing.assert_array_equal(whole.transform(frame), without.transform(frame))
    named = VAETransformer(**QUICK, subsample=60)
    named.fit(cut(frame.assign(w=weight), CUTS[0]), sample_weight="w")
    np.testing.assert_array_equal(named.transform(frame), whole.transform(frame))
    plain = VAETransformer(**QUICK, subsample=60).fit(there)
    assert not np.array_equal(plain.transform(frame), whole.transform(frame))


@pytest.mark.parametrize("subsample", [60, None])
def test_labels_in_a_column(subsample):
    frame = mixed_frame()
    y = np.where(frame["f"].fillna(0) > 0, "a", "b").astype(object)
    y[np.arange(len(y)) % 10 > 0] = -1
    settings = {**QUICK, "subsample": subsample}
    whole = SemiSupervisedVAEClassifier(**settings).fit(frame, y)
    chunks = cut(frame.assign(label=y), CUTS[1])
    chunked = SemiSupervisedVAEClassifier(**settings).fit(chunks, "label")
    np.testing.assert_array_equal(chunked.predict_proba(frame), whole.predict_proba(frame))
    assert chunked.feature_names_in_.tolist() == list(frame.columns)


def test_few_labels_are_all_kept():
    frame = mixed_frame()
    y = np.full(len(frame), -1)
    y[5::24] = np.arange(10) % 2
    y[100] = 7  # a single row of its class
    model = SemiSupervisedVAEClassifier(**QUICK, subsample=60).fit(frame, y)
    assert model.classes_.tolist() == [0, 1, 7]
    counts = dict(zip(*np.unique(model.transduction_, return_counts=True), strict=True))
    assert sum(counts.values()) < 70
    assert counts[7] >= 1
    # Where most are labelled they are no longer preferred.
    model = SemiSupervisedVAEClassifier(**QUICK, subsample=60).fit(frame, np.arange(240) % 2)
    assert len(model.transduction_) < 70


def test_what_a_sample_lacks_is_learnt():
    frame = mixed_frame()
    frame["s"] = frame["s"].astype(object)
    frame.loc[200, "s"] = "seldom"
    frame.loc[10, "f"], frame.loc[239, "f"] = 50.0, -50.0
    frame["z"] = 1.0
    frame.loc[120, "z"], frame.loc[121, "z"] = 1.5, -3.0
    imputer = VAEImputer(**QUICK, subsample=20).fit(frame)
    assert "seldom" in imputer._codec.columns[2].categories
    scaler = imputer._predictor.scaler
    assert (scaler.low[0], scaler.high[0]) == (-50.0, 50.0)
    assert imputer._codec.columns[5].status == "modelled"
    with pytest.raises(ValueError, match=r"'z' is of kind 'positive'.* holds -3 "):
        VAEImputer(**QUICK, subsample=20, column_types={"z": "positive"}).fit(iter([frame]))
    frame.loc[121, "z"] = 1.0
    with pytest.raises(ValueError, match=r"'z' is of kind 'count'.* holds 1\.5 "):
        VAEImputer(**QUICK, subsample=20, column_types={"z": "count"}).fit(frame)


def test_holes_elsewhere_are_flagged():
    frame = mixed_frame().assign(full=np.arange(240.0))
    frame.loc[77, "full"] = np.nan
    imputer = VAEImputer(**QUICK, subsample=20, add_indicator=True).fit(frame)
    assert "missingindicator_full" in imputer.get_feature_names_out()


def test_dtypes_of_chunks_are_united():
    frame = mixed_frame()[["f", "i", "c"]]
    one = frame[:120].assign(c=frame["c"][:120].cat.set_categories(["lo", "mid"]))
    two = frame[120:].assign(c=frame["c"][120:].cat.set_categories(["new", "hi", "lo"]))
    two["i"] = two["i"].astype(float) + 0.5
    imputer = VAEImputer(**QUICK).fit([one, two])
    kinds = {column.name: column for column in imputer._codec.columns}
    assert set(kinds["c"].categories) == {"lo", "mid", "hi"}
    assert list(kinds["c"].dtype.categories) == ["lo", "mid", "new", "hi"]
    assert kinds["i"].dtype == "Float64"


# Files ------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    frame = mixed_frame()
    (tmp_path / "table").mkdir()
    for number, part in enumerate(cut(frame, CUTS[0])):
        part.to_parquet(tmp_path / "table" / f"part{number}.parquet", row_group_size=50)
    return tmp_path / "table"


def test_parquet_in_all_its_forms(folder):
    import pyarrow.dataset as ds
    import pyarrow.parquet as pq

    frame = mixed_frame()
    single = folder.parent / "single.parquet"
    frame.to_parquet(single)
    expected = VAETransformer(**QUICK, subsample=60).fit(frame).transform(frame)
    for source in (
        folder,
        str(single),
        os.fspath(folder),
        ds.dataset(str(folder), format="parquet"),
        pq.ParquetFile(single),
        pq.ParquetFile(single).iter_batches(batch_size=31),
    ):
        model = VAETransformer(**QUICK, subsample=60).fit(source)
        np.testing.assert_array_equal(model.transform(frame), expected)


def test_whole_numbers_with_holes_stay_whole(tmp_path):
    # Without pandas' own notes a chunk with holes would be read as floats.
    table = pa.table({"i": [1, None, 3, 4] * 30, "b": [True, None, False, True] * 30})
    pa.parquet.write_table(table, tmp_path / "plain.parquet")
    for chunk in iter_chunks(tmp_path / "plain.parquet", 50):
        assert chunk.dtypes.astype(str).tolist() == ["Int64", "boolean"]


def test_chunk_sizes_and_columns(folder):
    frame = mixed_frame()
    chunks = list(iter_chunks(folder, 70, columns=["s", "f"]))
    assert [len(chunk) for chunk in chunks] == [70, 70, 70, 30]
    joined = pd.concat(chunks)
    assert joined.index.tolist() == list(range(240))
    assert list(joined.columns) == ["s", "f"]
    np.testing.assert_array_equal(joined["f"], frame["f"])
    assert [len(part) for part in iter_chunks(frame, 100)] == [100, 100, 40]
    assert [len(part) for part in iter_chunks(iter(cut(frame, CUTS[0])), 100)] == [1, 99, 100, 40]
    for size, error in ((0, ValueError), (2.5, TypeError), (True, TypeError)):
        with pytest.raises(error, match="chunk_size"):
            iter_chunks(frame, size)
    with pytest.raises(ValueError, match=r"Chunk 0 .*\['nope'\]"):
        list(iter_chunks([frame], columns=["nope"]))
    for source in (folder, pa.dataset.dataset(folder)):
        with pytest.raises(ValueError, match=r"no columns \['nope'\], .*it has f, i"):
            list(iter_chunks(source, columns=["f", "nope"]))


def test_lists_and_iterators_of_paths(folder):
    frame = mixed_frame()
    whole = answers(fitted("imputer", frame), frame)
    paths = sorted(folder.iterdir())
    for source in (paths, iter(paths), [str(path) for path in paths]):
        np.testing.assert_array_equal(answers(fitted("imputer", source), frame), whole)
    assert len(pd.concat(list(iter_chunks(paths, columns=["f"])))) == 240


def test_keys_stand_beside_the_results(folder, tmp_path):
    frame = mixed_frame()
    imputer = VAEImputer(**QUICK).fit(frame)
    keyed = frame.assign(key=[f"k{i}" for i in range(240)])
    keyed.to_parquet(tmp_path / "keyed.parquet")
    options = {"chunk_size": 100, "keep": ["key"]}
    path = map_chunks(
        imputer.transform, tmp_path / "keyed.parquet", out=tmp_path / "out.parquet", **options
    )
    written = pd.read_parquet(path)
    assert written.columns.tolist() == ["key", *frame.columns]
    assert written["key"].tolist() == keyed["key"].tolist()
    np.testing.assert_array_equal(written["f"], imputer.transform(frame)["f"])
    parts = list(map_chunks(imputer.score_samples, keyed, **options))
    assert [part.columns.tolist() for part in parts] == [["key", "score_samples"]] * 3
    assert pd.concat(parts).index.equals(keyed.index)
    # The columns for the method may be named too.
    chosen = map_chunks(imputer.transform, keyed, columns=list(frame.columns), keep=["key"])
    assert next(chosen).columns.tolist() == ["key", *frame.columns]
    for source, keep, error, match in (
        (keyed, "key", TypeError, r"keep must be a list of names, got 'key': pass \['key'\]"),
        (keyed, ["nix"], ValueError, r"Chunk 0 of X has no columns \['nix'\]"),
        (np.ones((3, 2)), ["key"], TypeError, "names columns of frames of pandas"),
    ):
        with pytest.raises(error, match=match):
            list(map_chunks(imputer.transform, source, keep=keep))


def test_filling_a_file(folder):
    frame = mixed_frame()
    imputer = VAEImputer(**QUICK).fit(folder)
    whole = imputer.transform(frame)
    parts = map_chunks(imputer.transform, folder, chunk_size=64)
    assert iter(parts) is parts
    lazily = pd.concat(list(parts))
    out = map_chunks(imputer.transform, folder, chunk_size=64, out=folder.parent / "filled.parquet")
    filled = pd.read_parquet(out)
    for found in (lazily, filled):
        pd.testing.assert_frame_equal(found.astype(whole.dtypes), whole, rtol=1e-3, atol=1e-3)
    assert sorted(os.listdir(folder.parent)) == ["filled.parquet", "table"]


def test_results_do_not_replace_what_they_are_read_from(folder):
    imputer = VAEImputer(**QUICK).fit(folder)
    file = next(folder.rglob("*.parquet"))
    for source, out in ((file, file), (folder, folder / "more.parquet"), ([file], file)):
        with pytest.raises(ValueError, match="is part of the source"):
            map_chunks(imputer.transform, source, out=out)
    with pytest.raises(ValueError, match=r"written as Parquet: name it filled\.parquet"):
        map_chunks(imputer.transform, folder, out=folder.parent / "filled.csv")
    with pytest.raises(TypeError, match="method of a fitted estimator"):
        map_chunks(imputer, folder)


def test_levels_beyond_those_of_the_sample_stay():
    rng = np.random.default_rng(0)
    codes = [f"k{i % 300}" for i in range(900)]
    frame = pd.DataFrame({"code": codes, "x": rng.normal(size=900)})
    frame.loc[::7, "x"] = np.nan
    imputer = VAEImputer(**QUICK, subsample=150)
    with pytest.warns(UserWarning, match="the others stay where given"):
        filled = imputer.fit(frame).transform(frame)
    assert (filled["code"] == frame["code"]).all()
    assert filled["x"].notna().all()


def test_results_that_are_arrays(tmp_path):
    frame = mixed_frame()
    model = VAETransformer(**QUICK).fit(frame)
    out = tmp_path / "out.parquet"
    scores = pd.read_parquet(map_chunks(model.score_samples, frame, chunk_size=100, out=out))
    np.testing.assert_allclose(scores["score_samples"], model.score_samples(frame), rtol=1e-4)
    latents = pd.read_parquet(map_chunks(model.transform, frame, chunk_size=100, out=str(out)))
    assert list(latents.columns) == list(model.get_feature_names_out())
    with pytest.raises(TypeError, match="posterior gives a tuple"):
        map_chunks(model.posterior, frame, out=out)


def test_a_failure_leaves_the_old_file(tmp_path):
    out = tmp_path / "out.parquet"
    out.write_text("old")

    def fail(chunk):
        if chunk.index[0]:
            raise RuntimeError("half way")
        return chunk

    with pytest.raises(RuntimeError, match="half way"):
        map_chunks(fail, mixed_frame(), chunk_size=100, out=out)
    with pytest.raises(ValueError, match="Column 'i' of part 1 is of type double"):
        map_chunks(
            lambda chunk: chunk.assign(i=0.5) if chunk.index[0] else chunk.assign(i=1),
            mixed_frame(),
            chunk_size=100,
            out=out,
        )
    with pytest.raises(ValueError, match="no rows"):
        map_chunks(fail, iter([]), out=out)
    assert os.listdir(tmp_path) == ["out.parquet"]
    assert out.read_text() == "old"
    with pytest.raises(FileNotFoundError, match="no folder"):
        map_chunks(fail, mixed_frame(), out=tmp_path / "nowhere" / "out.parquet")


def test_tables_in_memory_are_asked_in_parts(monkeypatch):
    frame = mixed_frame()
    imputer = VAEImputer(**QUICK).fit(frame)
    model = VAETransformer(**QUICK).fit(frame)

    def said():
        lower, upper = imputer.predict_interval(frame)
        return (
            *(
                part[["f", "i"]].to_numpy(float)
                for part in (imputer.transform(frame), lower, upper)
            ),
            imputer.score_samples(frame),
            imputer.effective_sample_size(frame),
            model.transform(frame),
            model.score_samples(frame),
        )

    whole = said()
    sizes = []
    monkeypatch.setattr("skvae.estimators._prediction.ROWS_AT_ONCE", 50)
    monkeypatch.setattr("skvae.estimators._latent.ENCODED_AT_ONCE", 50)
    monkeypatch.setattr("skvae.estimators._latent.DECODED_AT_ONCE", 50 * 256)
    for module in ("_prediction", "_latent"):
        name = f"skvae.estimators.{module}.scaled_table"
        monkeypatch.setattr(name, lambda s, v, o: sizes.append(len(v)) or scaled_table(s, v, o))
    for one, other in zip(whole, said(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)
    assert max(sizes) == 50
    (draw,) = imputer.sample_imputations(frame, 1, random_state=0)
    known = frame["i"].notna()
    assert (draw["i"][known] == frame["i"][known]).all()
    assert not draw.isna().any(axis=None)


# Bad input ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("chunks", "error", "words"),
    [
        (lambda f: iter([]), ValueError, r"no rows \(n_samples=0\)"),
        (lambda f: iter([f[:0], f[:0]]), ValueError, r"no rows"),
        (lambda f: [f, f[["f", "i"]]], ValueError, r"Chunk 1 of X lacks the columns \['s'"),
        (lambda f: [f, f, f.assign(z=1)], ValueError, r"Chunk 2 of X has the columns \['z'\]"),
        (lambda f: [f, f[f.columns[::-1]]], ValueError, r"Chunk 1 .* another order"),
        (lambda f: iter([f, "text"]), ValueError, r"Chunk 1 of X is no table but of type str"),
        (lambda f: iter([f, f.to_numpy()]), ValueError, r"Chunk 1 of X is an array"),
        (lambda f: iter([{"a": f}]), TypeError, r"Chunk 0 .*mapping of blocks"),
        (lambda f: "nowhere.parquet", FileNotFoundError, r"no file or folder 'nowhere.parquet'"),
        (lambda f: __file__, ValueError, r"test_chunks.py' cannot be read as Parquet"),
        (lambda f: iter([f.assign(t=pd.Timestamp(0))]), TypeError, r"'t' holds times"),
        (lambda f: iter([f.assign(x=[[1]] * len(f))]), TypeError, r"'x' .*unsupported types"),
    ],
)
def test_bad_chunks(chunks, error, words):
    with pytest.raises(error, match=words):
        VAEImputer(**QUICK, subsample=60).fit(chunks(mixed_frame()))


def test_without_pyarrow(monkeypatch, folder):
    find = builtins.__import__

    def without_pyarrow(name, *args, **kwargs):
        if name.split(".")[0] == "pyarrow":
            raise ImportError(name)
        return find(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_pyarrow)
    with pytest.raises(ImportError, match=r"pip install 'skvae\[parquet\]'"):
        VAEImputer(**QUICK).fit(folder)
    frame = mixed_frame()
    with pytest.raises(ImportError, match=r"skvae\[parquet\]"):
        map_chunks(lambda chunk: chunk, frame, out=folder / "out.parquet")


def test_ordered_categories_that_differ():
    frame = mixed_frame()
    one = frame.assign(c=frame["c"].cat.as_ordered())
    two = frame.assign(c=frame["c"].cat.set_categories(["mid", "lo", "hi"], ordered=True))
    with pytest.raises(ValueError, match=r"'c' has ordered categories that differ"):
        VAEImputer(**QUICK).fit([one, two])


def test_files_that_differ(folder):
    mixed_frame()[["f"]].to_parquet(folder / "stranger.parquet")
    with pytest.raises(ValueError, match=r"stranger.parquet' has the columns \['f'\], but"):
        VAEImputer(**QUICK).fit(folder)
    empty = folder / "empty"
    empty.mkdir()
    with pytest.raises(ValueError, match="holds no Parquet file"):
        VAEImputer(**QUICK).fit(empty)


def test_arguments_beside_chunks():
    frame = mixed_frame()
    with pytest.raises(TypeError, match="sample_weight must be the name of one of their columns"):
        VAEImputer(**QUICK).fit([frame], sample_weight=np.ones(240))
    with pytest.raises(ValueError, match="sample_weight='w' names no column of X"):
        VAEImputer(**QUICK).fit([frame], sample_weight="w")
    with pytest.raises(TypeError, match="sample_weight='s' names a column without numbers"):
        VAEImputer(**QUICK).fit([frame], sample_weight="s")
    with pytest.raises(ValueError, match="non-negative"):
        VAEImputer(**QUICK).fit([frame.assign(w=0)], sample_weight="w")
    with pytest.raises(ValueError, match="non-negative"):
        VAEImputer(**QUICK).fit([frame.assign(w=-1)], sample_weight="w")
    with pytest.raises(ValueError, match="'i' names a column with holes"):
        VAEImputer(**QUICK).fit([frame], sample_weight="i")
    with pytest.raises(TypeError, match="y must be the name of one of their columns"):
        SemiSupervisedVAEClassifier(**QUICK).fit([frame], np.ones(240))
    with pytest.raises(ValueError, match=re.escape("X has 240 rows, y 3 labels")):
        SemiSupervisedVAEClassifier(**QUICK, subsample=60).fit(frame, [0, 1, -1])
    imputer = VAEImputer(**QUICK).fit(frame)
    with pytest.raises(TypeError, match=r"which only fit takes.*map_chunks"):
        imputer.transform("table.parquet")
    spent = iter([frame])
    list(spent)
    with pytest.raises(ValueError, match="was read before"):
        list(map_chunks(imputer.transform, spent))
    with pytest.raises(TypeError, match=r"columns must be a list of names.*pass \['f'\]"):
        iter_chunks(frame, columns="f")
    # At once, not after a fit.
    for method in (imputer.fit_transform, VAEOutlierDetector().fit_predict):
        with pytest.raises(TypeError, match=r"which only fit takes"):
            method("table.parquet")


def test_blocks_only_whole():
    frame = mixed_frame()
    blocks = {"one": frame[["f", "i"]], "two": frame[["s", "b"]]}
    model = MultimodalVAE(**QUICK, subsample=60).fit(blocks)
    assert list(model.modalities_) == ["one", "two"]
    with pytest.raises(TypeError, match="mapping of blocks"):
        MultimodalVAE(**QUICK).partial_fit(blocks)
