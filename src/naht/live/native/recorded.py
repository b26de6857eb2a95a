"""Finds and reads the records of hotpatches in a process. Judges nothing and writes nothing."""

from __future__ import annotations

from collections.abc import Sequence

from naht.errors import HostileInputError
from naht.live.native import record as records
from naht.live.native.memory import TargetMemory
from naht.live.native.procfs import Mapping
from naht.live.native.record import Record

MAX_RECORDS = 256


def record_mappings(maps: Sequence[Mapping]) -> list[Mapping]:
    """The mappings where a record may start: anonymous, private, and write-only."""
    return [m for m in maps if m.permissions == "-w-p" and m.anonymous][:MAX_RECORDS]


def read_record(memory: TargetMemory, mapping: Mapping) -> Record:
    """Raises HostileInputError for what is not a whole record."""
    header = memory.read(mapping.start, records.HEADER_SIZE)
    size = records.HEADER_SIZE + records.payload_size(header)
    if size > mapping.size:
        raise HostileInputError(
            "The hotpatch record in the process is larger than its mapping.",
            "Treat the process as altered: restart it at the next chance.",
        )
    return records.decode_record(mapping.start, memory.read(mapping.start, size))


def read_records(memory: TargetMemory, maps: Sequence[Mapping]) -> list[Record]:
    """Every whole record; what is malformed is left to `status` to report."""
    found = []
    for mapping in record_mappings(maps):
        try:
            found.append(read_record(memory, mapping))
        except HostileInputError:
            continue
    return found
