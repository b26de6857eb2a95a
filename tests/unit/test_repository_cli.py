"""`naht repo …` and `naht apply NAME` as people type them, documents and exit codes included."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from naht.cli import apt_hook
from naht.cli.library_argument import open_signed_library
from naht.cli.main import main
from naht.domain.build_id import BuildId
from naht.domain.process import LoadedObject, ProcessKey, ScannedObject, ScannedProcess
from naht.releases.client import settings as client_settings
from tests.builders.scripted_engine import ScriptedEngine
from tests.builders.small_hotpatch import SmallHotpatch
from tests.builders.small_repository import SmallRepository, variant

ROOT = Path(__file__).parents[2]


def document(capsys: pytest.CaptureFixture[str]) -> Any:
    answer = json.loads(capsys.readouterr().out)
    name = answer["schema"].removeprefix("naht.").removesuffix("/1")
    jsonschema.validate(answer, json.loads((ROOT / "docs/schemas" / f"{name}.json").read_text()))
    return answer


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret").write_text("correct horse\n")
    return tmp_path


def make_keys() -> None:
    words = ["root-1", "root-2", "targets-1", "candidate", "pilot", "broad"]
    assert main(["repo", "key", "--keys", "keys", "--passphrase-file", "secret", *words]) == 0
    online = ["snapshot", "timestamp"]
    assert main(["repo", "key", "--keys", "online", "--no-passphrase", *online]) == 0


KEYS = ["--keys", "keys", "--keys", "online", "--passphrase-file", "secret"]


@pytest.mark.usefixtures("home")
def test_from_keys_to_a_hotpatch_that_is_applied_by_name(
    small_hotpatch: SmallHotpatch, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    make_keys()
    assert main(["repo", "init", "repo", *KEYS]) == 0
    product = ["--product", "debian-12"]
    assert main(["repo", "add", "repo", str(small_hotpatch.path), *product, *KEYS]) == 0
    for channel in ("pilot", "broad"):
        words = ["repo", "promote", "repo", "SMALL-1", "--to", channel]
        assert main([*words, *product, *KEYS]) == 0
    here = Path.cwd()
    Path("root.json").write_bytes(Path("repo/published/metadata/1.root.json").read_bytes())
    Path("repository.toml").write_text(
        f'mirrors = ["{here}/repo/published"]\nproduct = "debian-12"\n'
        f'root = "{here}/root.json"\nstate = "{here}/state"\n'
    )
    engine = ScriptedEngine()
    monkeypatch.setattr("naht.cli.apply.make_engine", lambda: engine)
    capsys.readouterr()
    words = ["apply", "SMALL-1", "--all", "--repository", "repository.toml"]
    assert main(words) == 9  # nothing runs it, but it was fetched and verified
    assert "no live process" in capsys.readouterr().err
    words = ["repo", "withdraw", "repo", "SMALL-1", "--reason", "no good", *product, *KEYS]
    assert main([*words, "--json"]) == 0
    assert document(capsys)["published"]["broad_debian-12"] == 2
    assert main(["apply", "SMALL-1", "--all", "--repository", "repository.toml"]) == 4
    assert "no good" in capsys.readouterr().err


@pytest.mark.usefixtures("home")
def test_documents_of_keys_and_changes(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["repo", "key", "--keys", "k", "--no-passphrase", "--json"]
    assert main([*words, "root-1", "root-2", "targets", "candidate", "pilot", "broad"]) == 0
    keys = document(capsys)["keys"]
    assert [key["name"] for key in keys][:2] == ["root-1", "root-2"]
    assert main([*words, "snapshot", "timestamp"]) == 0
    document(capsys)
    assert main(["repo", "init", "repo", "--keys", "k", "--json"]) == 0
    founded = document(capsys)
    assert founded["published"]["root"] == founded["published"]["timestamp"] == 1
    assert main(["repo", "sign", "repo", "--keys", "k", "--json"]) == 0
    assert document(capsys)["published"] == {"timestamp": 2}


@pytest.mark.usefixtures("home")
def test_what_waits_is_shown_and_can_be_dropped(
    small_hotpatch: SmallHotpatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_keys()
    assert main(["repo", "init", "repo", *KEYS]) == 0
    capsys.readouterr()
    add = ["repo", "add", "repo", str(small_hotpatch.path), "--product", "p"]
    assert main([*add, "--keys", "online"]) == 0
    shown = capsys.readouterr().out
    assert "staged, not published yet" in shown
    assert "candidate_p lacks 1 signature" in shown
    assert main([*add, "--keys", "online"]) == 2
    assert main(["repo", "sign", "repo", "--keys", "online", "--discard"]) == 0
    capsys.readouterr()
    assert main([*add, "--json", *KEYS]) == 0
    assert document(capsys)["waiting"] == []


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["repo", "init", "repo", "--keys", "nowhere"], "There is no folder"),
        (["repo", "init", "repo", "--keys", "."], "no key for the role root"),
        (["repo", "add", "repo", "x.naht", "--product", "p", "--keys", "."], "no repository"),
        (["repo", "sign", "repo", "--keys", "."], "no repository"),
        (["repo", "add", "repo", "x.naht", "--product", "P", "--keys", "."], "no product name"),
        (["repo", "promote", "repo", "x", "--product", "p", "--to", "candidate", "--keys", "."],
         "invalid choice"),
        (["repo", "key", "--keys", "k", "../root", "--no-passphrase"], "no name for a key"),
        (["repo", "key", "--keys", "k", "root"], "no terminal to ask on"),
        (["repo", "sgin"], "no command 'repo sgin'"),
    ],
)  # fmt: skip
def test_wrong_usage_says_what_to_do(
    words: list[str], says: str, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    monkeypatch.setattr("sys.stdin", open("/dev/null"))  # noqa: PTH123, SIM115
    assert main(words) == 2
    shown = capsys.readouterr().err
    assert says in shown
    assert "\nnext:  " in shown


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(
    "words",
    [
        ["--threshold", "root=3"], ["--threshold", "root=0"], ["--threshold", "boss=1"],
        ["--threshold", "root"], ["--days", "timestamp=0"], ["--days", "timestamp=99999"],
    ],
)  # fmt: skip
def test_thresholds_that_can_never_be_met_are_refused(words: list[str]) -> None:
    make_keys()
    assert main(["repo", "init", "repo", *KEYS, *words]) == 2
    assert not Path("repo").exists()


def test_a_group_alone_lists_its_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["repo"]) == 0
    assert "naht repo init" in capsys.readouterr().out


# --- what a host allows ---


@pytest.fixture
def policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "policy.toml"
    monkeypatch.setattr(client_settings, "POLICY", path)
    return path


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (None, 9), ('unsigned = "allow"\n', 9), ('unsigned = "forbid"\n', 4), ("\xff", 2),
        ('unsigned = "frobid"\n', 2), ("unsigned = \n", 2), ('unsinged = "forbid"\n', 2),
    ],
)  # fmt: skip
def test_a_host_can_forbid_what_nobody_vouches_for(
    policy: Path, text: str | None, code: int, small_hotpatch: SmallHotpatch,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """A policy that cannot be understood forbids."""
    if text is not None:
        policy.write_text(text, encoding="latin-1")
    engine = ScriptedEngine()
    monkeypatch.setattr("naht.cli.apply.make_engine", lambda: engine)
    words = ["apply", str(small_hotpatch.path), "--all", "--unsigned-dev", "--json"]
    assert main(words) == code
    answer = document(capsys)
    if code == 4:
        assert answer["error"]["reason"] == "unsigned-forbidden"
    if code != 9:
        assert engine.calls == []


def test_a_policy_that_others_can_write_forbids(
    policy: Path, small_hotpatch: SmallHotpatch, capsys: pytest.CaptureFixture[str]
) -> None:
    policy.write_text('unsigned = "allow"\n')
    policy.chmod(0o666)
    assert main(["apply", str(small_hotpatch.path), "--all", "--unsigned-dev"]) == 2
    assert "written by others" in capsys.readouterr().err


def test_without_a_repository_a_name_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(client_settings, "SETTINGS", tmp_path / "no.toml")
    assert main(["apply", "SMALL-1", "--all"]) == 2
    assert "This host has no repository" in capsys.readouterr().err


@pytest.mark.parametrize(
    "text",
    [
        "", "mirrors = []\n", 'mirrors = ["/x"]\n', 'mirrors = ["/x"]\nproduct = "P"\n',
        'mirrors = ["/x"]\nproduct = "p"\nchannel = "fast"\n',
        'mirrors = ["/x"]\nproduct = "p"\nverify = false\n',
    ],
)  # fmt: skip
def test_settings_are_read_strictly(
    tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "repository.toml"
    path.write_text(text)
    assert main(["apply", "SMALL-1", "--all", "--repository", str(path)]) == 2
    assert "next:" in capsys.readouterr().err


def test_the_policy_binds_heal_and_its_hook(
    policy: Path, tmp_path: Path, small_hotpatch: SmallHotpatch, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    policy.write_text('unsigned = "forbid"\n')
    monkeypatch.setattr(apt_hook, "PATH", tmp_path / "95naht-heal")
    monkeypatch.setattr("naht.cli.heal.make_engine", ScriptedEngine)
    library = tmp_path / "library"
    library.mkdir(mode=0o755)
    (library / "small.naht").write_bytes(small_hotpatch.path.read_bytes())
    words = ["heal", "--unsigned-dev", "--hotpatches", str(library), "--json"]
    assert main(words) == 4
    assert document(capsys)["error"]["reason"] == "unsigned-forbidden"
    assert main([*words[:-1], "--install-apt-hook"]) == 4
    assert not (tmp_path / "95naht-heal").exists()


# --- heal out of the repository ---


@pytest.fixture
def host_repository(
    tmp_path: Path, stocked_repository: SmallRepository, monkeypatch: pytest.MonkeyPatch
) -> SmallRepository:
    repository = stocked_repository.copy(tmp_path / "r")
    monkeypatch.setattr(client_settings, "SETTINGS", repository.write_settings(channel="candidate"))
    return repository


def test_heal_chooses_from_the_repository_what_fits_what_runs(
    host_repository: SmallRepository, small_hotpatch: SmallHotpatch
) -> None:
    """By the build-ids of the objects that are mapped; what it gets was verified."""
    host_repository.add(variant(small_hotpatch, "A-2", level=7))
    build_id = small_hotpatch.manifest.images[0].target.build_id
    loaded = LoadedObject(BuildId(build_id), 0, 0, 4096, "/lib/x.so", "08:01", 3)
    item = ScannedObject(loaded, build_id, False, False, (), "/lib/x.so")
    engine = ScriptedEngine(scanned=[ScannedProcess(ProcessKey(1, 1), "server", (item,))])
    library, load = open_signed_library(engine)
    assert [h.manifest.id for h in library.hotpatches] == ["A-1", "A-2"]
    assert {load(h).origin for h in library.hotpatches} == {"repository"}
    nothing, _ = open_signed_library(ScriptedEngine())
    assert nothing.hotpatches == ()


def test_heal_needs_no_switch_where_there_is_a_repository(
    host_repository: SmallRepository, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr("naht.cli.heal.make_engine", ScriptedEngine)
    assert main(["heal", "--json"]) == 0
    assert document(capsys)["library"]["directory"] == str(host_repository.home / "host")
    (host_repository.folder.metadata / "timestamp.json").write_text("{}")
    assert main(["heal", "--json"]) == 4
    assert document(capsys)["error"]["reason"] == "malformed"


@pytest.mark.usefixtures("host_repository")
def test_the_apt_hook_heals_out_of_the_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook, program = tmp_path / "95naht-heal", tmp_path / "naht"
    monkeypatch.setattr(apt_hook, "PATH", hook)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setattr("sys.argv", [str(program)])
    assert main(["heal", "--install-apt-hook"]) == 0
    assert f"{program} heal --attempts" in hook.read_text()
    assert "--unsigned-dev" not in hook.read_text()
    assert main(["heal", "--install-apt-hook", "--hotpatches", str(tmp_path)]) == 2


# --- who may do what ---


def callers_of(name: str) -> set[str]:
    found = set()
    for path in (ROOT / "src/naht").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            named = isinstance(node, ast.Name) and node.id == name
            taken = isinstance(node, ast.Attribute) and node.attr == name
            imported = isinstance(node, ast.ImportFrom) and name in {a.name for a in node.names}
            if named or taken or imported:
                found.add(str(path.relative_to(ROOT / "src/naht")))
    return found - {"hotpatch/verified.py"}


def test_only_the_client_vouches_and_only_the_command_line_does_without() -> None:
    assert callers_of("accept_from_repository") == {"releases/client/repository.py"}
    assert callers_of("accept_unsigned") == {
        "cli/hotpatch_argument.py", "cli/library_argument.py"
    }  # fmt: skip
    assert callers_of("VerifiedHotpatch") >= {"live/engine.py"}  # as a type only:
    for path in callers_of("VerifiedHotpatch"):
        calls = [n for n in ast.walk(ast.parse((ROOT / "src/naht" / path).read_text()))
                 if isinstance(n, ast.Call)]  # fmt: skip
        assert not [c for c in calls if getattr(c.func, "id", "") == "VerifiedHotpatch"], path


def test_applying_by_name_loads_no_code_that_signs(
    tmp_path: Path, stocked_repository: SmallRepository
) -> None:
    """Nor a build tool: what is loaded is what a host must have."""
    repository = stocked_repository.copy(tmp_path / "r")
    settings = repository.write_settings(channel="candidate")
    program = (
        "import sys\nfrom naht.cli.main import main\n"
        f"main(['apply', 'A-1', '--all', '--json', '--repository', {str(settings)!r}])\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    loaded = set(done.stderr.split())
    assert "naht.releases.client.repository" in loaded
    assert not {name for name in loaded if name.startswith("naht.releases.signing")}
    assert not loaded & {"rich", "elftools", "iced_x86", "requests"}


def test_without_python_tuf_the_missing_extra_is_named(tmp_path: Path) -> None:
    settings = tmp_path / "repository.toml"
    settings.write_text('mirrors = ["/x"]\nproduct = "p"\n')
    program = (
        "import sys\nsys.modules['tuf'] = None\nfrom naht.cli.main import main\n"
        f"a = main(['apply', 'A-1', '--all', '--repository', {str(settings)!r}])\n"
        "b = main(['repo', 'sign', 'x', '--keys', 'y'])\nprint(a, b)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["2", "2"]
    assert done.stderr.count("pip install 'naht[repository]'") == 2
