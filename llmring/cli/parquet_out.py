"""The rows of a map as Parquet: the columns of the table with their types, a row group at a time."""

from collections.abc import Callable
from decimal import Context, Decimal
from pathlib import Path
from typing import Any, BinaryIO

from llmring.cli.answer_table import Shape, cells_of, shape_of
from llmring.cli.arrow import load_arrow

GROUP_ROWS = 10_000
GROUP_BYTES = 1 << 25
"""A row group is written when it has so many rows, or was so long as JSON."""
COST_DIGITS = 18
"""Behind the point. A token costs ten-millionths of a dollar, so amounts are exact."""
_COST_STEP = Decimal(1).scaleb(-COST_DIGITS)
_WIDE = Context(prec=38)


def parquet_writer(path: Path) -> Callable[[BinaryIO, BinaryIO], None]:
    """What turns JSON lines into Parquet. Raises ConfigError when pyarrow is missing, with `path` in it."""
    arrow = load_arrow(path)
    return lambda part, new: _write(arrow, part, new)


def _write(arrow: Any, part: BinaryIO, new: BinaryIO) -> None:
    shape = shape_of(part)
    part.seek(0)
    schema = _schema(arrow, shape)
    with arrow.parquet.ParquetWriter(new, schema) as writer:
        rows: list[dict[str, Any]] = []
        size = 0
        for line in part:
            rows.append(_exactly(cells_of(line, shape)))
            size += len(line)
            if len(rows) == GROUP_ROWS or size >= GROUP_BYTES:
                writer.write_table(arrow.Table.from_pylist(rows, schema))
                rows, size = [], 0
        if rows:
            writer.write_table(arrow.Table.from_pylist(rows, schema))


def _schema(arrow: Any, shape: Shape) -> Any:
    integer = arrow.int64()
    types = {
        "row": integer,
        "id": integer if shape.ids_are_integers else arrow.string(),
        "input_tokens": integer,
        "output_tokens": integer,
        "cost_usd": cost_type(arrow),
    }
    return arrow.schema([(name, types.get(name, arrow.string())) for name in shape.columns])


def cost_type(arrow: Any) -> Any:
    """The type of a column of dollars."""
    return arrow.decimal128(38, COST_DIGITS)


def exactly(usd: Decimal) -> Decimal:
    """An amount with as many digits as its column has, for pyarrow rounds none."""
    return usd.quantize(_COST_STEP, context=_WIDE)


def _exactly(cells: dict[str, Any]) -> dict[str, Any]:
    cost = cells["cost_usd"]
    return cells if cost is None else {**cells, "cost_usd": exactly(cost)}
