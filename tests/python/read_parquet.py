"""Reads a Parquet file with Apache Arrow: prints its schema and rows as one JSON document.

Numbers are printed as hex floats, so that not a bit is lost on the way.
"""

import json
import sys

import pyarrow.parquet as pq

table = pq.read_table(sys.argv[1])
fields = [[field.name, str(field.type), field.nullable] for field in table.schema]
exact = lambda value: value.hex() if isinstance(value, float) else value
rows = [{name: exact(value) for name, value in row.items()} for row in table.to_pylist()]
json.dump({"fields": fields, "rows": rows}, sys.stdout)
