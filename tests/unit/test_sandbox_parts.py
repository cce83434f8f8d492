"""The sandbox's process manager: who a process is, whose port it is, and in what order parts start."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.errors import Permanent, Refused
from sandbox.__main__ import main, table
from sandbox.docker_engine import engine_answers, socket_path
from sandbox.keeper import Status
from sandbox.order import in_order, reversed_needs
from sandbox.part import Part, python
from sandbox.parts import PARTS, STEPS, Sandbox
from sandbox.process import (
    MARK_PART,
    MARK_SANDBOX,
    Identity,
    check_port,
    identify,
    marked,
    memory,
    read_pid_file,
    spawn,
    stop,
    uptime,
    wait_until,
    working_below,
    write_pid_file,
)
from sandbox.settings import Ports, Settings
from sandbox.supervisor import FIRST_DELAY, LAST_DELAY, next_delay

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(15, signal.SIG_IGN); print('ready', flush=True); time.sleep(60)",
]


class Processes:
    """Starts processes as parts do, and sees that none is left after the test."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.log, self.name = directory, directory / "part.log", f"test-{os.getpid()}"

    def start(self, command: list[str], part: str = "part") -> Identity:
        marks = {MARK_SANDBOX: self.name, MARK_PART: part}
        return spawn(command, log=self.log, environment={**os.environ, **marks}, directory=self.directory)


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    started = Processes(tmp_path)
    yield started
    stop(marked(started.name), how=signal.SIGKILL)


class TestIdentity:
    def test_a_pid_file_finds_its_process_again(self, tmp_path: Path, processes: Processes) -> None:
        identity = processes.start(SLEEP)
        write_pid_file(tmp_path / "run" / "part.pid", identity)
        assert read_pid_file(tmp_path / "run" / "part.pid") == identity
        assert identity.alive

    def test_another_process_under_the_same_number_is_neither_alive_nor_killed(self, processes: Processes) -> None:
        stranger = processes.start(SLEEP)
        remembered = replace(stranger, started=stranger.started - 1)
        assert not remembered.alive
        assert stop([remembered], seconds=0.2)
        assert stranger.alive

    def test_a_dead_process_that_nobody_waited_for_is_not_alive(self, processes: Processes) -> None:
        identity = processes.start([sys.executable, "-c", ""])
        assert wait_until(lambda: not identity.alive, 10.0)

    @pytest.mark.parametrize("content", ["", "12", "a b", "1 2 3", "\0"])
    def test_a_broken_pid_file_speaks_of_nobody(self, tmp_path: Path, content: str) -> None:
        (tmp_path / "part.pid").write_text(content)
        assert read_pid_file(tmp_path / "part.pid") is None

    def test_a_missing_pid_file_speaks_of_nobody(self, tmp_path: Path) -> None:
        assert read_pid_file(tmp_path / "part.pid") is None

    def test_we_started_before_now_and_hold_memory(self) -> None:
        ourselves = identify(os.getpid())
        assert ourselves is not None
        assert 0 < uptime(ourselves) < 24 * 3600
        assert memory(ourselves) > 5


class TestStopping:
    def test_a_process_that_obeys_is_not_killed(self, processes: Processes) -> None:
        identity = processes.start(SLEEP)
        assert stop([identity], seconds=10.0)
        assert not identity.alive

    def test_a_process_that_does_not_obey_is_killed_after_the_time_given(self, processes: Processes) -> None:
        identity = processes.start(STUBBORN)
        assert wait_until(lambda: "ready" in processes.log.read_text(), 10.0)
        began = time.monotonic()
        assert not stop([identity], seconds=0.3)
        assert not identity.alive
        assert time.monotonic() - began >= 0.3

    def test_a_child_whose_parent_was_killed_is_found_by_its_marks(self, processes: Processes) -> None:
        parent = processes.start(
            [sys.executable, "-c", "import subprocess, sys; subprocess.run([sys.executable, '-c', "
             "'import time; time.sleep(60)'], start_new_session=True)"]
        )  # fmt: skip
        assert wait_until(lambda: len(marked(processes.name)) == 2, 10.0)
        os.kill(parent.pid, signal.SIGKILL)
        assert wait_until(lambda: not parent.alive, 10.0)
        (orphan,) = marked(processes.name, "part")
        assert orphan.pid != parent.pid
        stop([orphan])
        assert marked(processes.name) == []

    def test_the_marks_of_another_sandbox_and_another_part_are_left_alone(self, processes: Processes) -> None:
        identity = processes.start(SLEEP, part="worker")
        assert marked(processes.name, "prefect") == []
        assert marked(f"{processes.name}-other") == []
        assert marked(processes.name, "worker") == [identity]

    def test_a_process_is_found_by_where_it_works(self, tmp_path: Path, processes: Processes) -> None:
        identity = processes.start(SLEEP)
        assert identity in working_below(tmp_path)
        assert working_below(tmp_path / "elsewhere") == []

    def test_a_program_that_is_missing_is_named(self, processes: Processes) -> None:
        with pytest.raises(Refused, match=r"^/no/such/program can't be started.*No such file"):
            processes.start(["/no/such/program"])


class TestPorts:
    def test_a_port_in_use_is_refused_with_port_process_program_and_what_to_do(self) -> None:
        listener = subprocess.Popen(
            [sys.executable, "-c", "import socket, time; s = socket.create_server(('127.0.0.1', 0)); "
             "print(s.getsockname()[1], flush=True); time.sleep(60)"],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            assert listener.stdout is not None
            port = int(listener.stdout.readline())
            with pytest.raises(Refused) as refused:
                check_port("prefect", "127.0.0.1", port, "POINTSMAN_SANDBOX_PREFECT_PORT")
        finally:
            listener.kill()
            listener.communicate()
        assert re.fullmatch(
            rf"prefect needs port {port}, which process {listener.pid} \(\S*python\S* .*\) is using\. "
            rf"Stop it \(kill {listener.pid}\), or choose another port with POINTSMAN_SANDBOX_PREFECT_PORT, "
            r"or move all of them with POINTSMAN_SANDBOX_PORT_OFFSET\.",
            str(refused.value),
        )

    def test_a_port_that_was_just_closed_is_free(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            with socket.create_connection(("127.0.0.1", port)):
                server.accept()[0].close()
        check_port("aws", "127.0.0.1", port, "X")

    def test_an_address_that_this_machine_does_not_have_is_no_traceback(self) -> None:
        with pytest.raises(Refused, match=r"postgres can't listen on 192\.0\.2\.1 port 5"):
            check_port("postgres", "192.0.2.1", 5, "POINTSMAN_SANDBOX_POSTGRES_PORT")

    @pytest.mark.parametrize(
        ("environ", "expected"),
        [
            ({}, Ports()),
            ({"POINTSMAN_SANDBOX_PORT_OFFSET": ""}, Ports()),
            (
                {"POINTSMAN_SANDBOX_PORT_OFFSET": "100"},
                Ports(4666, 4300, 54429, 4380, 8180, 8181, 8182),
            ),
            (
                {"POINTSMAN_SANDBOX_PORT_OFFSET": "100", "POINTSMAN_SANDBOX_AWS_PORT": "5000"},
                Ports(5000, 4300, 54429, 4380, 8180, 8181, 8182),
            ),
        ],
    )
    def test_the_offset_moves_all_ports_and_a_variable_its_own(self, environ: dict[str, str], expected: Ports) -> None:
        assert Ports.read(environ) == expected

    @pytest.mark.parametrize(
        ("environ", "message"),
        [
            ({"POINTSMAN_SANDBOX_PORT_OFFSET": "ten"}, "POINTSMAN_SANDBOX_PORT_OFFSET is 'ten'"),
            ({"POINTSMAN_SANDBOX_PORT_OFFSET": "20000"}, "POINTSMAN_SANDBOX_PORT_OFFSET gives port 74329 for"),
            ({"POINTSMAN_SANDBOX_WEBHOOK_PORT": "0"}, "POINTSMAN_SANDBOX_WEBHOOK_PORT gives port 0 for webhook"),
        ],
    )
    def test_what_is_no_port_is_refused_by_the_variables_name(self, environ: dict[str, str], message: str) -> None:
        with pytest.raises(ValueError, match=re.escape(message)):
            Ports.read(environ)

    def test_a_later_command_finds_the_ports_of_the_start_without_being_told(self, tmp_path: Path) -> None:
        Settings.load(tmp_path, {"POINTSMAN_SANDBOX_PORT_OFFSET": "7"}).remember()
        assert Settings.load(tmp_path, {}).ports.aws == 4573
        assert Settings.load(tmp_path, {"POINTSMAN_SANDBOX_AWS_PORT": "5000"}).ports.aws == 5000
        assert Settings.load(tmp_path, {"POINTSMAN_SANDBOX_AWS_PORT": "5000"}).recorded().ports.aws == 4573


class TestOrder:
    def test_each_starts_after_those_it_needs(self) -> None:
        needs = {
            "prefect": ("postgres",),
            "postgres": ("docker",),
            "docker": (),
            "worker": ("prefect", "aws"),
            "aws": (),
        }
        done: list[str] = []

        def work(name: str) -> None:
            assert set(needs[name]) <= set(done), name
            done.append(name)

        assert set(in_order(needs, work)) == set(needs) == set(done)
        assert len(done) == len(needs)

    def test_those_that_do_not_need_each_other_work_side_by_side(self) -> None:
        both = threading.Barrier(2, timeout=10)

        def meet(_name: str) -> None:
            both.wait()

        in_order({"aws": (), "postgres": ()}, meet)
        assert not both.broken

    def test_after_a_problem_nothing_more_is_begun_and_what_is_under_way_ends(self) -> None:
        failed, done = threading.Event(), []

        def work(name: str) -> None:
            if name == "postgres":
                failed.set()
                raise Permanent("postgres fails")
            failed.wait(10)
            time.sleep(0.1)
            done.append(name)

        with pytest.raises(Permanent, match="postgres fails"):
            in_order({"aws": (), "seed": ("aws",), "postgres": (), "prefect": ("postgres",)}, work)
        assert done == ["aws"]

    def test_each_stops_once_those_that_need_it_have_stopped(self) -> None:
        needs = {"docker": (), "postgres": ("docker",), "prefect": ("postgres",), "webhook": ("prefect", "blocks")}
        assert reversed_needs(needs) == {
            "docker": ["postgres"],
            "postgres": ["prefect"],
            "prefect": ["webhook"],
            "webhook": [],
        }

    def test_the_parts_stand_after_those_they_need_and_have_names_of_their_own(self, tmp_path: Path) -> None:
        seen = set(STEPS)
        for part in (make(Settings.load(tmp_path, {})) for make in PARTS):
            assert set(part.needs) <= seen, part.name
            assert part.name not in seen
            seen.add(part.name)

    def test_making_the_parts_writes_nothing(self, tmp_path: Path) -> None:
        for make in PARTS:
            make(Settings.load(tmp_path, {}))
        assert list(tmp_path.iterdir()) == []


class OnePart(Part):
    """A part with a command that a test names."""

    stop_seconds = 2.0
    address = "nowhere"

    def __init__(self, settings: Settings, name: str, command: list[str], **facts: Any) -> None:
        super().__init__(settings)
        self.name, self._command, self._healthy = name, command, facts.pop("healthy", True)
        vars(self).update(facts)

    def command(self) -> list[str]:
        return self._command

    def is_healthy(self) -> bool:
        return bool(self._healthy)


class Engine(OnePart):
    """A part that may run already; this one runs if we started it."""

    shared = True

    def is_healthy(self) -> bool:
        started = self.started()
        return started is not None and started.alive


def part(name: str, command: list[str], kind: type[OnePart] = OnePart, **facts: Any) -> Callable[[Settings], Part]:
    return lambda settings: kind(settings, name, command, **facts)


class Scenario(Sandbox):
    """A sandbox of the parts that a test names."""

    def __init__(self, root: Path, *parts: Callable[[Settings], Part]) -> None:
        self.said: list[str] = []
        super().__init__(root, environ={}, say=self.said.append, parts=parts)


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    stop(marked(Settings.load(tmp_path, {}).identity), how=signal.SIGKILL)


class TestPart:
    def test_starting_what_runs_changes_nothing(self, root: Path) -> None:
        sandbox = Scenario(root, part("sleeper", SLEEP))
        sandbox.start("sleeper")
        pid = sandbox.pid("sleeper")
        sandbox.start("sleeper")
        assert pid is not None
        assert sandbox.pid("sleeper") == pid

    def test_a_killed_part_is_seen_and_started_again(self, root: Path) -> None:
        sandbox = Scenario(root, part("sleeper", SLEEP))
        assert [status.state for status in sandbox.status()] == ["missing"]
        sandbox.start("sleeper")
        pid = sandbox.pid("sleeper")
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        assert wait_until(lambda: sandbox.pid("sleeper") is None, 10.0)
        assert [status.state for status in sandbox.status()] == ["died"]
        sandbox.start("sleeper")
        assert [status.state for status in sandbox.status()] == ["up"]
        assert sandbox.pid("sleeper") not in (None, pid)

    def test_a_part_without_its_pid_file_is_ended_before_it_is_started_anew(self, root: Path) -> None:
        sandbox = Scenario(root, part("sleeper", SLEEP))
        sandbox.start("sleeper")
        (sandbox.settings.directories.run / "sleeper.pid").unlink()
        sandbox.start("sleeper")
        assert len(marked(sandbox.settings.identity)) == 1

    def test_a_part_that_ends_at_once_is_reported_with_its_last_words(self, root: Path) -> None:
        sandbox = Scenario(
            root, part("broken", [sys.executable, "-c", "raise SystemExit('no such table')"], healthy=False)
        )
        with pytest.raises(Permanent, match=r"broken ended as soon as it was started(.|\n)*no such table"):
            sandbox.start("broken")
        assert sandbox.pid("broken") is None

    def test_a_part_that_never_answers_is_reported_after_its_time(self, root: Path) -> None:
        sandbox = Scenario(root, part("mute", SLEEP, healthy=False, start_seconds=0.3))
        with pytest.raises(Permanent, match=r"mute \(process \d+\) does not answer after 0 s"):
            sandbox.start("mute")

    def test_a_supervised_part_that_is_killed_comes_back_by_itself(self, root: Path) -> None:
        sandbox = Scenario(root, part("worker", SLEEP, supervised=True))
        sandbox.start("worker")
        assert wait_until(lambda: sandbox.pid("worker") is not None, 10.0)
        pid = sandbox.pid("worker")
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        assert wait_until(lambda: sandbox.pid("worker") not in (None, pid), 10.0)
        sandbox.stop("worker")
        assert marked(sandbox.settings.identity) == []

    def test_an_unknown_part_is_refused_with_the_names_there_are(self, root: Path) -> None:
        with pytest.raises(Refused, match=r"no part 'wroker'\. Its parts: worker\."):
            Scenario(root, part("worker", SLEEP)).restart("wroker")

    def test_a_developers_own_accounts_do_not_reach_into_the_sandbox(
        self, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AWS_PROFILE", "own")
        monkeypatch.setenv("PREFECT_API_KEY", "own")
        told = root / "told"
        program = "import os, sys; print(*sorted(os.environ), sep='\\n', file=open(sys.argv[1], 'w'))"
        sandbox = Scenario(
            root, part("teller", [sys.executable, "-c", f"{program}; import time; time.sleep(60)", str(told)])
        )
        sandbox.start("teller")
        assert wait_until(lambda: told.exists() and "PREFECT_API_URL\n" in told.read_text(), 10.0)
        names = told.read_text().split()
        assert "AWS_PROFILE" not in names
        assert "PREFECT_API_KEY" not in names
        assert "AWS_ENDPOINT_URL" in names


class TestEnding:
    """`down` ends what is the sandbox's, and of what it shares with others only what it started and nobody needs."""

    def test_a_shared_part_that_we_did_not_start_goes_on_and_is_seen(self, root: Path, processes: Processes) -> None:
        engine = processes.start(SLEEP)
        sandbox = Scenario(root, part("engine", SLEEP, shared=True, server=lambda: engine))
        sandbox.start("engine")
        assert [(status.state, status.pid) for status in sandbox.status()] == [("up", engine.pid)]
        sandbox.down()
        assert engine.alive

    def test_a_shared_part_that_others_use_goes_on(self, root: Path) -> None:
        sandbox = Scenario(root, part("engine", SLEEP, Engine, used_by_others=lambda: "2 containers are another's"))
        sandbox.start("engine")
        sandbox.down()
        assert sandbox.pid("engine") is not None
        assert "engine goes on: 2 containers are another's." in sandbox.said

    def test_a_shared_part_that_nobody_else_uses_ends_with_the_sandbox(self, root: Path) -> None:
        sandbox = Scenario(root, part("engine", SLEEP, Engine))
        sandbox.start("engine")
        assert len(marked(sandbox.settings.identity)) == 1
        sandbox.down()
        assert marked(sandbox.settings.identity) == []

    def test_what_a_part_leaves_is_removed_once_it_has_stopped(self, root: Path) -> None:
        sandbox = Scenario(root, part("aws", SLEEP, clean_up=lambda: "3 containers removed"))
        sandbox.start("aws")
        sandbox.down()
        assert sandbox.pid("aws") is None
        assert sandbox.said[-2:] == [
            "3 containers removed.",
            "The sandbox is down: no process and no container of it is left.",
        ]

    def test_what_carries_no_mark_is_ended_before_the_next_start(self, root: Path, tmp_path: Path) -> None:
        session = spawn(SLEEP, log=tmp_path / "log", environment=dict(os.environ), directory=tmp_path)
        sandbox = Scenario(root, part("postgres", SLEEP, leftovers=lambda: [session]))
        sandbox.start("postgres")
        assert not session.alive


class TestLock:
    def test_two_commands_do_not_work_at_once(self, root: Path) -> None:
        sandbox = Scenario(root, part("sleeper", SLEEP))
        program = (
            "import sys, time; from pathlib import Path; from sandbox.parts import Sandbox\n"
            "with Sandbox(Path(sys.argv[1]), environ={}, parts=())._locked():\n"
            "    print('held', flush=True); time.sleep(0.7)"
        )
        holder = subprocess.Popen(
            [sys.executable, "-c", program, str(root)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        began = time.monotonic()
        sandbox.stop("sleeper")
        assert time.monotonic() - began > 0.3
        assert sandbox.said[0] == (f"Another command is at work on this sandbox (process {holder.pid}): waiting.")
        holder.communicate()


@pytest.mark.parametrize(
    ("delay", "ran", "expected"),
    [
        (FIRST_DELAY, 0.1, FIRST_DELAY * 2),
        (LAST_DELAY, 0.1, LAST_DELAY),
        (LAST_DELAY, 3600.0, FIRST_DELAY),
    ],
)
def test_what_keeps_dying_waits_longer_and_what_ran_long_starts_fresh(
    delay: float, ran: float, expected: float
) -> None:
    assert next_delay(delay, ran) == expected


def test_an_engine_on_another_machine_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://192.0.2.1:2375")
    with pytest.raises(Refused, match=r"DOCKER_HOST is tcp://192\.0\.2\.1:2375"):
        socket_path()


def test_where_no_engine_listens_there_is_none(tmp_path: Path) -> None:
    assert not engine_answers(str(tmp_path / "docker.sock"))


def test_the_table_has_a_line_a_part_and_the_sum_of_memory() -> None:
    lines = table(
        [
            Status("postgres", "up", "127.0.0.1:54329", 12, 61.0, 40.4),
            Status("prefect", "missing", "http://127.0.0.1:4200"),
        ]
    ).splitlines()
    assert lines[0].split() == ["PART", "STATE", "PID", "ADDRESS", "UP", "MIB"]
    assert lines[1].split() == ["postgres", "up", "12", "127.0.0.1:54329", "61", "s", "40"]
    assert lines[2].split() == ["prefect", "missing", "-", "http://127.0.0.1:4200", "-", "-"]
    assert lines[3].split() == ["total", "40"]


def test_the_command_says_in_one_sentence_what_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("POINTSMAN_SANDBOX_PORT_OFFSET", "x")
    assert main(["--root", str(tmp_path), "status"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == "sandbox: POINTSMAN_SANDBOX_PORT_OFFSET is 'x': a whole number is needed.\n"


@pytest.mark.parametrize("command", ["status", "down"])
def test_looking_and_stopping_do_not_wait_for_prefect(command: str, tmp_path: Path) -> None:
    program = (
        "import sys; from sandbox.__main__ import main; main(sys.argv[1:]); "
        "print(sorted({'prefect', 'boto3', 'ministack'} & set(sys.modules)))"
    )
    ran = subprocess.run(
        [*python("x")[:1], "-c", program, "--quiet", "--root", str(tmp_path), command],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "POINTSMAN_SANDBOX_PORT_OFFSET": "11000"},
    )
    assert ran.stdout.splitlines()[-1] == "[]"
