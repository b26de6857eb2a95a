"""state_before(source: SourcePackage, patches: Sequence[str], into: Path) -> TreePair

The source package as it was before some of its patches, beside how it is with them. Patches above
that touch the same files come off exactly and go on again; one that does not go on without the
missing ones is left out of *both* trees, and the pair says so. Of documentation, only the patches'
own lines come out (see `prose`): a change log is no reason to leave out the next fix.

Refuses packages whose changes are not kept as patches, and pairs that are not exactly what was
asked: the patches, put on the old tree again, must give the new one.
"""

from __future__ import annotations

import filecmp
import shutil
import subprocess
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from naht.build.debian.patch_stack import PatchStack
from naht.build.debian.prose import Prose, differs_by, leave_out
from naht.build.debian.source import SourcePackage
from naht.errors import BuildRefusedError, UsageError


@dataclass(frozen=True)
class TreePair:
    """`new` is the source's own tree unless `left_out` names patches that both sides lack."""

    old: Path
    new: Path
    patches: tuple[str, ...]  # what `new` has and `old` has not, in the order of the series
    left_out: tuple[str, ...]
    changed: tuple[str, ...]  # files that differ, relative to the trees; not those of debian/
    how: str  # for people
    eased: tuple[str, ...] = ()  # documentation that only the patches' own lines came out of


def state_before(
    source: SourcePackage, patches: Sequence[str], into: Path, *, without_later: bool = False
) -> TreePair:
    """Trees are made under `into` (old, perhaps new); each is a whole source package.
    `without_later`: both sides lack all that was applied after the first of the patches: code of
    other files may build on it, which no line of a patch tells."""
    stack = PatchStack.of(source.tree)
    wanted = find_patches(source, stack, patches)
    old, new, left_out = into / "old", source.tree, set[str]()
    if without_later:
        left_out = set(stack.applied[stack.applied.index(wanted[0]) :]) - {*wanted}
    while True:
        took = copy_without(source.tree, {*wanted, *left_out}, old)
        left_out |= took.failed
        eased = took.eased
        if left_out:
            new = into / "new"
            others = copy_without(source.tree, left_out, new)
            eased |= others.eased
            if others.failed:
                left_out |= others.failed
                continue
        if _leads_to(old, new, wanted, stack, eased, into / "again"):
            break
        left_out |= _entangled(stack, wanted, left_out)
    without = tuple(name for name in stack.applied if name in left_out)
    changed = _different(stack.files({*wanted, *without}), old, new)
    return TreePair(
        old, new, wanted, without, changed, _told(wanted, without, eased), tuple(sorted(eased))
    )


def copy_with(tree: Path, patches: Sequence[str], of: Path, into: Path) -> None:
    """`tree` with patches of another version of the package on top."""
    copy_tree(tree, into)
    stack, others = PatchStack.of(into), PatchStack.of(of)
    for name in patches:
        place = stack.file(name)
        if name in stack.applied or place.exists():
            raise UsageError(f"The older version has {name} already.", "Leave it out.")
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(others.file(name), place)
        if not stack.push(name):
            raise BuildRefusedError(
                "patch-not-applicable",
                f"{name} cannot be applied to the older version.",
                "Name the patches that it builds on with --patch, too, or build without --patch.",
            )
        stack.list_in_series(name)


def find_patches(
    source: SourcePackage, stack: PatchStack, patches: Iterable[str]
) -> tuple[str, ...]:
    """In the order of the series. A name may lack its folder or its suffix if it stays unique."""
    if not stack.applied:
        raise BuildRefusedError(
            "no-separate-patches",
            f"The changes of {source.name} {source.version} (format {source.format}) are not kept "
            "as a series of patches.",
            "Name an older version that the archive still has with --from.",
        )
    found = {_one_patch(stack, name) for name in patches}
    if not found:
        raise UsageError("No patch is named.", _candidates(stack))
    return tuple(name for name in stack.applied if name in found)


def _one_patch(stack: PatchStack, wanted: str) -> str:
    if wanted in stack.applied:
        return wanted
    same = [name for name in stack.applied if wanted in (_base(name), PurePosixPath(name).stem)]
    if len(same) == 1:
        return same[0]
    problem = "is not among the applied patches" if not same else "could be several patches"
    raise UsageError(f"{wanted} {problem}.", _candidates(stack))


def _base(name: str) -> str:
    return PurePosixPath(name).name


def _candidates(stack: PatchStack) -> str:
    return f"Name some of these with --patch: {', '.join(stack.applied)}."


@dataclass(frozen=True)
class Taken:
    failed: set[str]  # patches that had to be left out as well: they do not go on without those
    eased: set[str]  # as `TreePair.eased`


def copy_without(tree: Path, names: set[str], into: Path) -> Taken:
    copy_tree(tree, into)
    stack, whole = PatchStack.of(into), PatchStack.of(tree)
    prose = Prose(whole, names)
    over = stack.above(names)
    order = {name: place for place, name in enumerate(stack.applied)}
    for name in reversed(over):
        stack.pop(name)
    failed = set[str]()
    for name in over:
        place = sum(order[other] < order[name] for other in stack.applied)
        if name not in names and not _push(stack, name, place, prose, names | failed):
            failed.add(name)
    for name in names | failed:
        stack.forget(name)
    _keep_times(whole.files(over), tree, into)
    _text(stack).unlink(missing_ok=True)
    return Taken(failed, prose.eased)


def _push(stack: PatchStack, name: str, at: int, prose: Prose, absent: set[str]) -> bool:
    if stack.push(name, at=at):
        return True
    eased = set(prose.eased)
    if prose.ease(name, stack, absent, _text(stack)) and stack.push(name, at=at):
        return True
    prose.eased = eased
    return False


def _text(stack: PatchStack) -> Path:
    return stack.tree.with_name(f"{stack.tree.name}.text")


def copy_tree(tree: Path, into: Path) -> None:
    # Never hard links: what writes into the copy would write into the source.
    into.parent.mkdir(parents=True, exist_ok=True)
    if into.exists():
        shutil.rmtree(into)
    subprocess.run(["cp", "-a", "--reflink=auto", "--", str(tree), str(into)], check=True)


def _keep_times(files: Iterable[str], tree: Path, copy: Path) -> None:
    """What came off and went on again unchanged is no reason to compile anything."""
    for file in files:
        if _same(tree / file, copy / file) and (tree / file).exists():
            shutil.copystat(tree / file, copy / file, follow_symlinks=False)


def _leads_to(
    old: Path, new: Path, patches: Sequence[str], stack: PatchStack, eased: set[str], scratch: Path
) -> bool:
    """The proof of the pair: old and the patches are new."""
    files = stack.files(patches) - eased
    shutil.rmtree(scratch, ignore_errors=True)
    for root, file in [
        *((old, file) for file in files),
        *((stack.tree, f"debian/patches/{name}") for name in patches),
    ]:
        if (root / file).is_file():
            (scratch / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / file, scratch / file)
    again = PatchStack(scratch, [])
    for name in patches:
        leave_out(again.file(name), eased)
    good = all(again.push(name) for name in patches)
    good = good and not _different(files, scratch, new)
    prose = Prose(stack, patches)
    good = good and all(
        differs_by(old / file, new / file, prose.changes(patches, file)) for file in eased
    )
    shutil.rmtree(scratch, ignore_errors=True)
    return good


def _entangled(stack: PatchStack, wanted: Sequence[str], left_out: set[str]) -> set[str]:
    more = set(stack.above(wanted)) - {*wanted, *left_out}
    if not more:
        raise BuildRefusedError(
            "patches-not-exact",
            f"Taking off {', '.join(wanted)} gives a source that these do not lead back from.",
            "Name an older version that the archive still has with --from.",
        )
    return more


def _different(files: Iterable[str], old: Path, new: Path) -> tuple[str, ...]:
    return tuple(file for file in sorted(files) if not _same(old / file, new / file))


def _same(one: Path, other: Path) -> bool:
    if not (one.is_file() and other.is_file()):
        return one.is_file() == other.is_file()
    return filecmp.cmp(one, other, shallow=False)


def _told(wanted: Sequence[str], left_out: Sequence[str], eased: Collection[str]) -> str:
    text = f"un-applied from the newer version's series: {', '.join(wanted)}"
    if left_out:
        text += f"; absent from both sides, because they came on top of it: {', '.join(left_out)}"
    if eased:
        text += f"; line by line, below what came later: {', '.join(sorted(eased))}"
    return text
