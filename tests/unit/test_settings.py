"""Settings of an environment: each wrong one is refused by its name, with what would be right."""

from __future__ import annotations

import re

import pytest

from core.colour import Colour
from core.errors import Refused
from core.settings import EnvironmentSettings, Timing, is_stage, parse_settings
from tests.unit.facts import SETTINGS, settings_with


def test_sound_settings_name_what_is_made_of_them() -> None:
    settings = settings_with()
    assert settings.cluster == "team-shop-test"
    assert settings.repository == "team/shop"
    assert [settings.service_name(c) for c in Colour] == ["shop-test-blue", "shop-test-green"]
    assert [settings.ports.test(c) for c in Colour] == [8081, 8082]


@pytest.mark.parametrize(
    ("more", "replaced", "named"),
    [
        ("", {"region": '"Europe"'}, "region"),
        ("", {"aws_account_number": '"12345"'}, "aws_account_number"),
        ("", {"aws_account_number": "123456789012"}, "aws_account_number"),
        ("", {"namespace": '"Team"'}, "namespace"),
        ("", {"name": '"-shop"'}, "name"),
        ("", {"state_bucket": '"Team_State"'}, "state_bucket"),
        ("", {"url": '""'}, "source.url"),
        ("", {"url": '"https://user:SECRET@git.example.com/a.git"'}, "source.url"),
        ("", {"url": '"https://SECRET@git.example.com/a.git"'}, "source.url"),
        ("", {"url": '"ssh://git:SECRET@git.example.com/a.git"'}, "source.url"),
        ("", {"github_repository": '"shop"'}, "source.github_repository"),
        ("", {"github_repository": '"team/shop"\nmain_branch = "-x"'}, "source.main_branch"),
        ("", {"github_repository": '"team/shop"\nbranches = ["release/*/*"]'}, "source.branches.0"),
        ("", {"github_repository": '"team/shop"\nbranches = ["+main"]'}, "source.branches.0"),
        ("", {"github_repository": '"team/shop"\nbranches = ["a:b"]'}, "source.branches.0"),
        ("", {"github_repository": '"team/shop"\nmain_branch = "main"\nbranches = ["next"]'}, "source"),
        ("", {"github_repository": '"team/shop"\nmax_mib = 0'}, "source.max_mib"),
        ("", {"desired_count": "0"}, "service.desired_count"),
        ("cpu = 256", {"desired_count": "1\nmemory = 64"}, "service.memory"),
        ("", {"desired_count": "1\ncontainer_port = 70000"}, "service.container_port"),
        ("", {"poll": "0"}, "timing.poll"),
        ("", {"heartbeat": "-1"}, "timing.heartbeat"),
        ("aws_attempts = 0", {}, "timing.aws_attempts"),
        ("vacuum = 1", {}, "timing.vacuum"),
        ('[image]\nrefuse_findings = "BAD"', {}, "image.refuse_findings"),
        ('[image]\nrefuse_findings = "critical"', {}, "image.refuse_findings"),
        ("[image.secrets.npmrc]", {}, "image.secrets.npmrc"),
        ('[image.secrets.npmrc]\nvariable = "A"\nfile = "/b"', {}, "image.secrets.npmrc"),
        ('[image.secrets.npmrc]\nvariable = "A"\nkey = "k"', {}, "image.secrets.npmrc"),
        ('[image.secrets.npmrc]\nvariable = "AWS_SESSION_TOKEN"', {}, "image.secrets.npmrc"),
        ('[image.secrets.npmrc]\nvariable = "POINTSMAN_SOURCE_TOKEN"', {}, "image.secrets.npmrc"),
        ('[image.secrets.npmrc]\nvariable = "A B"', {}, "image.secrets.npmrc.variable"),
        ('[image.secrets.npmrc]\nfile = "relative"', {}, "image.secrets.npmrc.file"),
        ('[image.secrets.npmrc]\nsecret = "arn:aws:x"', {}, "image.secrets.npmrc.secret"),
        ('[image.secrets.npmrc]\nvalue = "SECRET"', {}, "image.secrets.npmrc.value"),
        ('[image.secrets."a,src=/b"]\nvariable = "A"', {}, "image.secrets.a,src=/b.[key]"),
        ('[image]\nimage_source = "elsewhere"', {}, "image.image_source"),
        ('[image]\nimage_source = "prebuilt"\ndockerfile = "D"', {}, "image"),
        ('[image]\nimage_source = "prebuilt"\ncache = "registry"', {}, "image"),
        ('[image.prebuilt]\nrecorded_in = "image/{tag}"', {}, "image"),
        (
            '[image]\nimage_source = "prebuilt"\n[image.prebuilt]\nrecorded_in = "image"',
            {},
            "image.prebuilt.recorded_in",
        ),
        ('[image]\nwarn_growth = "much"', {}, "image.warn_growth"),
        ('[image]\ncache = "elsewhere"', {}, "image.cache"),
        ('[image]\nplatform = "linux/arm/v7"', {}, "image.platform"),
        ('[image]\nplatform = "windows/amd64"', {}, "image.platform"),
        ('[image]\nbase_repositories = ["team/base:1"]', {}, "image.base_repositories.0"),
        ('[image]\nbase_repositories = ["1.dkr.ecr.x.amazonaws.com/Base"]', {}, "image.base_repositories.0"),
        ('[image.registries."https://docker.io"]\nusername = "u"', {}, "image.registries.https://docker.io.[key]"),
        ('[image.registries."docker.io"]\nusername = "u"\npassword = "p"', {}, "image.registries.docker.io.password"),
        ('[image.ssh]\ndefault = "id_rsa"', {}, "image.ssh"),
        ('[image.ssh]\ndefault = "/a,/b"', {}, "image.ssh"),
        ("[ports]\nproduction = 8081", {}, "ports"),
        ("[smoke]\nchecks = []", {}, "smoke.checks"),
        ('[smoke]\nchecks = [{ path = "healthz" }]', {}, "smoke.checks.0.path"),
        ('[smoke]\nchecks = [{ path = "/", method = "BREW" }]', {}, "smoke.checks.0.method"),
        ('[smoke]\nchecks = [{ path = "/", location = "/login" }]', {}, "smoke.checks.0"),
        ('[smoke]\nchecks = [{ path = "/", status = 304, location = "/login" }]', {}, "smoke.checks.0"),
        ('[smoke]\nchecks = [{ path = "/", status = 301, location = "login" }]', {}, "smoke.checks.0.location"),
        ('[smoke]\nhost = "https://shop.example.com"', {}, "smoke.host"),
        ('[smoke]\nchecks = [{ path = "/", host = "a b" }]', {}, "smoke.checks.0.host"),
        ('[smoke.headers]\nHost = "shop.example.com"', {}, "smoke.headers"),
        ('[smoke.headers]\nAuthorization = "Basic x"', {}, "smoke.headers"),
        ('[smoke.headers]\nCookie = "a=b"', {}, "smoke.headers"),
        ('[smoke.headers]\nX-Forwarded-Proto = "https"', {}, "smoke.headers"),
        ('[smoke.headers]\nContent-Length = "3"', {}, "smoke.headers"),
        ('[smoke.headers]\n"X Y" = "a"', {}, "smoke.headers"),
        ('[smoke.headers]\nX-Y = "a\\r\\nb"', {}, "smoke.headers"),
        ("", {"desired_count": '1\nhealth_check_matcher = "200-599"'}, "service.health_check_matcher"),
        ('[traffic]\nversion_path = "version"', {}, "traffic.version_path"),
        ("[traffic]\nanswers = 0", {}, "traffic.answers"),
        ("[approval]\ntimeout_seconds = 1", {}, "approval.timeout_seconds"),
        ("[migration]\ntimeout_seconds = 0", {}, "migration.timeout_seconds"),
        ('[service.secrets.KEY]\nsecret = ""\nkey = "k"', {}, "service.secrets.KEY.secret"),
        ('[service.secrets.KEY]\nsecret = "s"\nkey = ""', {}, "service.secrets.KEY.key"),
        ("[nonsense]\nx = 1", {}, "nonsense"),
        ("", {"state_bucket": '"team-shop-state"\nqueue = "random"'}, "queue"),
    ],
)
def test_a_wrong_setting_is_refused_by_its_name(more: str, replaced: dict[str, str], named: str) -> None:
    with pytest.raises(Refused, match=r"environments/test\.toml has invalid settings") as refusal:
        settings_with(more, **replaced)
    assert re.search(rf"(^|; ){re.escape(named)}: ", refusal.value.why), refusal.value.why
    assert "SECRET" not in str(refusal.value)


@pytest.mark.parametrize(
    ("more", "branches"),
    [
        ("", ("main",)),
        ('main_branch = "master"', ("master",)),
        ('branches = ["main", "release/*"]', ("main", "release/*")),
        ('branches = ["*-stable"]', ("*-stable",)),
    ],
)
def test_versions_are_released_from_the_branches_that_are_named(more: str, branches: tuple[str, ...]) -> None:
    assert settings_with(github_repository=f'"team/shop"\n{more}').source.released_branches == branches


def test_credentials_in_the_source_url_are_refused_with_where_they_belong() -> None:
    with pytest.raises(Refused, match="use POINTSMAN_SOURCE_TOKEN"):
        settings_with(url='"https://user:SECRET@git.example.com/a.git"')


def test_pre_releases_are_released_nowhere_unless_the_file_says_so() -> None:
    assert not settings_with().prereleases
    assert settings_with(stage='"test"\nprereleases = true').prereleases


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ('[service.variables]\nKEY = "x"\n[service.secrets.KEY]\nsecret = "s"\nkey = "k"', "KEY is set in both"),
        ('[service.variables]\nPOINTSMAN_REVISION = "x"', "POINTSMAN_REVISION: names starting with POINTSMAN_"),
        ('[service.secrets.POINTSMAN_X]\nsecret = "s"\nkey = "k"', "POINTSMAN_X: names starting with POINTSMAN_"),
    ],
)
def test_a_container_s_name_stands_once_and_is_not_ours(more: str, said: str) -> None:
    with pytest.raises(Refused, match=re.escape(said)):
        settings_with(more)


def test_every_wrong_setting_is_named_at_once() -> None:
    with pytest.raises(Refused) as refusal:
        settings_with(region='"x"', aws_account_number='"1"', poll="0")
    assert all(name in refusal.value.why for name in ("region", "aws_account_number", "timing.poll"))


def test_target_group_names_stay_within_32_characters() -> None:
    assert settings_with(name='"abcdefghijklmnopqrstu"').name  # 21 + "-test-green" = 32
    with pytest.raises(Refused, match="33 of at most 32 characters"):
        settings_with(name='"abcdefghijklmnopqrstuv"')


def test_a_text_that_is_no_toml_is_refused() -> None:
    with pytest.raises(Refused, match=r"environments/test\.toml is not valid TOML"):
        parse_settings("test", "region =")


def test_a_file_of_another_environment_is_refused() -> None:
    with pytest.raises(Refused, match=r"environments/live\.toml is for a different environment: its stage is 'test'"):
        parse_settings("live", SETTINGS)


def test_no_environment_is_called_as_the_account() -> None:
    with pytest.raises(Refused, match="the stage 'account' is reserved"):
        settings_with(stage='"account"')


# --- a holder writes only while its hold outlasts the longest possible call


@pytest.mark.parametrize(
    ("timing", "fits"),
    [
        ({"lease_expiry": 100}, True),
        ({"lease_expiry": 60, "heartbeat": 30}, False),
        ({"lease_expiry": 60, "aws_read_timeout": 30}, False),
        ({"lease_expiry": 60, "aws_connect_timeout": 15}, False),
        ({"lease_expiry": 60, "aws_attempts": 6}, False),
        (
            {"lease_expiry": 10, "heartbeat": 1, "aws_attempts": 1, "aws_connect_timeout": 3, "aws_read_timeout": 6},
            False,
        ),
        (
            {"lease_expiry": 11, "heartbeat": 1, "aws_attempts": 1, "aws_connect_timeout": 3, "aws_read_timeout": 6},
            True,
        ),
    ],
)
def test_a_lease_outlasts_the_longest_call_and_a_heartbeat(timing: dict[str, float], fits: bool) -> None:
    if fits:
        assert Timing.model_validate(timing).lease_expiry == timing["lease_expiry"]
    else:
        with pytest.raises(ValueError, match=r"lease_expiry .* must be longer than the longest AWS call and"):
            Timing.model_validate(timing)


@pytest.mark.parametrize("attempts", [2, 3, 5, 10])
def test_the_longest_call_counts_the_waits_between_its_attempts(attempts: int) -> None:
    # botocore's standard mode waits up to 2**n seconds before the n-th repeat, at most 20:
    # https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html
    waits = sum(min(20.0, 2.0**n) for n in range(attempts - 1))
    timing = Timing(lease_expiry=86_400, aws_attempts=attempts, aws_connect_timeout=1, aws_read_timeout=2)
    assert timing.longest_call >= attempts * 3 + waits


def test_the_defaults_fit_together() -> None:
    assert isinstance(settings_with(), EnvironmentSettings)
    assert Timing().lease_expiry > Timing().longest_call + Timing().heartbeat


# --- settings that contradict each other


@pytest.mark.parametrize(
    ("more", "fault"),
    [
        ("[provision.environment]\nhttp_redirect = true", "http_redirect needs traffic.https = true"),
        ("[provision.environment]\nderegistration_delay_seconds = 1", "timing.vacate .* must be longer than"),
        ('[service.variables]\nA = "b"\n[aws]\nrole_arn = "arn"\n[traffic]\nhttps = true', None),
        ("[traffic]\nhttps = true\n[provision.environment]\nhttp_redirect = true", None),
        ("[provision.environment]\nhttp_redirect = false\nderegistration_delay_seconds = 0", None),
    ],
)
def test_settings_that_would_fail_every_release_are_refused(more: str, fault: str | None) -> None:
    if fault is None:
        settings_with(f"\n{more}\n")
    else:
        with pytest.raises(Refused, match=fault):
            settings_with(f"\n{more}\n")


@pytest.mark.parametrize(
    ("role", "expiry", "fits"), [(True, 94, False), (True, 95, True), (False, 94, True), (False, 53, True)]
)
def test_where_a_role_is_assumed_a_lease_outlasts_its_renewal_too(role: bool, expiry: int, fits: bool) -> None:
    text = "aws_attempts = 3\naws_connect_timeout = 3\naws_read_timeout = 10\n"
    text += '[aws]\nrole_arn = "arn:aws:iam::123456789012:role/pipeline"\n' if role else ""
    changed = {"heartbeat": "10", "lease_expiry": str(expiry)}
    if fits:
        assert settings_with(text, **changed).timing.lease_expiry == expiry
    else:
        with pytest.raises(Refused, match="the renewal of the role's session"):
            settings_with(text, **changed)


def test_the_defaults_fit_a_role_too() -> None:
    assert Timing().lease_expiry > 2 * Timing().longest_call + Timing().heartbeat


@pytest.mark.parametrize("path", ["healthz", "/health z", ""])
def test_a_health_check_asks_a_path(path: str) -> None:
    with pytest.raises(Refused, match=r"service\.health_check_path"):
        parse_settings("test", SETTINGS.replace("[service]", f'[service]\nhealth_check_path = "{path}"'))


def test_a_password_in_a_variable_is_refused_by_the_variables_name_alone() -> None:
    with pytest.raises(Refused, match="DATABASE_URL: a URL with credentials") as refused:
        settings_with('\n[service.variables]\nDATABASE_URL = "postgresql://ada:hunter2@db/shop"\nLOG = "info"\n')
    assert "hunter2" not in str(refused.value)
    assert "service.secrets" in str(refused.value)


def test_an_address_without_a_password_is_a_variable() -> None:
    settings = settings_with('\n[service.variables]\nAPI = "https://api.example.com/@acme"\n')
    assert settings.service.variables == {"API": "https://api.example.com/@acme"}


@pytest.mark.parametrize(
    ("name", "may"),
    [("production", True), ("eu-2", True), ("production\n", False), ("Production", False), ("a", False), ("", False)],
)
def test_an_environment_s_name_is_one_that_a_file_and_aws_can_have(name: str, may: bool) -> None:
    assert is_stage(name) is may


@pytest.mark.parametrize("tags", ['"platform"', "{ CostCentre = 7 }", '["platform"]'])
def test_tags_are_texts_by_their_keys(tags: str) -> None:
    with pytest.raises(Refused, match=r"provision\.environment\.tags must be a table of texts"):
        settings_with(f"[provision.environment]\ntags = {tags}\n")


def test_an_environment_s_tags_are_those_of_its_tasks_too() -> None:
    assert settings_with().tags == {}
    assert settings_with('[provision.environment.tags]\nCostCentre = "platform"\n').tags == {"CostCentre": "platform"}


@pytest.mark.parametrize(
    ("engine", "command", "directory"),
    [
        ("", ["npx", "--no-install", "prisma", "migrate", "deploy"], "prisma/migrations"),
        ('engine = "prisma"', ["npx", "--no-install", "prisma", "migrate", "deploy"], "prisma/migrations"),
        ('engine = "alembic"', ["alembic", "upgrade", "head"], "alembic/versions"),
        ('engine = "drizzle"', ["npx", "--no-install", "drizzle-kit", "migrate"], "drizzle"),
        ('engine = "command"\ncommand = ["rake", "db:migrate"]', ["rake", "db:migrate"], None),
        ('engine = "alembic"\ndirectory = "m"\ncommand = ["alembic"]', ["alembic"], "m"),
    ],
)
def test_each_migration_engine_has_its_own_defaults(engine: str, command: list[str], directory: str | None) -> None:
    migration = settings_with(f"\n[migration]\n{engine}\n").migration
    assert (migration.command, migration.directory) == (command, directory)
    assert migration.table == ("drizzle.__drizzle_migrations" if "drizzle" in engine else None)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ('engine = "liquibase"', "'prisma', 'alembic', 'drizzle' or 'command'"),
        ('engine = "flyway"', 'status = ["flyway", "validate"]'),
        ('engine = "command"', "needs command"),
        ('status = ["x"]', 'status is read with engine = "command" only'),
        ('engine = "alembic"\ntable = "a.b"', 'table is read with engine = "drizzle" only'),
        ('engine = "drizzle"\ntable = "a"', "pattern"),
        ('engine = "alembic"\nimage_directory = "x"', "image_directory is not read"),
        ('command = ["npx", "--yes", "prisma", "migrate", "deploy"]', "'--yes' fetches the tool at deploy time"),
        ('command = ["sh", "-c", "npx -y prisma migrate deploy"]', "'-y' fetches the tool at deploy time"),
        ('command = ["pnpm", "dlx", "prisma", "migrate", "deploy"]', "'dlx' fetches"),
        ('engine = "command"\ncommand = ["a"]\nstatus = ["bunx", "a"]', "'bunx' fetches"),
    ],
)
def test_a_migration_setting_that_cannot_work_is_refused_with_what_would(given: str, said: str) -> None:
    with pytest.raises(Refused) as refusal:
        settings_with(f"\n[migration]\n{given}\n")
    assert said in refusal.value.why
