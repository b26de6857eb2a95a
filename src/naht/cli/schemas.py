"""Every JSON form that is a contract, by name: what `--json` prints, and what is read as a file.

docs/schemas/*.json is written from here (`make schemas`).
"""

from __future__ import annotations

import msgspec

from naht.cli.documents import DOCUMENTS
from naht.cli.release_documents import RELEASE_DOCUMENTS
from naht.releases.facts import DeviceFacts
from naht.releases.store import RecordFile

INPUTS: dict[str, type[msgspec.Struct]] = {"record": RecordFile, "device-facts": DeviceFacts}
SCHEMAS: dict[str, type[msgspec.Struct]] = {**DOCUMENTS, **RELEASE_DOCUMENTS, **INPUTS}


def json_schema(name: str) -> dict[str, object]:
    schema = msgspec.json.schema(SCHEMAS[name])
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
