"""The calendar as iCalendar (RFC 5545), through the `icalendar` library of the extra `calendar`.

An event has the same UID in every export, planned or recorded, so that a calendar that is fed again
moves its entries and does not double them.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import TYPE_CHECKING

from naht import __version__
from naht.errors import UsageError
from naht.releases.year import Entry, EntryState, Year

if TYPE_CHECKING:
    from icalendar import Event

_STATUS: dict[EntryState, str] = {
    "planned": "TENTATIVE", "recorded": "CONFIRMED", "withdrawn": "CANCELLED",
    "not-recorded": "TENTATIVE",
}  # fmt: skip


def calendar_of(years: Sequence[Year], today: datetime.date) -> bytes:
    """All-day events, free of time zones: a release is out on its day, wherever a device is."""
    try:
        from icalendar import Calendar  # noqa: PLC0415  (an extra)
    except ImportError as error:
        raise UsageError(
            "iCalendar needs the `icalendar` library.", "pip install 'naht[calendar]'"
        ) from error
    calendar = Calendar()
    calendar.add("prodid", f"-//naht//{__version__}//EN")
    calendar.add("version", "2.0")
    calendar.add("x-wr-calname", "Releases and restarts")
    for year in years:
        for entry in year.entries:
            if entry.takes_off_track:
                continue  # it would announce a restart that nobody owes
            calendar.add_component(_event(year, entry, today))
    return bytes(calendar.to_ical())


def _event(year: Year, entry: Entry, today: datetime.date) -> Event:
    from icalendar import Event  # noqa: PLC0415  (an extra)

    event = Event()
    event.add("uid", _uid(year, entry))
    event.add("dtstamp", datetime.datetime.combine(today, datetime.time(), datetime.UTC))
    event.add("dtstart", entry.date)
    event.add("dtend", entry.date + datetime.timedelta(days=1))
    event.add("summary", _summary(year, entry))
    event.add("description", _description(entry))
    event.add("status", _STATUS[entry.state])
    event.add("transp", "TRANSPARENT")  # it makes nobody busy
    event.add("categories", ["restart" if entry.restart == "needed" else "no restart"])
    return event


def _uid(year: Year, entry: Entry) -> str:
    """By month for what was planned, by release for what came in between."""
    if entry.planned:
        month = entry.release.id[:7] if entry.release else f"{entry.date:%Y.%m}"
        return f"{month}-{year.product}@naht"
    name = entry.release.id if entry.release else str(entry.date)
    return f"{name.replace(' ', '-').replace('*', 'u')}-{year.product}@naht"


def _summary(year: Year, entry: Entry) -> str:
    restart = {"needed": "Restart: ", "conditional": "Restart for some: ", "none": ""}
    what = entry.release.id if entry.release else f"{entry.planned} ({entry.state})"
    return f"{restart[entry.restart]}{year.title}, {what}"


def _description(entry: Entry) -> str:
    release = entry.release
    if release is None:
        return "Planned only: what will be released decides."
    facts = [release.type, release.kb, release.build, release.restart_note, release.notes]
    if entry.deviates:
        facts.append(f"a {entry.planned} was planned")
    if release.withdrawn:
        facts.append(f"withdrawn: {release.withdrawn.reason}")
    return "; ".join(fact for fact in facts if fact)
