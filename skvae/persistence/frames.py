"""pandas: dtypes, scalars, indexes, series and frames."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from pandas.api.extensions import ExtensionDtype

from skvae.persistence.errors import Malformed
from skvae.persistence.graph import Kind, Reader, Writer, listed

MASKED = {
    one.name: one
    for one in (
        *(pd.Int8Dtype(), pd.Int16Dtype(), pd.Int32Dtype(), pd.Int64Dtype()),
        *(pd.UInt8Dtype(), pd.UInt16Dtype(), pd.UInt32Dtype(), pd.UInt64Dtype()),
        *(pd.Float32Dtype(), pd.Float64Dtype(), pd.BooleanDtype()),
    )
}


# Scalars -----------------------------------------------------------------------------------------


def _zone(zone: Any) -> str | None:
    """What pandas reads as the same time zone; None where there is no such word."""
    try:
        same = str(pd.DatetimeTZDtype(tz=str(zone)).tz) == str(zone)
    except (TypeError, ValueError, KeyError):
        return None
    return str(zone) if same else None


def _checked_zone(zone: Any) -> str:
    # dateutil would open whatever file is named.
    if not isinstance(zone, str) or zone.startswith("dateutil"):
        raise Malformed(f"it holds an unknown time zone {zone!r}")
    return zone


def _write_time(time: Any, writer: Writer) -> list[Any]:
    bits = time.asm8
    zone = getattr(time, "tzinfo", None)
    if zone is not None and _zone(zone) is None:
        writer.refuse(time, f"its time zone {zone!r} has no name")
    return [str(bits.dtype), int(bits.view("i8")), None if zone is None else _zone(zone)]


def _read_timestamp(fields: list[Any], reader: Reader) -> pd.Timestamp:
    dtype, number, zone = fields
    time = pd.Timestamp(np.int64(number).view(dtype))
    return time if zone is None else time.tz_localize("UTC").tz_convert(_checked_zone(zone))


def _read_timedelta(fields: list[Any], reader: Reader) -> pd.Timedelta:
    dtype, number, _ = fields
    return pd.Timedelta(np.int64(number).view(dtype))


def _write_interval(interval: pd.Interval, writer: Writer) -> list[Any]:
    return [*writer.values((interval.left, interval.right)), interval.closed]


def _read_interval(fields: list[Any], reader: Reader) -> pd.Interval:
    return pd.Interval(*reader.values(fields))


def _read_period(fields: list[Any], reader: Reader) -> pd.Period:
    number, frequency = reader.values(fields)
    return pd.Period(ordinal=number, freq=frequency)


# Dtypes ------------------------------------------------------------------------------------------


def _write_extension(dtype: ExtensionDtype, writer: Writer) -> list[Any]:
    if dtype.name in MASKED and dtype == MASKED[dtype.name]:
        return ["masked", dtype.name]
    if isinstance(dtype, pd.CategoricalDtype):
        categories = writer.value(dtype.categories, ".categories")
        return ["category", categories, bool(dtype.ordered) if dtype.ordered is not None else None]
    if isinstance(dtype, pd.StringDtype):
        return ["string", dtype.storage, writer.value(getattr(dtype, "na_value", pd.NA))]
    if isinstance(dtype, pd.IntervalDtype):
        return ["interval", writer.value(dtype.subtype), dtype.closed]
    if isinstance(dtype, pd.PeriodDtype):
        return ["period", dtype.name]
    if isinstance(dtype, pd.DatetimeTZDtype) and _zone(dtype.tz) is not None:
        return ["zoned", dtype.unit, _zone(dtype.tz)]
    if isinstance(dtype, pd.ArrowDtype) and _arrow(str(dtype.pyarrow_dtype)) == dtype:
        return ["arrow", str(dtype.pyarrow_dtype)]
    writer.refuse(dtype, f"it is the dtype {dtype}")


def _arrow(name: str) -> pd.ArrowDtype | None:
    """pandas' dtype of an arrow type without parameters."""
    import pyarrow

    # Its own words for these are no aliases of them.
    name = {"double": "float64", "float": "float32", "halffloat": "float16"}.get(name, name)
    try:
        return pd.ArrowDtype(pyarrow.type_for_alias(name))
    except ValueError:
        return None


def _string_dtype(storage: str, missing: Any) -> pd.StringDtype:
    # Before pandas 2.3 there was one sort of absence only.
    return pd.StringDtype(storage) if missing is pd.NA else pd.StringDtype(storage, missing)


def _read_extension(fields: list[Any], reader: Reader) -> ExtensionDtype:
    sort, *rest = reader.values(fields)
    made: Any = None
    if sort == "masked":
        made = MASKED[rest[0]]
    elif sort == "category":
        made = pd.CategoricalDtype(*rest)
    elif sort == "string":
        made = _string_dtype(*rest)
    elif sort == "interval":
        made = pd.IntervalDtype(*rest)
    elif sort == "period":
        made = pd.PeriodDtype.construct_from_string(rest[0])
    elif sort == "zoned":
        made = pd.DatetimeTZDtype(rest[0], _checked_zone(rest[1]))
    elif sort == "arrow":
        made = _arrow(rest[0])
    if made is None:
        raise Malformed(f"it holds an unknown dtype {sort!r}")
    return made


# Columns -----------------------------------------------------------------------------------------


def _write_column(values: Any, writer: Writer) -> list[Any]:
    """What a pandas object holds, by its dtype."""
    dtype: Any = values.dtype
    if isinstance(dtype, np.dtype):
        return [writer.value(dtype), writer.value(np.asarray(values))]
    kind = writer.value(dtype, ".dtype")
    if isinstance(dtype, pd.CategoricalDtype):
        return [kind, writer.value(np.asarray(values.codes), ".codes")]
    if isinstance(dtype, pd.IntervalDtype):
        return [kind, *(writer.value(one, ".ends") for one in (values.left, values.right))]
    if isinstance(dtype, pd.PeriodDtype | pd.DatetimeTZDtype):
        return [kind, writer.value(np.asarray(values.asi8), ".asi8")]
    return [kind, writer.value(values.to_numpy(dtype=object), ".values")]


def _read_column(fields: Any, reader: Reader) -> Any:
    """An array that pandas makes an index or a column of."""
    dtype, *parts = reader.values(listed(fields))
    if isinstance(dtype, np.dtype):
        (values,) = parts
        if not isinstance(values, np.ndarray) or values.dtype != dtype:
            raise Malformed("a column is not of its dtype")
        return values
    if isinstance(dtype, pd.CategoricalDtype):
        return pd.Categorical.from_codes(*parts, dtype=dtype)
    if isinstance(dtype, pd.IntervalDtype):
        return pd.arrays.IntervalArray.from_arrays(*parts, closed=dtype.closed)
    if isinstance(dtype, pd.PeriodDtype):
        return pd.arrays.PeriodArray(*parts, dtype=dtype)
    if isinstance(dtype, pd.DatetimeTZDtype):
        times = pd.DatetimeIndex(parts[0].view(f"M8[{dtype.unit}]"))
        return times.tz_localize("UTC").tz_convert(dtype.tz)
    return pd.array(*parts, dtype=dtype)


def _write_index(index: pd.Index, writer: Writer) -> list[Any]:
    names = writer.values(index.names)
    if isinstance(index, pd.RangeIndex):
        return ["range", names, index.start, index.stop, index.step]
    if isinstance(index, pd.MultiIndex):
        levels = writer.values(index.levels)
        return ["multi", names, levels, writer.values([np.asarray(c) for c in index.codes])]
    values = index if isinstance(index.dtype, np.dtype) else index.array
    return ["values", names, _write_column(values, writer)]


def _read_index(fields: list[Any], reader: Reader) -> pd.Index:
    sort, names, *rest = fields
    names = reader.values(names)
    if sort == "range":
        return pd.RangeIndex(*rest, name=names[0])
    if sort == "multi":
        levels, codes = (reader.values(part) for part in rest)
        return pd.MultiIndex(levels=levels, codes=codes, names=names)
    if sort != "values":
        raise Malformed(f"it holds an unknown index {sort!r}")
    (values,) = rest
    values = _read_column(values, reader)
    return pd.Index(values, dtype=values.dtype, name=names[0])


def _write_series(series: pd.Series, writer: Writer) -> list[Any]:
    name, index = writer.value(series.name), writer.value(series.index, ".index")
    values = series.to_numpy() if isinstance(series.dtype, np.dtype) else series.array
    return [name, index, _write_column(values, writer)]


def _read_series(fields: list[Any], reader: Reader) -> pd.Series:
    name, index = reader.values(fields[:2])
    values = _read_column(fields[2], reader)
    return pd.Series(values, index, dtype=values.dtype, name=name)


def _write_frame(frame: pd.DataFrame, writer: Writer) -> list[Any]:
    columns = [frame.iloc[:, j] for j in range(frame.shape[1])]
    return [writer.value(frame.columns, ".columns"), writer.value(frame.index, ".index")] + [
        _write_column(one.to_numpy() if isinstance(one.dtype, np.dtype) else one.array, writer)
        for one in columns
    ]


def _read_frame(fields: list[Any], reader: Reader) -> pd.DataFrame:
    columns, index = reader.values(fields[:2])
    values = [_read_column(one, reader) for one in fields[2:]]
    series = {j: pd.Series(one, index, dtype=one.dtype) for j, one in enumerate(values)}
    frame = pd.DataFrame(series, index)
    frame.columns = columns
    return frame


INDEX = Kind("index", _write_index, _read_index, shared=True)
KINDS: dict[type, Kind] = {
    type(pd.NA): Kind("NA", lambda value, writer: [], lambda fields, reader: pd.NA),
    type(pd.NaT): Kind("NaT", lambda value, writer: [], lambda fields, reader: pd.NaT),
    pd.Timestamp: Kind("Timestamp", _write_time, _read_timestamp),
    pd.Timedelta: Kind("Timedelta", _write_time, _read_timedelta),
    pd.Interval: Kind("Interval", _write_interval, _read_interval),
    pd.Period: Kind(
        "Period", lambda period, writer: [period.ordinal, period.freqstr], _read_period
    ),
    pd.Series: Kind("Series", _write_series, _read_series, shared=True),
    pd.DataFrame: Kind("DataFrame", _write_frame, _read_frame, shared=True),
}
FAMILIES: dict[type, Kind] = {
    pd.Index: INDEX,
    ExtensionDtype: Kind("extension", _write_extension, _read_extension),
}
