"""Frames of polars and pyarrow in and out."""

import builtins
import pickle

import numpy as np
import pandas as pd
import pytest

from skvae import MultimodalVAE, VAEImputer, VAEOutlierDetector, VAETransformer
from skvae.chunks import iter_chunks, map_chunks
from skvae.inspection import overimpute
from skvae.tabular import TableCodec
from skvae.tabular.natives import read_native
from skvae.tabular.table import as_table

pl = pytest.importorskip("polars")
pytest.importorskip("narwhals")
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

QUICK = {"hidden_layer_sizes": (), "n_components": 2, "random_state": 0}
SIZES = ["small", "medium", "large"]


def holed_frame(n=120, seed=0):
    """One column of every dtype that can be modelled, driven by a factor, a fifth of it absent."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=n)
    words = np.where(z + 0.5 * rng.normal(size=n) > 0, "up", "down").tolist()
    size = [SIZES[k] for k in np.digitize(z, [-0.5, 0.5])]
    count = rng.poisson(np.exp(0.5 * z) * 5)
    columns = {
        "f64": pl.Series(z + 0.3 * rng.normal(size=n), dtype=pl.Float64),
        "f32": pl.Series(z.astype(np.float32), dtype=pl.Float32),
        "i64": pl.Series(2**53 + 1 + (100 * z).astype(int), dtype=pl.Int64),
        "u8": pl.Series(count, dtype=pl.UInt8),
        "text": pl.Series(words, dtype=pl.String),
        "category": pl.Series(words, dtype=pl.Categorical),
        "enum": pl.Series(size, dtype=pl.Enum(SIZES)),
        "flag": pl.Series(z > 0.2, dtype=pl.Boolean),
    }
    there = pl.DataFrame({name: rng.random(n) > 0.2 for name in columns})
    return pl.DataFrame(columns).select(
        pl.when(there[name]).then(pl.col(name)).otherwise(None).alias(name) for name in columns
    )


def test_filling_keeps_names_dtypes_and_cells():
    frame = holed_frame()
    imputer = VAEImputer(**QUICK).fit(frame)
    filled = imputer.transform(frame)
    assert isinstance(filled, pl.DataFrame)
    assert filled.schema == frame.schema
    assert filled.null_count().sum_horizontal().item() == 0
    for name in frame.columns:
        known = frame[name].is_not_null()
        assert frame[name].filter(known).to_list() == filled[name].filter(known).to_list(), name
    assert imputer.feature_names_in_.tolist() == frame.columns
    kinds = {column.name: column.kind for column in imputer._codec.columns}
    assert kinds["enum"] == "ordinal"  # an Enum's levels have an order
    assert kinds["category"] == kinds["text"] == "binary"
    again = pickle.loads(pickle.dumps(imputer)).transform(frame)
    assert again.equals(filled)


def test_answers_of_the_imputer_are_frames_too():
    frame = holed_frame()
    imputer = VAEImputer(**QUICK).fit(frame)
    (draw,) = imputer.sample_imputations(frame, 1, random_state=0)
    lower, upper = imputer.predict_interval(frame)
    assert all(isinstance(part, pl.DataFrame) for part in (draw, lower, upper))
    assert draw.schema == frame.schema
    assert (lower["f64"] <= upper["f64"]).all()
    flagged = VAEImputer(**QUICK, add_indicator=True).fit_transform(frame)
    assert flagged.columns == [*frame.columns, *(f"missingindicator_{n}" for n in frame.columns)]


def test_output_as_asked_for():
    frame = holed_frame()
    imputer = VAEImputer(**QUICK).fit(frame)
    as_pandas = imputer.set_output(transform="pandas").transform(frame)
    assert as_pandas.dtypes.astype(str)["u8"] == "UInt8"
    assert as_pandas["enum"].cat.categories.tolist() == SIZES
    transformer = VAETransformer(**QUICK).fit(frame)
    assert isinstance(transformer.transform(frame), np.ndarray)
    latents = transformer.set_output(transform="polars").transform(frame)
    assert isinstance(latents, pl.DataFrame)
    assert latents.columns == transformer.get_feature_names_out().tolist()


def test_other_estimators_know_the_columns():
    frame = holed_frame().drop("i64")
    model = VAETransformer(**QUICK).fit(frame)
    assert model.feature_names_in_.tolist() == frame.columns
    assert model.sample(3, random_state=0).schema == frame.schema
    assert model.reconstruct(frame).schema == frame.schema
    given = VAETransformer(**QUICK, condition_on=["b"]).fit(
        frame.select("f64", "f32", "u8").with_columns(b=pl.Series([True, False] * 60))
    )
    drawn = given.sample(2, condition=pl.DataFrame({"b": [True, False]}), random_state=0)
    assert drawn["b"].to_list() == [True, False]
    detector = VAEOutlierDetector(**QUICK).fit(frame)
    told = detector.explain(frame[:2])
    assert told.loc[(0, "f64"), "value"] == frame["f64"][0]
    blocks = MultimodalVAE({"numbers": ["f64", "f32", "u8"], "rest": frame.columns[3:]}, **QUICK)
    predicted = blocks.fit(frame).predict(frame, target="rest")
    assert predicted.schema == frame.select(frame.columns[3:]).schema
    told = overimpute(VAEImputer(**QUICK).fit(frame), frame, random_state=0)
    assert len(told.entries)


def test_like_the_same_frame_of_pandas():
    frame = holed_frame().drop("category", "enum")
    other = pd.DataFrame(
        {
            name: pd.Series(frame[name].to_list(), dtype=dtype)
            for name, dtype in {
                "f64": "float64",
                "f32": "float32",
                "i64": "Int64",
                "u8": "UInt8",
                "text": None,
                "flag": "boolean",
            }.items()
        }
    )
    model = VAETransformer(**QUICK).fit(frame)
    same = VAETransformer(**QUICK).fit(other)
    np.testing.assert_array_equal(model.transform(frame), same.transform(other))
    # And the one where the other was learnt from.
    assert isinstance(VAEImputer(**QUICK).fit(other).transform(frame), pl.DataFrame)
    assert isinstance(VAEImputer(**QUICK).fit(frame).transform(other), pd.DataFrame)


def test_tables_of_pyarrow():
    pa = pytest.importorskip("pyarrow", minversion="13")
    table = holed_frame().drop("i64", "category", "enum").to_arrow()
    filled = VAEImputer(**QUICK).fit_transform(table)
    assert isinstance(filled, pa.Table)
    assert filled.column_names == table.column_names
    assert all(column.null_count == 0 for column in filled.columns)
    assert filled.schema.field("u8").type == pa.uint8()


def test_chunks_of_polars(tmp_path):
    frame = holed_frame()
    parts = [frame[:50], frame[50:]]
    whole = VAEImputer(**QUICK, subsample=60).fit(frame)
    chunked = VAEImputer(**QUICK, subsample=60).fit(parts)
    assert chunked.transform(frame).equals(whole.transform(frame))
    assert chunked.transform(frame).schema == frame.schema
    assert [part.height for part in iter_chunks(frame, 70, columns=["enum"])] == [70, 50]
    pytest.importorskip("pyarrow")
    out = map_chunks(whole.transform, frame, chunk_size=70, out=tmp_path / "filled.parquet")
    assert pl.read_parquet(out).columns == frame.columns


def test_levels_that_an_enum_lacks():
    fitted = pl.DataFrame({"e": pl.Series(SIZES * 20, dtype=pl.Enum(SIZES)), "x": range(60)})
    new = pl.DataFrame({"e": pl.Series(["small", None], dtype=pl.Enum(["small"])), "x": [0, 59]})
    filled = VAEImputer(**QUICK).fit(fitted).transform(new)
    assert filled["e"].dtype == pl.Enum(SIZES)
    assert filled["e"].to_list()[0] == "small"


def test_refusals(monkeypatch):
    frame = holed_frame()
    with pytest.raises(TypeError, match=r"LazyFrame.*X\.collect\(\)"):
        VAEImputer(**QUICK).fit(frame.lazy())
    with pytest.raises(TypeError, match="LazyFrame"):
        list(iter_chunks(frame.lazy()))
    for column in ([pd.Timestamp(0).date()] * 120, [[1]] * 120, [b"x"] * 120):
        with pytest.raises(TypeError, match="Column 'odd'"):
            VAEImputer(**QUICK).fit(frame.with_columns(odd=pl.Series(column)))
    with pytest.raises(ValueError, match="0 sample"):
        as_table(frame[:0])
    missing = builtins.__import__

    def without_narwhals(name, *args, **kwargs):
        if name.split(".")[0] == "narwhals":
            raise ImportError(name)
        return missing(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_narwhals)
    with pytest.raises(ImportError, match=r"frame of polars needs narwhals: .*skvae\[polars\]"):
        read_native(frame)


def test_the_codec_gives_back_what_it_got():
    frame = holed_frame().drop_nulls()
    codec = TableCodec().fit(frame)
    values, _ = codec.encode(frame)
    same, whole = codec.decode(values, frame), codec.decode_all(values)
    assert same.schema == whole.schema == frame.schema
    assert same.to_dicts() == frame.to_dicts()
    # Values past what a float can hold are not in the codec's numbers.
    assert whole.drop("i64").to_dicts() == frame.drop("i64").to_dicts()
