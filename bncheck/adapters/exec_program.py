"""Programs in any language, spoken to through request and response files (docs/exec-protocol.md is for their authors).

One process serves all that is opened, so that its start-up is paid once. It is started anew when one is opened after it
died. What goes wrong before any forward worked makes the target unusable; what goes wrong later is a fault of the call.
"""

from __future__ import annotations

import shlex
import tempfile
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bncheck.adapters.affine import run_of
from bncheck.adapters.exec_process import Process, ProgramError, remove_leftovers
from bncheck.adapters.frameworks import NUMPY
from bncheck.adapters.protocol import Candidate, EpsPlace, Parameters, Reading, Results, Run
from bncheck.adapters.stated import Stated
from bncheck.adapters.words import Kind
from bncheck.errors import BrokenCodeError, TargetError
from bncheck.model import GRADIENTS, Declared
from bncheck.registry import did_you_mean

NAME = "exec"
VERSION = "1"
_OFFERS = ("eps", "eval", "running_stats")
_STATEMENTS = ("layout", "without")
_PAGE = "What a program is to answer stands in docs/exec-protocol.md."
_ABSENT = {"beta": frozenset({"beta"}), "gamma,beta": frozenset({"gamma", "beta"})}
_ABSENT["beta,gamma"] = _ABSENT["gamma,beta"]


@dataclass(frozen=True, slots=True)
class Hello:
    """What a program said about itself: what it `offers` beyond forward and backward, and what it states."""

    offers: frozenset[str] = frozenset()
    stated: Stated = field(default_factory=Stated)
    absent: frozenset[str] = frozenset()


def parse_hello(answer: str) -> Hello:
    """Return what the answer to "hello 1" says; raise TargetError where it says nothing that can be understood."""
    first, _, rest = answer.partition(" ")
    if first == "error":
        raise TargetError(f"it answered hello with an error: {rest:.200}")
    version, *items = rest.split() or [""]
    if first != "ok" or not version.isdigit():
        wanted = f"'ok {VERSION}' and what it offers"
        raise TargetError(f"it answered hello with {answer!r:.60}, and not with {wanted}. {_PAGE}")
    if version != VERSION:
        raise TargetError(f"it speaks version {version:.20} of the protocol, and this bncheck version {VERSION}")
    said = dict(item.partition("=")[::2] for item in items)
    for key, value in said.items():
        if key not in (_STATEMENTS if value else _OFFERS):
            known = (*_OFFERS, *(f"{name}=..." for name in _STATEMENTS))
            text = f"{key}={value}" if value else key
            raise TargetError(f"its hello says {text!r:.60}, which means nothing. {did_you_mean(text, known)}")
    absent = said.get("without", "")
    if absent and absent not in _ABSENT:
        raise TargetError(f"its hello says without={absent:.60}, and should say without=beta or without=gamma,beta")
    layouts = tuple(said["layout"].split(",")) if "layout" in said else ()
    offers = frozenset(said) & frozenset(_OFFERS)
    return Hello(offers, Stated(layouts).checked("its hello"), _ABSENT.get(absent, frozenset()))


class Program:
    """The program behind a command: its process, and another one after that has died."""

    def __init__(self, arguments: list[str]) -> None:
        self._arguments = arguments
        self._process: Process | None = None
        self.hello = Hello()

    def process(self) -> Process:
        """Return the running process, started and greeted if there is none."""
        if self._process is None or not self._process.alive:
            process = Process(self._arguments)
            try:
                self.hello = parse_hello(process.hello(f"hello {VERSION}"))
            except ChildProcessError as error:
                raise TargetError(f"no answer to hello: {error}. {_PAGE}") from None
            except TargetError:
                process.stop()
                raise
            self._process = process
        return self._process


class ProgramRun:
    """One session of a program."""

    missing: tuple[str, ...] = ()
    returns = ""

    def __init__(self, reading: ProgramReading, parameters: Parameters) -> None:
        self.gamma, self.beta = parameters.gamma, parameters.beta
        self._reading = reading
        self._given = {
            "gamma": parameters.gamma.reshape(-1),
            "beta": parameters.beta.reshape(-1),
            "eps": np.float64(parameters.eps),
            "momentum": np.float64(parameters.momentum),
        }
        self._process: Process | None = None
        self._session = 0

    def acting(self, x: Any) -> str:
        """Say nothing: the state of a program cannot be looked at."""
        return ""

    def _ask(self, word: str, given: dict[str, Any] | None, *wanted: str) -> dict[str, Any]:
        """Say a word to the session, opened by now."""
        if self._process is None:
            try:
                process = self._reading.program.process()
            except TargetError as error:  # it has come up before
                raise ChildProcessError(f"the program could not be started again: {error}") from None
            self._session = process.open()
            self._process = process
            weakref.finalize(self, process.close, self._session).atexit = False
            process.call("open", self._session, self._given, ())
        return self._process.call(word, self._session, given, wanted)

    def forward(self, x: Any, train: bool) -> Any:
        """Let the program do its forward; return y."""
        self._reading.stated.hold(x, self.gamma)
        try:
            y = self._ask("forward", {"x": x, "train": np.float64(train)}, "y")["y"]
        except (ProgramError, ChildProcessError) as error:
            self._reading.failures.append(error)
            raise
        self._reading.worked = True
        return y

    def backward(self, dy: Any) -> Results:
        """Let the program do its backward; return the gradients that it is asked for."""
        absent = self._reading.absent
        wanted = [name for name in GRADIENTS if name[1:] not in absent]
        found = self._ask("backward", {"dy": dy}, *wanted)
        self.returns = f"response ({', '.join(wanted)})"
        return Results(*(found.get(name) for name in GRADIENTS))

    def keeping(self) -> dict[str, Any]:
        """Return nothing: the words of this run say all there is."""
        return {}

    def running(self) -> tuple[Any, Any] | None:
        """Return the running statistics, if the program offers them."""
        if "running_stats" not in self._reading.program.hello.offers:
            return None
        found = self._ask("running_stats", None, "mean", "var")
        return found["mean"], found["var"]


class ProgramReading:
    """The one way of speaking to a program."""

    guess = ""  # nothing is handed over by guessing

    framework = NUMPY

    def __init__(self, program: Program, stated: Stated, absent: frozenset[str]) -> None:
        self.program, self.stated, self.absent = program, stated, absent
        self.layouts = stated.layouts
        self.worked = False
        self.failures: list[Exception] = []

    @property
    def eps(self) -> EpsPlace:
        """A program that offers eps takes it; for another one trying has to tell."""
        return EpsPlace("argument", "eps" in self.program.hello.offers)

    @property
    def mode_switch(self) -> str:
        """The argument of forward, if the program offers to heed it."""
        return "argument train" if "eval" in self.program.hello.offers else ""

    def spelled(self) -> str:
        """Return what is said, in one line."""
        offers = ", ".join(sorted(self.program.hello.offers)) or "nothing more"
        return f"open(gamma, beta, eps, momentum); forward(x, train); backward(dy); offers {offers}"

    def without(self, absent: frozenset[str]) -> ProgramReading:
        """Return the reading for a program that does without gamma or beta."""
        return ProgramReading(self.program, self.stated, absent)

    def start(self, parameters: Parameters) -> Run:
        """Return a run; its session is opened when it is first needed."""
        return run_of(lambda own: ProgramRun(self, own), parameters, self.absent)

    def telling(self) -> Exception | None:
        """Return the failure that tells most: a death or a wrong answer, rather than a refusal of the program's own."""
        broken = [error for error in self.failures if not isinstance(error, ProgramError)]
        return next(iter(broken or self.failures), None)


class ProgramCandidate:
    """A program, which somebody says is a Batch Normalization."""

    adapter = NAME
    kind = Kind.BN
    composite = False
    forward_name, backward_name = "forward of the program", "backward of the program"
    mentions: frozenset[str] = frozenset()

    def __init__(self, command: str, arguments: list[str], declared: Declared) -> None:
        self.name = command
        self.aliases = frozenset({command})
        self._declared = declared
        self._program = Program(arguments)

    def readings(self) -> Iterator[Reading]:
        """Yield the one reading; raise TargetError if the program does not come up, or if no forward ever worked."""
        try:
            self._program.process()
        except TargetError as error:
            raise TargetError(f"{self.name}: {error}") from None
        hello = self._program.hello
        # The protocol hands gamma and beta over as (C,), whatever the layout. What the program does without is added
        # here, though, and there the shape has to broadcast.
        shape = None if hello.absent else "(C,)"
        stated = Stated(hello.stated.under(self._declared).layouts, shape)
        reading = ProgramReading(self._program, stated, hello.absent)
        yield reading
        if not reading.worked:
            told = reading.telling()
            kind = BrokenCodeError if isinstance(told, ChildProcessError) else TargetError
            raise kind(f"{self.name}: no forward worked: {told or stated.untried}")


def candidate(command: str, declared: Declared) -> Candidate:
    """Return the candidate that a command line is; the program is started when it is read.

    Raises
    ------
    TargetError
        If the command cannot be taken apart, or what was declared does not fit a program.

    """
    try:
        arguments = shlex.split(command)
    except ValueError as error:
        raise TargetError(f"{command}: this is no command line ({error})") from None
    if not arguments:
        raise TargetError("there is no command to run: give one, such as './my_bn' or 'python my_bn.py'")
    if declared.parameter_shape not in (None, "(C,)"):
        raise TargetError(f"{command}: a program is given gamma and beta as (C,), never {declared.parameter_shape}")
    remove_leftovers()
    folder = tempfile.gettempdir()
    if folder.split() != [folder]:
        raise TargetError(f"{command}: the folder for temporary files has a blank in its name, {folder!r}: set TMPDIR")
    return ProgramCandidate(command, arguments, declared)
