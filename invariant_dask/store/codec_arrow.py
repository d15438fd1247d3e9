"""Tables and arrays of pyarrow, taken apart into buffers that say nothing but the data.

Arrow leaves much open that nobody sees: where an array starts in its buffers, what lies under a
null, how a column is cut into chunks. Here all of that has one form, so equal data is equal bytes;
the bytes of Arrow IPC files are not used, they differ from version to version. Extension types,
unions, views and run-end encoding are refused.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from invariant_dask.errors import IntegrityError, NotCacheableError

_PLAIN: Final = {
    str(kind): kind
    for kind in (
        pa.null(), pa.bool_(), pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(),
        pa.uint16(), pa.uint32(), pa.uint64(), pa.float16(), pa.float32(), pa.float64(),
        pa.date32(), pa.date64(), pa.string(), pa.large_string(), pa.binary(), pa.large_binary(),
    )
}  # fmt: skip
_TEXT: Final = {pa.string(): 4, pa.binary(): 4, pa.large_string(): 8, pa.large_binary(): 8}


def table_to_value(table: pa.Table) -> list[Any]:
    """Take a table apart."""
    columns = []
    for field, column in zip(table.schema, table.columns, strict=True):
        try:
            columns.append(chunked_to_value(column)[1])
        except NotCacheableError as error:
            raise error.within(f"[{field.name!r}]") from None
    return [_schema(table.schema), table.num_rows, columns]


def table_from_value(value: list[Any]) -> pa.Table:
    """Put a table together; its data is not copied."""
    fields, rows, columns = value
    schema = _to_schema(fields)
    pairs = zip(schema, _listed(columns), strict=True)
    arrays = [_to_array(field.type, data) for field, data in pairs]
    if any(len(array) != rows for array in arrays):
        raise IntegrityError("columns of different lengths")
    if not arrays:  # a table without columns has a length too
        alone = pa.schema([pa.field("", pa.null())], schema.metadata)
        return pa.Table.from_arrays([pa.nulls(rows)], schema=alone).select([])
    return pa.Table.from_arrays(arrays, schema=schema)


def batch_to_value(batch: pa.RecordBatch) -> list[Any]:
    """Take a record batch apart."""
    return table_to_value(pa.Table.from_batches([batch]))


def batch_from_value(value: list[Any]) -> pa.RecordBatch:
    """Put a record batch together."""
    table = table_from_value(value)
    arrays = [column.combine_chunks() for column in table.columns]
    return pa.RecordBatch.from_arrays(arrays, schema=table.schema)


def chunked_to_value(chunked: pa.ChunkedArray) -> list[Any]:
    """Take a column apart; its chunks become one."""
    chunks = chunked.chunks
    whole = pa.concat_arrays(chunks) if chunks else pa.array([], chunked.type)
    return array_to_value(whole)


def chunked_from_value(value: list[Any]) -> pa.ChunkedArray:
    """Put a column together, in one chunk."""
    return pa.chunked_array([array_from_value(value)])


def array_to_value(array: pa.Array) -> list[Any]:
    """Take an array apart."""
    return [_type(array.type), _data(array)]


def array_from_value(value: list[Any]) -> pa.Array:
    """Put an array together; its data is not copied."""
    kind, data = value
    return _to_array(_to_type(kind), data)


# --- data ----------------------------------------------------------------------------------------


def _data(array: pa.Array) -> list[Any]:
    """Return length, which are null, the array's own buffers, and its children."""
    kind, length = array.type, len(array)
    missing = None
    if array.null_count and not pa.types.is_null(kind):
        missing = np.asarray(array.is_null().to_numpy(zero_copy_only=False))
    return [length, missing, *_parts(array, missing)]


def _parts(array: pa.Array, missing: Any) -> tuple[list[Any], list[Any]]:
    kind = array.type
    if pa.types.is_null(kind):
        return [], []
    if pa.types.is_dictionary(kind):
        return [], [_data(array.indices), _data(array.dictionary)]
    if pa.types.is_struct(kind):
        return [], [_data(child) for child in array.flatten()]
    if pa.types.is_fixed_size_list(kind):
        return [], [_data(_items_of_fixed(array, missing))]
    if _is_list(kind):
        lengths = np.diff(array.offsets.to_numpy()).astype("<i8")
        if missing is not None:
            lengths[missing] = 0
        listed = _as_list(array) if pa.types.is_map(kind) else array
        return [lengths], [_data(listed.flatten())]
    if kind in _TEXT:
        return _text_parts(array), []
    if pa.types.is_boolean(kind):
        return [np.asarray(pc.fill_null(array, False).to_numpy(zero_copy_only=False))], []
    return [_fixed(array, kind.bit_width // 8, missing)], []


def _items_of_fixed(array: pa.FixedSizeListArray, missing: Any) -> pa.Array:
    """Return the items, with nulls under each null: what lies there is not seen."""
    items, size = array.flatten(), array.type.list_size
    if missing is None:
        return items
    places = np.repeat(np.cumsum(~missing) - 1, size) * size + np.tile(np.arange(size), len(array))
    return items.take(pa.array(places, mask=np.repeat(missing, size)))


def _as_list(array: pa.MapArray) -> pa.ListArray:
    """Return a map as the list of pairs that it is; only lists can be flattened."""
    pairs = pa.StructArray.from_arrays([array.keys, array.items], fields=list(_entries(array.type)))
    kind = pa.list_(pairs.type)
    buffers = array.buffers()[:2]
    return pa.Array.from_buffers(kind, len(array), buffers, -1, array.offset, [pairs])


def _text_parts(array: pa.Array) -> list[Any]:
    lengths = np.asarray(pc.fill_null(pc.binary_length(array), 0), "<i8")
    # Nulls may have bytes: without them what is left is one run.
    kept = array.drop_null()
    buffer = kept.buffers()[2]
    if buffer is None or not len(kept):
        return [lengths, np.empty(0, "|u1")]
    width = _TEXT[array.type]
    offsets = np.frombuffer(kept.buffers()[1], f"<i{width}")[kept.offset :][: len(kept) + 1]
    return [lengths, np.frombuffer(buffer, "|u1")[int(offsets[0]) : int(offsets[-1])]]


def _fixed(array: pa.Array, width: int, missing: Any) -> Any:
    raw = np.frombuffer(array.buffers()[1] or b"", "|u1")
    raw = raw[array.offset * width : (array.offset + len(array)) * width]
    if missing is not None:
        raw = raw.reshape(len(array), width).copy()
        raw[missing] = 0
    return raw.reshape(-1)


def _to_array(kind: pa.DataType, data: list[Any]) -> pa.Array:
    length, missing, buffers, children = data
    for part in (*_listed(buffers), *(() if missing is None else (missing,))):
        if not isinstance(part, np.ndarray) or part.ndim != 1:
            raise IntegrityError("expected an array of one dimension")
    if pa.types.is_null(kind):
        return pa.nulls(length)
    nulls = None if missing is None else pa.py_buffer(np.packbits(~missing, bitorder="little"))
    if missing is not None and len(missing) != length:
        raise IntegrityError("an array and its nulls have different lengths")
    if pa.types.is_dictionary(kind):
        indices = _to_array(kind.index_type, children[0])
        values = _to_array(kind.value_type, children[1])
        return pa.DictionaryArray.from_arrays(indices, values, ordered=kind.ordered)
    if pa.types.is_struct(kind):
        parts = [_to_array(f.type, child) for f, child in zip(kind, children, strict=True)]
        return _checked(pa.Array.from_buffers(kind, length, [nulls], children=parts))
    if pa.types.is_fixed_size_list(kind):
        child = _to_array(kind.value_type, children[0])
        return _checked(pa.Array.from_buffers(kind, length, [nulls], children=[child]))
    if _is_list(kind):
        inner = kind.value_type if not pa.types.is_map(kind) else _entries(kind)
        child = _to_array(inner, children[0])
        width = 8 if pa.types.is_large_list(kind) else 4
        made = [nulls, _offsets(buffers[0], width, len(child))]
        return _checked(pa.Array.from_buffers(kind, length, made, children=[child]))
    if kind in _TEXT:
        made = [nulls, _offsets(buffers[0], _TEXT[kind], len(buffers[1])), pa.py_buffer(buffers[1])]
        return _checked(pa.Array.from_buffers(kind, length, made))
    if pa.types.is_boolean(kind):
        bits = pa.py_buffer(np.packbits(buffers[0], bitorder="little"))
        return _checked(pa.Array.from_buffers(kind, length, [nulls, bits]), len(buffers[0]))
    if len(buffers[0]) != length * kind.bit_width // 8:
        raise IntegrityError("an array's data does not fit its length")
    return _checked(pa.Array.from_buffers(kind, length, [nulls, pa.py_buffer(buffers[0])]))


def _offsets(lengths: Any, width: int, end: int) -> pa.Buffer:
    offsets = np.concatenate([np.zeros(1, "<i8"), np.cumsum(lengths)])
    if lengths.min(initial=0) < 0 or int(offsets[-1]) != end:
        raise IntegrityError("lengths do not fill the data")
    return pa.py_buffer(offsets.astype(f"<i{width}"))


def _checked(array: pa.Array, length: int | None = None) -> pa.Array:
    if length is not None and length != len(array):
        raise IntegrityError("an array's data does not fit its length")
    # What was stored is not believed: offsets, UTF-8 and indices are looked at.
    array.validate(full=True)
    return array


# --- types ---------------------------------------------------------------------------------------


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_map(kind))


def _entries(kind: pa.MapType) -> pa.DataType:
    return pa.struct([kind.key_field, kind.item_field])


def _type(kind: pa.DataType) -> list[Any]:
    name = str(kind)
    if name in _PLAIN:
        return [name]
    is_ = pa.types
    if is_.is_time(kind) or is_.is_duration(kind):
        return ["time" if is_.is_time(kind) else "duration", kind.bit_width, kind.unit]
    if is_.is_timestamp(kind):
        return ["timestamp", kind.unit, kind.tz]
    if is_.is_decimal(kind) and kind.bit_width in {128, 256}:
        return ["decimal", kind.bit_width, kind.precision, kind.scale]
    if is_.is_fixed_size_binary(kind):
        return ["bytes", kind.byte_width]
    if is_.is_dictionary(kind):
        return ["dictionary", _type(kind.index_type), _type(kind.value_type), kind.ordered]
    if is_.is_struct(kind):
        return ["struct", [_field(field) for field in kind]]
    if is_.is_map(kind):
        return ["map", _field(kind.key_field), _field(kind.item_field), kind.keys_sorted]
    if is_.is_fixed_size_list(kind):
        return ["fixed list", _field(kind.value_field), kind.list_size]
    if is_.is_list(kind) or is_.is_large_list(kind):
        return ["list" if is_.is_list(kind) else "large list", _field(kind.value_field)]
    raise NotCacheableError(reason=f"Arrow type {kind} has no form here; cast it to a plain one")


def _to_type(value: list[Any]) -> pa.DataType:
    name, *rest = _listed(value)
    if not rest:
        return _PLAIN[name]
    if name == "time":
        return pa.time32(rest[1]) if rest[0] == 32 else pa.time64(rest[1])
    if name == "decimal":
        return (pa.decimal128 if rest[0] == 128 else pa.decimal256)(*rest[1:])
    if name == "dictionary":
        return pa.dictionary(_to_type(rest[0]), _to_type(rest[1]), ordered=rest[2])
    if name == "struct":
        return pa.struct([_to_field(field) for field in _listed(rest[0])])
    if name == "map":
        return pa.map_(_to_field(rest[0]), _to_field(rest[1]), keys_sorted=rest[2])
    simple = {"duration": lambda _, unit: pa.duration(unit), "timestamp": pa.timestamp}
    if name in simple:
        return simple[name](*rest)
    if name == "bytes":
        return pa.binary(rest[0])
    field = _to_field(rest[0])
    lists = {"list": pa.list_, "large list": pa.large_list}
    return pa.list_(field, rest[1]) if name == "fixed list" else lists[name](field)


def _field(field: pa.Field) -> list[Any]:
    return [field.name, _type(field.type), field.nullable, _pairs(field.metadata)]


def _to_field(value: list[Any]) -> pa.Field:
    name, kind, nullable, metadata = value
    return pa.field(name, _to_type(kind), nullable, dict(map(tuple, _listed(metadata))) or None)


def _schema(schema: pa.Schema) -> list[Any]:
    return [[_field(field) for field in schema], _pairs(schema.metadata)]


def _to_schema(value: list[Any]) -> pa.Schema:
    fields, metadata = value
    pairs = dict(map(tuple, _listed(metadata)))
    return pa.schema([_to_field(field) for field in _listed(fields)], pairs or None)


def _listed(value: Any) -> list[Any]:
    """Return a list. An empty array of huge shape has no bytes, and items without end."""
    if not isinstance(value, list):
        raise IntegrityError(f"{type(value).__name__} in the place of a list")
    return value


def _pairs(metadata: dict[bytes, bytes] | None) -> list[list[bytes]]:
    return [list(pair) for pair in sorted((metadata or {}).items())]
