"""What makes a proof of a daemon hold, and everything that keeps it from it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from scripts.corpus.cases import Case
from scripts.corpus.daemon_check import DaemonTroubleError, Served
from scripts.corpus.proofs import load as load_module
from scripts.corpus.proofs.facts import Kept, Seen, Telling
from scripts.corpus.proofs.listed import listed
from scripts.corpus.proofs.load import under_load
from scripts.corpus.proofs.table import render
from scripts.corpus.proofs.witness import Witness, established
from scripts.corpus.report import Circumstances

HOW = Circumstances("2026-01-01", "make corpus", "a machine", "0.1")
CLOSED = Seen(old="open", patched="shut", reverted="open", again="shut", new="shut")
CLIENT = """
import sys
sys.path.insert(0, {checkout!r})
from tests.corpus.drivers.daemon_client import WrongAnswerError, serve_words
def good():
    return lambda number: None
def bad():
    def ask(number):
        raise WrongAnswerError("it said no")
    return ask
def prove():
    raise WrongAnswerError("no such thing")
serve_words(lambda: None, [{connections}], {{"x": prove, "y": lambda: "seen"}})
"""


def telling(**changes: Any) -> Telling:
    facts = Telling("pkg", "1-1", "fix.patch", ["CVE-1"], "pkgd", "prove x", seen=CLOSED)
    facts.requests, facts.while_naht_worked = 900, 80
    return msgspec.structs.replace(facts, **changes)


def test_a_proof_without_doubts_holds() -> None:
    assert telling().holds


@pytest.mark.parametrize(
    ("changes", "doubt"),
    [
        ({"errors": 1}, "1 errors"),
        ({"while_naht_worked": 0}, "no client was served"),
        ({"problems": ["2 of 5 connections are lost"]}, "connections are lost"),
        ({"seen": Seen("open", "open", "open", "open", "open")}, "does not close"),
        ({"seen": Seen("open", "shut", "open", "open", "shut")}, "does not close"),
        ({"seen": Seen("open", "shut", "open", "shut", "other")}, "does not close"),
        ({"seen": Seen("open", "shut", "shut", "shut", "shut")}, "not answer as before"),
        ({"seen": Seen()}, "does not close"),
    ],
)
def test_each_doubt_keeps_it_from_holding(changes: dict[str, Any], doubt: str) -> None:
    facts = telling(**changes)
    assert not facts.holds
    assert any(doubt in said for said in facts.doubts())


def test_what_is_kept_is_read_again(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "proofs")
    kept.save(telling(patch="folder/fix.patch"))
    kept.save(telling(patch="folder/fix.patch", requests=7))
    kept.save(telling(patch="other.patch"))
    assert [(t.patch, t.requests) for t in kept.all()] == [
        ("folder/fix.patch", 7),
        ("other.patch", 900),
    ]


def test_only_established_connections_count() -> None:
    row = "  {n}: 0100007F:1F90 0100007F:C0DE {state} 0:0 0:0 0 0 0 {inode} 1 x 20 4 30 10 -1\n"
    table = "  sl  local_address rem_address   st …\n" + "".join(
        row.format(n=n, state=state, inode=inode)
        for n, (state, inode) in enumerate([("0A", 11), ("01", 12), ("06", 0), ("01", 14)])
    )
    assert established(table) == {12, 14}


def test_the_witness_misses_what_was_there_and_nothing_else() -> None:
    first = Witness(frozenset({(7, 100), (8, 100)}), frozenset({(7, 1), (7, 2), (8, 3)}))
    more = Witness(first.processes | {(9, 120)}, first.connections | {(9, 4)})
    assert not list(first.missing(more))
    other = Witness(frozenset({(7, 100), (8, 130)}), frozenset({(7, 1), (8, 3)}))
    assert list(first.missing(other)) == [
        "1 of 2 processes are gone",
        "1 of 3 connections are lost",
    ]
    assert first.lasting(other) == Witness(frozenset({(7, 100)}), frozenset({(7, 1), (8, 3)}))


def test_a_pid_that_was_given_anew_is_another_process() -> None:
    own = Witness.of([os.getpid()])
    assert own.processes == Witness.of([os.getpid()]).processes
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        running = Witness.of([child.pid])
        child.communicate(b"\n")
    assert list(running.missing(Witness.of([child.pid]))) == ["1 of 1 processes are gone"]


def test_the_table_has_what_holds_and_says_why_the_others_do_not() -> None:
    text = render([telling(), telling(daemon="otherd", errors=3)], [], HOW)
    shown, _, left = text.partition("## Not shown")
    assert "1 holes in 1 daemons; 900 requests" in shown
    assert "| pkgd (pkg 1-1) | CVE-1 | open | shut |" in shown
    assert "otherd" not in shown
    assert "clients saw 3 errors" in left


def test_a_cell_stays_a_cell() -> None:
    seen = Seen("a|b\n<i>", "shut", "a|b\n<i>", "shut", "shut")
    assert "| a\\|b &lt;i> | shut |" in render([telling(seen=seen)], [], HOW)


def test_proofs_are_found_in_the_data_of_their_package(tmp_path: Path) -> None:
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg/runs.json").write_text(
        '{"daemons": [{"program": "usr/sbin/pkgd", "client": "c.py", "proofs": ['
        '{"proves": ["fix.patch"], "arguments": ["prove", "x"]},'
        '{"proves": ["absent.patch"], "arguments": ["prove", "y"]}]}]}'
    )
    cases = [Case("pkg", "1", "folder/fix.patch"), Case("pkg", "1", "z"), Case("none", "1", "z")]
    assert [(i.case.patch, i.daemon.name, i.name) for i in listed(cases, tmp_path)] == [
        ("folder/fix.patch", "pkgd", "prove x")
    ]


@pytest.fixture
def served(tmp_path: Path) -> Callable[[str], Served]:
    def make(connections: str) -> Served:
        script = tmp_path / "client.py"
        checkout = str(Path(__file__).parents[2])
        script.write_text(CLIENT.format(checkout=checkout, connections=connections))
        return Served(None, [sys.executable, str(script)], os.environ)  # type: ignore[arg-type]

    return make


def test_clients_are_counted_while_they_ask(served: Callable[[str], Served]) -> None:
    with under_load(served("good, good")) as load:
        first = load.wait_for_requests(20)
        assert load.wait_for_requests(20).requests >= first.requests + 20
        last = load.count()
    assert (last.errors, last.connections) == (0, 2)


def test_an_answer_that_is_wrong_is_an_error_with_its_reason(
    served: Callable[[str], Served],
) -> None:
    with (
        under_load(served("good, bad")) as load,
        pytest.raises(DaemonTroubleError, match="it said no"),
    ):
        load.wait_for_requests(1_000_000)


def test_a_client_that_does_not_take_the_signal_is_never_sent_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "deaf.py"
    script.write_text("import time; time.sleep(60)")
    monkeypatch.setattr(load_module, "_PATIENCE", 0.3)
    deaf = Served(None, [sys.executable, str(script)], os.environ)  # type: ignore[arg-type]
    with pytest.raises(DaemonTroubleError, match="SIGUSR1"), under_load(deaf):
        pass


def test_the_count_is_told_at_the_end_too(served: Callable[[str], Served]) -> None:
    with under_load(served("good")) as load:
        load.wait_for_requests(1)
        load._process.send_signal(signal.SIGTERM)
        assert msgspec.json.decode(load._read())["requests"] >= 1
        assert load._process.wait(60) == 0


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["ready"], 0, ""),
        (["prove", "y"], 0, "seen"),
        (["prove", "x"], 1, "WrongAnswerError: no such thing"),
        (["prove", "z"], 1, "ready, load or prove (x, y)"),
    ],
)
def test_words_that_clients_understand(
    served: Callable[[str], Served], words: list[str], status: int, said: str
) -> None:
    done = subprocess.run(
        [*served("good").client, *words], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == status
    assert said in done.stdout + done.stderr
