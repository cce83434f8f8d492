"""The figures of `scripts/count`: each rule of counting on a few lines of code."""

from __future__ import annotations

import ast
import importlib.machinery
import importlib.util
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "count"


def _load() -> ModuleType:
    loader = importlib.machinery.SourceFileLoader("count_script", str(SCRIPT))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[loader.name] = module  # dataclasses look their module up
    loader.exec_module(module)
    return module


counting = _load()


def function(source: str) -> ast.FunctionDef:
    found = next(node for node in ast.walk(ast.parse(dedent(source))) if isinstance(node, ast.FunctionDef))
    assert isinstance(found, ast.FunctionDef)
    return found


def modules(**sources: str) -> list[object]:
    return counting.parse_modules({f"{path.replace('__', '/')}.py": dedent(text) for path, text in sources.items()})


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("def f():\n    return 1\n", 2),
        ('def f():\n    """Say.\n\n    More.\n    """\n    return 1\n', 2),
        ("@one\n@two(\n    3,\n)\ndef f():\n    return 1\n", 2),
        ("def f(\n    a,\n    b,\n):\n    # a comment\n\n    return a\n", 7),
    ],
    ids=["plain", "without its docstring", "without its decorators", "with its signature, comments and blank lines"],
)
def test_the_length_of_a_function_leaves_out_decorators_and_docstring(source: str, lines: int) -> None:
    assert counting.length(function(source)) == lines


@pytest.mark.parametrize(
    ("signature", "count"),
    [
        ("", 0),
        ("self", 0),
        ("cls, a", 1),
        ("a, /, b, *, c", 3),
        ("*args, **kwargs", 2),
        ("a, self", 2),
    ],
)
def test_self_and_cls_are_no_parameters(signature: str, count: int) -> None:
    assert counting.parameters(function(f"def f({signature}): return 1")) == count


@pytest.mark.parametrize(
    ("body", "counted"),
    [("...", False), ("pass", False), ('"""Only says."""', False), ('"""Say."""\n    ...', False), ("return", True)],
)
def test_a_stub_is_not_counted(body: str, counted: bool) -> None:
    assert bool(list(counting.functions(ast.parse(f"def f():\n    {body}\n")))) is counted


def test_nine_functions_in_ten_are_no_longer_than_p90() -> None:
    assert counting.percentile(range(1, 11), 0.9) == 9
    assert counting.percentile([7], 0.9) == 7
    assert counting.percentile([], 0.9) == 0


def test_shares_are_of_the_lines_that_are_not_blank() -> None:
    found = modules(
        core__a='''\
        """A module.

        With two lines that hold something.
        """

        # a comment
        x = "# no comment"  # nor is this a line of comment


        class A:
            """A class."""
        '''
    )
    lines = counting.count_lines(found)
    assert (lines.filled, lines.comments, lines.docstrings) == (7, 1, 4)


def test_an_empty_module_is_none() -> None:
    assert modules(core____init__="", core__a="\n\n") == []


def test_a_row_of_sizes() -> None:
    row = counting.measure(
        modules(
            core__a="def f(a: int) -> int:\n    return a\n",
            core__b="def g(a, b, c, d, e, f):\n    return a\n\n\ndef h() -> None:\n    if 1:\n        return\n",
        )
    )
    assert row == {
        "modules": 2,
        "module lines, median": 4.5,
        "module lines, max": 7,
        "functions": 3,
        "function lines, median": 2,
        "function lines, p90": 3,
        "function lines, max": 3,
        "parameters, mean": 2.3,
        "functions with more than 5 parameters": 1,
        "comments, %": 0,
        "docstrings, %": 0,
        "return types, %": 67,
    }


@pytest.mark.parametrize(
    ("signature", "takes"),
    [
        ("operation: Operation", True),
        ('operation: "Operation"', True),
        ("*, run: Operation | None = None", True),
        ("body: Callable[[Operation], None]", False),
        ("lease: Lease", False),
        ("operation", False),
    ],
)
def test_a_function_takes_the_run_if_a_parameter_is_one(signature: str, takes: bool) -> None:
    assert counting.takes_run(function(f"def f({signature}): return 1")) is takes


def test_floors_are_the_modules_on_the_longest_chain_of_imports() -> None:
    found = modules(
        tasks__a="import os\n",
        tasks__b="from tasks.a import x\nfrom core.a import y\n",
        tasks__c="from tasks import a, b\n",
        tasks__d="import tasks.a\n",
    )
    imports = counting.imports_within(found)
    assert imports == {
        "tasks.a": set(),
        "tasks.b": {"tasks.a"},
        "tasks.c": {"tasks.a", "tasks.b"},
        "tasks.d": {"tasks.a"},
    }
    assert counting.floors(imports) == 3


def test_imports_in_a_circle_have_no_floors() -> None:
    imports = {"tasks.a": {"tasks.b"}, "tasks.b": {"tasks.a"}}
    with pytest.raises(ValueError, match=r"circle: tasks\.a → tasks\.b → tasks\.a"):
        counting.floors(imports)


def test_the_members_of_a_class_are_its_bases_as_well() -> None:
    found = modules(
        tasks__hold="""\
        class Held:
            def __init__(self): self.fence, self._stop = 0, 1
            def free(self): return 1
        """,
        tasks__operation="""\
        class Operation(Held):
            commit: str

            @property
            def release(self): return self._release

            def free(self):
                self.release.x = 1
                return 2

            def _hidden(self): return 3
        """,
    )
    assert counting.public_members(found, {"Operation"}) == ({"free", "release"}, {"fence", "commit"})


def test_each_function_that_takes_the_lease_is_one_way_to_it() -> None:
    tree = ast.parse(
        dedent(
            """\
            class Held:
                def take_hold(self): return self.store
                def take_if_free(self): return self.take_hold()

            def enter(run):
                def again():
                    return run.lease.take(1)
                return again() or run.lease.take(2)

            def other(run): return holding.take(run)
            """
        )
    )
    assert counting.functions_calling(tree, ("take_hold", "lease.take")) == ["enter", "take_if_free"]


def test_a_loop_that_sleeps_polls_or_tries() -> None:
    tree = ast.parse(
        dedent(
            """\
            while True:
                time.sleep(1)
            while True:
                break
            for _ in range(3):
                while fine:
                    await asyncio.sleep(1)
            for _ in range(3):
                if a:
                    sleep(1)
            """
        )
    )
    assert counting.loops_that_sleep(tree, ast.While) == 2
    assert counting.loops_that_sleep(tree, ast.For) == 1


def test_a_copy_without_changes_needs_no_validation() -> None:
    assert counting.model_copies(ast.parse("a.model_copy()\nb.model_copy(update=facts)\nc.model_copy(update={})")) == 2


def test_a_raise_in_a_handler_is_chained_or_not() -> None:
    tree = ast.parse(
        dedent(
            """\
            try:
                raise A
            except B as error:
                raise C from error
            except D:
                raise E
            except BaseException:
                raise
            """
        )
    )
    assert counting.reraises(tree) == (1, 2)
    assert counting.broad_handlers(tree, "BaseException") == 1
    assert counting.broad_handlers(tree, "Exception") == 0


def test_what_is_counted_of_tests() -> None:
    found = modules(
        tests__unit__test_a="""\
        @pytest.mark.parametrize("a", [1])
        def test_table(a):
            with pytest.raises(A, match="x"):
                f()
        @given(integers())
        def test_examples(a):
            with pytest.raises(A):
                f()
        def test_patched(monkeypatch):
            monkeypatch.setenv("A", "1")
        """,
        tests__e2e__test_b="def helper():\n    return 1\n\n\ndef test_plain():\n    f()\n",
    )
    assert counting.count_tests(found) == {
        "tests": "4: unit 3, e2e 1",
        "parametrized": "50 %: unit 66.7 %, e2e 0 %",
        "patch or mock in the test itself": "25 % (1)",
        "`pytest.raises` with `match`": "1 of 2",
        "test length, median": "2.5 lines",
    }


def test_commits_are_printed_side_by_side() -> None:
    before = {"core/a.py": "def f(a): return 1\n", "tests/unit/test_a.py": "def test_a(): f()\n"}
    after = {"tasks/b.py": "def g(run: Operation) -> int:\n    return run\n", **before}
    text = counting.render({"one": counting.count(before), "two": counting.count(after)})
    assert "| core | one | 1 | 1 (1) | 1 / 1 / 1 | 1 (0 of 1) | 0.0 % | 0.0 % | 0 % |" in text.splitlines()
    assert "| tasks | two | 1 | 2 (2) | 2 / 2 / 2 | 1 (0 of 1) | 0.0 % | 0.0 % | 100 % |" in text.splitlines()
    assert "| functions that take the whole run | 0 of 0 | 1 of 1 |" in text.splitlines()


def test_a_commit_is_read_from_git_without_being_checked_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def git(*command: str) -> None:
        identity = ("-c", "user.name=a", "-c", "user.email=a@example.com")
        subprocess.run(["git", *identity, *command], cwd=tmp_path, check=True, capture_output=True)

    git("init")
    (tmp_path / "core").mkdir()
    (tmp_path / "core" / "a.py").write_text("x = 1\n")
    (tmp_path / "notes.md").write_text("not counted\n")
    git("add", ".")
    git("commit", "-m", "one")
    (tmp_path / "core" / "a.py").write_text("x = 2\n")
    monkeypatch.chdir(tmp_path)
    assert counting.read_commit("HEAD") == {"core/a.py": "x = 1\n"}
