"""What a caller may give for a program and for libraries: objects, texts, files and names.

Whatever is not understood is a ValueError of one line with the remedy. Rings and pipelines have names and objects of
their own, which `model.api` takes; this room does not know them.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeGuard, get_args

from model.program.checked import Program, parts, program
from model.program.files import load, read
from model.program.json_form import program_from_json, short
from model.program.ops import Operation
from model.program.text_form import parse, parse_program
from model.semantics.libraries import semantics as named_semantics
from model.semantics.parameters import EVERY_COMM, Semantics, SemanticsByComm, semantics_of

if TYPE_CHECKING:
    from model.semantics.table import Table

ProgramLike: TypeAlias = (
    "Program | Table | str | bytes | Path | Sequence[str] | Sequence[Sequence[Operation | str]] | dict[str, Any]"
)
"""A program, its table, its text (one line a rank), JSON, a file, or lists of operations or of their texts."""

LibraryLike: TypeAlias = "str | Semantics | Mapping[str, str | Semantics] | Mapping[str, str] | SemanticsByComm"
"""A library by name or as an object, or such a one for each communicator; `*` is every other communicator."""

EXAMPLE = "'0: send(1); recv(1)\\n1: recv(0); send(0)'"

_BEGINS = re.compile(r"\s*(?:[0-9]+\s*:|[\[{#])")
"""How a program on one line begins, if it holds no call."""

_OPERATIONS = frozenset(get_args(Operation))


def as_program(given: object) -> Program | Table:
    """The program that is meant. A table stays one. Raises ValueError on anything else, or OSError on a file."""
    if isinstance(given, tuple) and given and all(_listed(ops) for ops in given):
        return given
    if isinstance(given, str):
        if _is_text(given):
            return read(given.encode())
        if not _is_file(given):
            raise ValueError(f"{short(given)} is neither a program nor a file; give a file, or text such as {EXAMPLE}")
        return load(Path(given))
    if isinstance(given, bytes):
        return read(given)
    if isinstance(given, Path):
        return load(given)
    if isinstance(given, Mapping):
        return program_from_json(given)
    if _is_table(given):
        return given
    if isinstance(given, Sequence):
        return _from_lists(given)
    raise ValueError(
        f"a program is expected, and this is {_shown(given)}; give its text, such as {EXAMPLE}, a file, "
        "or a list of operations for each rank"
    )


def as_lists(given: object) -> Program:
    """The program that is meant, as lists of operations. Raises ValueError also on a table."""
    found = as_program(given)
    if not isinstance(found, tuple):
        raise ValueError("this takes lists of operations, and not a table; give the program itself (fewer ranks)")
    return found


def as_semantics(given: object, program: Program | Table | None = None) -> SemanticsByComm:
    """The semantics of each communicator.

    Raises ValueError on an unknown library, on a communicator that `program` does not use, and where one that it uses
    has no library.
    """
    if not isinstance(given, Mapping):
        return {EVERY_COMM: as_library(given)}
    if not given and (program is None or communicators(program)):
        raise ValueError("no library is given; name one, such as 'nccl', or one for each communicator")
    for comm in given:
        if not isinstance(comm, str):
            raise ValueError(f"communicator {short(comm)} is {type(comm).__name__}; give its name as text")
    by_comm = {comm: as_library(library) for comm, library in given.items()}
    if program is not None:
        _check_communicators(by_comm, communicators(program))
    return by_comm


def as_library(given: object) -> Semantics:
    """One library, by name or as it is. Raises ValueError on anything else."""
    if isinstance(given, Semantics):
        return given
    if isinstance(given, str):
        return named_semantics(given)
    raise ValueError(
        f"a library is expected, and this is {_shown(given)}; give a name such as 'nccl', a Semantics, "
        "or {'communicator': library}"
    )


def communicators(given: Program | Table) -> frozenset[str]:
    """The communicators on which a program sends, receives or probes."""
    if not isinstance(given, tuple):
        return frozenset({"world"})
    found = (getattr(part, "comm", None) for ops in given for op in ops for part in parts(op))
    return frozenset(comm for comm in found if comm is not None)


def of_its_communicators(given: Program | Table, semantics: SemanticsByComm) -> SemanticsByComm:
    """Of the semantics of a whole protocol those of the communicators that a program uses.

    A serving loop that forms no batch sends no data, and `check` refuses a communicator that is not there.
    """
    return {comm: semantics_of(semantics, comm) for comm in communicators(given)}


def _is_text(given: str) -> bool:
    """Whether a text is a program itself and not the path of one: it has several lines, or is no file and has calls."""
    if "\n" in given or not given.strip():
        return True
    return not _is_file(given) and ("(" in given or _BEGINS.match(given) is not None)


def _is_file(given: str) -> bool:
    try:
        return Path(given).exists()
    except (OSError, ValueError):  # too long a name, or one with a zero
        return False


def _is_table(given: object) -> TypeGuard[Table]:
    module = sys.modules.get("model.semantics.table")  # numpy is slow to import, and whoever has a table has done so
    return module is not None and isinstance(given, module.Table)


def _listed(ops: object) -> bool:
    return isinstance(ops, tuple) and all(type(op) in _OPERATIONS for op in ops)


def _from_lists(ranks: Sequence[object]) -> Program:
    """The checked program of lists; every rank may be the text of its operations, and an operation its own text."""
    if ranks and all(isinstance(ops, str) for ops in ranks):
        return parse_program("\n".join(f"{rank}: {ops}" for rank, ops in enumerate(ranks)))
    lists: list[list[Operation]] = []
    for rank, ops in enumerate(ranks):
        if isinstance(ops, str) or not isinstance(ops, Iterable):
            raise ValueError(f"rank {rank} is {_shown(ops)}; give a list of operations for each rank, or a text")
        lists.append([_operation(rank, op) for op in ops])
    return program(lists)


def _operation(rank: int, op: object) -> Operation:
    if isinstance(op, Operation):
        return op
    if isinstance(op, str):
        try:
            return parse(op)
        except ValueError as error:
            raise ValueError(f"rank {rank}: {error}") from None
    raise ValueError(f"rank {rank} holds {_shown(op)}; give operations, or texts such as 'send(1)'")


def _check_communicators(by_comm: Mapping[str, Semantics], used: frozenset[str]) -> None:
    known = used or {"world"}  # a program without messages may still have barriers
    unknown = [comm for comm in by_comm if comm != EVERY_COMM and comm not in known]
    if unknown:
        uses = ", ".join(map(repr, sorted(used))) or "none, as it has no messages"
        raise ValueError(f"the program has no communicator {short(unknown[0])}; it uses {uses}")
    lacking = sorted(used - by_comm.keys())
    if lacking and EVERY_COMM not in by_comm:
        raise ValueError(f"no library for communicator {lacking[0]!r}; declare it, or '*' for every other communicator")


def _shown(given: object) -> str:
    return f"{type(given).__name__} {short(given)}"
