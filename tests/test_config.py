"""The configuration: valid files, problems of invalid ones, and the token."""

import re
import stat
from pathlib import Path

import msgspec.inspect as shapes
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from airy import components, config_file
from airy.components import CommunicationSection
from airy.config import Config
from airy.config_document import InvalidConfig, parse
from airy.config_file import load
from airy.config_reader import ConfigReader
from airy.config_secrets import secret_values
from airy.errors import Refused
from airy.flat_components import nest_components
from airy.secret import MASK, TOKEN_CHARS_MIN, Secret
from airy.sources.facebook.spec import FacebookSection
from airy.sources.telegram.spec import TelegramSection
from airy.token_file import TOKEN_FILE, system_token

TOKEN = "a-token-of-some-length"
ROOT = Path(__file__).parents[1]


def written(directory: Path, text: str) -> Path:
    path = directory / "airy.yaml"
    path.write_text(text)
    return path


def problems(directory: Path, text: str, env: dict[str, str] | None = None) -> list[str]:
    """The problems of `text`, without the file's name."""
    path = written(directory, text)
    with pytest.raises(InvalidConfig) as caught:
        load(path, env or {})
    return [str(problem).removeprefix(str(path)) for problem in caught.value.problems]


def test_no_file_and_an_empty_file_are_the_defaults(tmp_path: Path) -> None:
    assert load(None, {}) == load(written(tmp_path, "# nothing\n"), {}) == Config()


def test_values_are_read_with_their_types(tmp_path: Path) -> None:
    text = """
    http: {port: 0x50, allowedOrigins: "https://a.example, https://b.example"}
    security: {systemToken: env:TOKEN, webhooks: {ports: [443, 8443]}}
    log: {level: debug}
    components:
      sources: {facebook: {appId: 0123, appSecret: [new, old], webhookSecret: word}}
      api: {communication: {messageTtlS: 30}}
    """

    loaded = load(written(tmp_path, text), {"TOKEN": TOKEN})

    assert loaded.http.port == 80
    assert loaded.http.allowed_origins == ("https://a.example", "https://b.example")
    assert loaded.security.system_token == Secret(TOKEN)
    assert loaded.security.webhooks.ports == (443, 8443)
    facebook = loaded.section(FacebookSection)
    assert facebook.app_id == "0123"  # as written
    assert [secret.reveal() for secret in facebook.app_secret] == ["new", "old"]
    assert loaded.section(CommunicationSection).message_ttl_s == 30.0


def test_a_single_secret_is_accepted_for_a_list(tmp_path: Path) -> None:
    text = "components: {sources: {facebook: {appId: x, appSecret: only, webhookSecret: w}}}"

    assert load(written(tmp_path, text), {}).section(FacebookSection).app_secret == (Secret("only"),)


def test_every_problem_is_reported_at_once_with_its_line(tmp_path: Path) -> None:
    text = """\
http:
  prt: 80
  port: 99999
security:
  open: maybe
  webhooks: [1]
log:
  level: infos
"""
    assert problems(tmp_path, text) == [
        ":2: http.prt: unknown key; did you mean port?",
        ":3: http.port: expected a whole number from 0 to 65535, found the number 99999",
        ":5: security.open: expected true or false, found text 'maybe'",
        ":6: security.webhooks: expected keys and values, found a list",
        ":8: log.level: expected one of debug, error, info, warning; found text 'infos'; did you mean info?",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("http:\n  port: 1\n  port: 2\n", ":3: http.port: is given twice, first on line 2"),
        ("http: {port: 1.5}", ":1: http.port: expected a whole number from 0 to 65535, found the number 1.5"),
        ("http: {port: yes}", ":1: http.port: expected a whole number from 0 to 65535, found text 'yes'"),
        ("http: {port: }", ":1: http.port: expected a whole number from 0 to 65535, found nothing"),
        ("http: {host: true}", ":1: http.host: expected text, found true"),
        ("http: {inFlightMax: 0}", ":1: http.inFlightMax: expected a whole number of at least 1, found the number 0"),
        (
            "components: {webhook: {consumer: {timeoutS: .inf}}}",
            ":1: components.webhook.consumer.timeoutS: expected a number from 0.001 to 604800, found text '.inf'",
        ),
        (
            "components: {sources: {faceboook: {}}}",
            ":1: components.sources.faceboook: unknown key; did you mean facebook?",
        ),
        ("http: [1, 2", ":1: not YAML: expected ',' or ']', but got '<stream end>'"),
        ("a: 1\n---\nb: 2\n", ":2: not YAML: but found another document"),
        ("[1]: 2\n", ":1: ?: expected a scalar key, found a list"),
        ("security: {systemToken: short}", ":1: security.systemToken: expected at least 16 characters, found 5"),
        ("security: {systemToken: env:NOPE}", ":1: security.systemToken: environment variable NOPE is not set"),
        (
            "security: {systemToken: ''}",
            ":1: security.systemToken: expected a secret (text, env:NAME or file:PATH), found empty text",
        ),
        (
            "components: {sources: {facebook: {enabled: false, graphUrl: graph.example}}}",
            ":1: components.sources.facebook.graphUrl: expected an http(s):// address, found text 'graph.example'",
        ),
        ("security: {tokenRoles: {crm: agent}}", ":1: security.tokenRoles.crm: there is no token 'crm'"),
        (
            f"security: {{tokens: {{crm: {TOKEN}}}, tokenRoles: {{crm: agnt}}}}",
            ":1: security.tokenRoles.crm: expected one of admin, agent, analyst; found text 'agnt'",
        ),
        ("security: {jwtSecret: c2hvcnQ=}", ":1: security.jwtSecret: expected base64 of at least 32 bytes, found 5"),
        ("kubernetes: {host: x}", "where to listen is `http.host`"),
        ("components: {integration: {webhook: {}}}", "write `webhook: {publisher: …, consumer: …}`"),
        (f"http: {{port: {'9' * 5000}}}", ":1: http.port: expected a whole number from 0 to 65535"),
    ],
)
def test_a_problem_says_what_was_expected_and_what_was_found(tmp_path: Path, text: str, message: str) -> None:
    found = problems(tmp_path, text)

    assert len(found) == 1
    assert message in found[0]


def test_an_enabled_component_needs_its_keys_and_a_disabled_one_does_not(tmp_path: Path) -> None:
    missing = problems(tmp_path, "components:\n  sources:\n    facebook:\n      appId: x\n")

    assert [line.partition(": is needed")[0] for line in missing] == [
        ":3: components.sources.facebook.appSecret",
        ":3: components.sources.facebook.webhookSecret",
    ]
    off = written(tmp_path, "components: {sources: {facebook: {enabled: false, appId: x}}}")
    assert not load(off, {}).section(FacebookSection).enabled


def test_a_missing_section_is_disabled_and_a_present_one_enabled(tmp_path: Path) -> None:
    named = "components: {sources: {facebook: {appId: x, appSecret: s, webhookSecret: w}}}"

    assert not Config().section(FacebookSection).enabled
    assert load(written(tmp_path, named), {}).section(FacebookSection).enabled


def test_open_and_a_token_exclude_each_other(tmp_path: Path) -> None:
    found = problems(tmp_path, f"security:\n  open: true\n  systemToken: {TOKEN}\n")

    assert found[0].startswith(":2: security.open: disables authentication")


def test_the_environment_wins_and_its_problems_name_the_variable(tmp_path: Path) -> None:
    path = written(tmp_path, "http: {port: 1}")

    assert load(path, {"AIRY_PORT": "8081", "AIRY_DATA": "/srv"}).http.port == 8081
    assert load(path, {"AIRY_PORT": "8081", "AIRY_DATA": "/srv"}).data.directory == "/srv"
    assert load(path, {"AIRY_PORT": ""}).http.port == 1
    with pytest.raises(InvalidConfig, match=r"environment variable AIRY_PORT: http\.port: expected a whole number"):
        load(path, {"AIRY_PORT": "http"})


def test_a_secret_comes_from_a_file_without_its_line_break(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN + "\n")
    path = written(tmp_path, f"security: {{systemToken: 'file:{tmp_path}/token'}}")

    assert load(path, {}).security.system_token == Secret(TOKEN)
    (tmp_path / "token").unlink()
    with pytest.raises(InvalidConfig, match=r"cannot read .*: No such file"):
        load(path, {})


@pytest.mark.parametrize(
    "text",
    [
        "security: {tokens: hunter2hunter2hunter2}",
        "security: {systemToken: [hunter2]}",
        "security: hunter2",
        "security: {systemTokens: hunter2}",
        "security: {systemToken: hunter2}",
    ],
)
def test_no_problem_repeats_a_secret(tmp_path: Path, text: str) -> None:
    assert "hunter2" not in "".join(problems(tmp_path, text))


def test_a_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match="cannot read it: No such file"):
        load(tmp_path / "none.yaml", {})
    (tmp_path / "latin").write_bytes(b"http:\n  host: caf\xe9\n")
    with pytest.raises(InvalidConfig, match="latin:2: expected UTF-8"):
        load(tmp_path / "latin", {})


def test_yaml_aliases_cannot_loop_or_explode(tmp_path: Path) -> None:
    assert problems(tmp_path, "http: &a {port: *a}")
    bomb = "k0: &k0 [x]\n" + "".join(f"k{n}: &k{n} [{', '.join([f'*k{n - 1}'] * 10)}]\n" for n in range(1, 13))
    assert len(problems(tmp_path, bomb)) == 13  # one unknown key per line


LOGIN = {
    "provider": "acme",
    "issuer": "https://login.example.org",
    "clientId": "airy",
    "clientSecret": "a-client-secret",
    "allowedEmailPatterns": "ada@example.org, *@example.org",
}


def login_problems(directory: Path, public_url: str | None = "https://inbox.example.org", **changes: object) -> str:
    oidc = {key: value for key, value in {**LOGIN, **changes}.items() if value is not None}
    http = {"publicUrl": public_url} if public_url else {}
    text = yaml.safe_dump({"http": http, "security": {"oidc": oidc}})
    return "\n".join(problems(directory, text))


@pytest.mark.parametrize("key", LOGIN)
def test_half_configured_logins_are_refused_with_the_missing_key(key: str, tmp_path: Path) -> None:
    assert f":4: security.oidc.{key}: is required for logins" in login_problems(tmp_path, **{key: None})


def test_logins_need_the_public_url_and_https(tmp_path: Path) -> None:
    assert "http.publicUrl: is required for logins" in login_problems(tmp_path, None)
    assert "http.publicUrl: expected https://" in login_problems(tmp_path, "http://inbox.example.org")
    assert "oidc.issuer: expected https://" in login_problems(tmp_path, issuer="http://login.example.org")
    local = {"security": {"oidc": {**LOGIN, "issuer": "http://127.0.0.1:1"}}, "http": {"publicUrl": "http://localhost"}}
    assert load(written(tmp_path, yaml.safe_dump(local)), {}).security.oidc.provider == "acme"
    github = {"security": {"oidc": {**LOGIN, "provider": "github"}}, "http": {"publicUrl": "https://x.example"}}
    del github["security"]["oidc"]["issuer"]  # type: ignore[attr-defined]
    assert load(written(tmp_path, yaml.safe_dump(github)), {}).security.oidc.issuer is None


@pytest.mark.parametrize("pattern", ["*", "*@*", "*@*.example.org", "ada*@example.org", "ada@", "@example.org", "*@x"])
def test_a_pattern_of_addresses_that_could_match_too_much_is_refused(pattern: str, tmp_path: Path) -> None:
    assert "security.oidc.allowedEmailPatterns: expected an address, or *@ and a domain" in login_problems(
        tmp_path, allowedEmailPatterns=[pattern]
    )


@pytest.mark.parametrize(
    "origin", ["*", "https://*.example.org", "https://a.example/inbox", "a.example", "HTTPS://a.example"]
)
def test_an_allowed_origin_that_no_browser_sends_is_refused(origin: str, tmp_path: Path) -> None:
    for origins in (["https://b.example/", origin], f"https://b.example:8443, {origin}"):
        (problem,) = problems(tmp_path, yaml.safe_dump({"http": {"allowedOrigins": origins}}))
        assert "http.allowedOrigins: expected an origin" in problem


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
SOME_KEYS = """
http port host security open tokens systemToken webhooks ports components sources facebook sources-facebook appSecret
enabled webhook consumer webhook-consumer timeoutS log level x
"""
KEYS = st.sampled_from(SOME_KEYS.split())
DOCUMENTS = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS | SCALARS, inner, max_size=5),
    max_leaves=12,
)


@given(DOCUMENTS.map(yaml.safe_dump) | st.text(max_size=100))
def test_any_text_is_read_or_refused(text: str) -> None:
    """No content of a file raises another error."""
    try:
        node = parse(text, "x")
    except InvalidConfig:
        return
    reader = ConfigReader("x", {})
    warnings = list(nest_components(node, reader, components.ALL)) if node is not None else []
    value = reader.read(node, shapes.type_info(Config), "") if node is not None else Config()
    assert isinstance(value, Config) or reader.problems
    assert all(warning.partition(":")[0].isdigit() for warning in warnings)


def test_secrets_are_masked_in_every_repr(tmp_path: Path) -> None:
    text = f"security: {{systemToken: {TOKEN}, tokens: {{crm: {TOKEN}-2}}}}"
    loaded = load(written(tmp_path, text), {})

    assert TOKEN not in f"{loaded!r} {loaded} {loaded.security.system_token}"
    assert MASK in repr(loaded)
    assert secret_values(loaded) == [TOKEN, f"{TOKEN}-2"]


def test_the_token_is_generated_once_and_private(tmp_path: Path) -> None:
    here = load(None, {"AIRY_DATA": str(tmp_path / "data")})

    first, second = system_token(here), system_token(here)

    assert first is not None
    assert first == second
    assert len(first.reveal()) >= TOKEN_CHARS_MIN
    file = tmp_path / "data" / TOKEN_FILE
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in file.parent.iterdir()] == [TOKEN_FILE]


def test_a_token_file_others_can_read_is_refused(tmp_path: Path) -> None:
    here = load(None, {"AIRY_DATA": str(tmp_path)})
    system_token(here)
    (tmp_path / TOKEN_FILE).chmod(0o644)

    with pytest.raises(Refused, match="chmod 600"):
        system_token(here)


def test_of_two_racing_processes_one_creates_the_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other process, which finds the file at its link, uses that token."""
    here = load(None, {"AIRY_DATA": str(tmp_path)})
    link = Path.hardlink_to

    def overtaken(self: Path, target: Path) -> None:
        self.write_text(TOKEN)
        self.chmod(0o600)
        link(self, target)

    monkeypatch.setattr(Path, "hardlink_to", overtaken)

    assert system_token(here) == Secret(TOKEN)
    assert [path.name for path in tmp_path.iterdir()] == [TOKEN_FILE]


def test_a_configured_token_wins_and_open_has_none(tmp_path: Path) -> None:
    configured = load(None, {"AIRY_SYSTEM_TOKEN": TOKEN, "AIRY_DATA": str(tmp_path)})
    opened = load(written(tmp_path, "security: {open: true}"), {"AIRY_DATA": str(tmp_path)})

    assert system_token(configured) == Secret(TOKEN)
    assert system_token(opened) is None
    assert not (tmp_path / TOKEN_FILE).exists()


def key_paths(shape: shapes.Type, path: str = "") -> list[str]:
    """Every leaf of the schema."""
    if isinstance(shape, shapes.StructType):
        return [leaf for f in shape.fields for leaf in key_paths(f.type, f"{path}.{f.encode_name}".lstrip("."))]
    return [path]


def uncommented(text: str, keys: set[str]) -> str:
    """The reference with every commented key switched on."""

    def on(line: re.Match[str]) -> str:
        return f"{line['indent']}{line['key']}: {line['value']}" if line["key"] in keys else line[0]

    return re.sub(r"^(?P<indent> *)# (?P<key>[A-Za-z-]+): (?P<value>.*)$", on, text, flags=re.MULTILINE)


def test_the_reference_file_shows_every_key_with_its_default(tmp_path: Path) -> None:
    """Uncommenting everything in airy.yaml names each key of the schema and changes nothing."""
    paths = key_paths(shapes.type_info(Config))
    text = uncommented((ROOT / "airy.yaml").read_text(), {path.rpartition(".")[2] for path in paths})

    shown = yaml.safe_load(text)
    for path in paths:
        inner = shown
        for key in path.split("."):
            assert inner is not None and key in inner, f"{path} is not in airy.yaml"
            inner = inner[key]
    assert load(written(tmp_path, text), {}) == load(ROOT / "airy.yaml", {}) == Config()


def test_the_reference_file_names_every_environment_variable() -> None:
    text = (ROOT / "airy.yaml").read_text()

    assert [name for name in config_file.OVERRIDES if name not in text] == []


def test_a_source_that_needs_its_public_address_is_refused_without_one(tmp_path: Path) -> None:
    text = "components: {sources: {telegram: {}}}"
    (problem,) = problems(tmp_path, text)

    assert "http.publicUrl: is required while components.sources.telegram is enabled" in problem
    named = written(tmp_path, "http: {publicUrl: https://airy.example.com}\n" + text)
    assert load(named, {}).section(TelegramSection).enabled


@pytest.mark.parametrize(
    "url", ["https://a.example:port", "https://a.example:0", "https://a.example/x?y=1", "https://:80"]
)
def test_a_public_address_that_no_path_can_be_appended_to_is_refused(tmp_path: Path, url: str) -> None:
    (problem,) = problems(tmp_path, f'http: {{publicUrl: "{url}"}}')

    assert problem.startswith(":1: http.publicUrl: expected the address that paths are appended to")


@pytest.mark.parametrize("url", ["https://a.example", "https://a.example:8443/", "http://[::1]:80/airy"])
def test_a_public_address_may_have_a_port_and_a_path(tmp_path: Path, url: str) -> None:
    assert load(written(tmp_path, f'http: {{publicUrl: "{url}"}}'), {}).http.public_url == url


def test_the_environment_can_choose_the_servers_of_a_cluster() -> None:
    loaded = load(None, {"AIRY_KAFKA": "one:9092, two:9092", "AIRY_REDIS": "redis://:canary@cache:6379/0"})

    assert (loaded.bus.kind, loaded.bus.kafka.bootstrap) == ("kafka", ("one:9092", "two:9092"))
    assert loaded.queue.kind == "redis"
    assert loaded.queue.redis.url is not None
    assert loaded.queue.redis.url.reveal() == "redis://:canary@cache:6379/0"
    assert "canary" not in repr(loaded)


@pytest.mark.parametrize(
    ("url", "secrets"),
    [
        ("rediss://airy:p%40ss%2Fword@cache:6379/0", ["p%40ss%2Fword", "p@ss/word"]),
        ("redis://:canary@[::1]:6379", ["canary", "canary"]),
        ("redis://cache/0", []),
    ],
)
def test_the_password_of_an_address_is_a_secret_however_it_is_spelt(url: str, secrets: list[str]) -> None:
    assert secret_values(load(None, {"AIRY_REDIS": url})) == [url, *secrets]


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("bus: {kind: kafka}", "bus.kafka.bootstrap"),
        ("bus: {kafka: {replication: 1}}", "bus.kafka.minInSync"),
        ("bus: {kafka: {sasl: PLAIN, username: airy}}", "bus.kafka.sasl"),
        ("bus: {kafka: {certFile: ours.pem}}", "bus.kafka.certFile"),
        ("bus: {kafka: {namespace: 'two words'}}", "bus.kafka.namespace"),
        ("queue: {kind: redis}", "queue.redis.url"),
        ("queue: {redis: {url: 'http://cache:6379'}}", "queue.redis.url"),
        ("queue: {redis: {url: 'redis://airy:sl/ash@cache'}}", "queue.redis.url"),
        ("queue: {redis: {url: 'redis://cache', caFile: ca.pem}}", "queue.redis.url"),
        ("queue: {redis: {url: 'rediss://cache', certFile: ours.pem}}", "queue.redis.certFile"),
        ("queue: {redis: {cluster: true, sentinels: 'one:26379'}}", "queue.redis.sentinels"),
    ],
)
def test_unusable_server_settings_are_reported_by_key(tmp_path: Path, text: str, key: str) -> None:
    (problem,) = problems(tmp_path, text)

    assert key in problem
    assert "sl/ash" not in problem


SECRET = "hunter2hunter2hunter2"


@pytest.mark.parametrize("outer", ["\n", "\r\n", "\n\n", " ", "\ufeff", "\t \u00a0"])
@pytest.mark.parametrize("form", ["'{}'", "env:TOKEN", "${{TOKEN}}", "file:{file}"])
def test_outer_white_space_of_a_secret_does_not_count_wherever_it_comes_from(
    tmp_path: Path, outer: str, form: str
) -> None:
    text = f"{outer}{SECRET}{outer}"
    (tmp_path / "token").write_bytes(text.encode())
    value = form.format(text.replace("\n", "\n\n"), file=tmp_path / "token") if "{" in form else form
    path = tmp_path / "airy.yaml"
    path.write_bytes(f"security:\n  systemToken: {value}\n".encode())

    assert load(path, {"TOKEN": text}).security.system_token == Secret(SECRET)


def test_outer_white_space_of_variables_does_not_count_in_any_setting(tmp_path: Path) -> None:
    """A mounted secret and `echo` end with a line break."""
    path = written(tmp_path, "http: {port: '${PORT}'}\nsecurity: {open: '${OPEN}'}\nbus: {kind: '${KIND}'}")
    env = {"PORT": "8081\n", "OPEN": "true \n", "KIND": "memory\r\n", "AIRY_LOG_LEVEL": "debug\n"}

    loaded = load(path, env)

    assert (loaded.http.port, loaded.security.open, loaded.bus.kind) == (8081, True, "memory")
    assert loaded.log.level == "debug"


@pytest.mark.parametrize(
    ("inner", "name"),
    [("\0", "NUL"), ("\n", "a line break"), ("\r", "a line break"), ("\x7f", "U+007F"), ("\u200b", "U+200B")],
)
@pytest.mark.parametrize("form", ['"hunter2{escaped}hunter2hunter2"', "env:TOKEN", "file:{file}"])
def test_an_invisible_character_in_a_secret_is_named_and_the_secret_is_not_shown(
    tmp_path: Path, inner: str, name: str, form: str
) -> None:
    (tmp_path / "token").write_bytes(f"hunter2{inner}hunter2hunter2".encode())
    value = form.format(escaped=f"\\u{ord(inner):04x}", file=tmp_path / "token")
    env = {"TOKEN": f"hunter2{inner}hunter2hunter2"}

    (problem,) = problems(tmp_path, f"security:\n  systemToken: {value}\n", env)

    assert problem.startswith(f":2: security.systemToken: contains {name} at character 8: ")
    assert "hunter2" not in problem


def test_a_variable_is_resolved_in_text_numbers_lists_and_addresses(tmp_path: Path) -> None:
    text = """
    http: {port: "${PORT}", publicUrl: "https://${HOST}/${BASE:-}", allowedOrigins: "${ORIGINS}"}
    security: {open: "${OPEN:-true}", keyFile: "file:${CREDENTIALS}/path"}
    bus: {kind: kafka, kafka: {bootstrap: "${BROKERS}", username: env:KAFKA_USER, password: "${KAFKA_PASSWORD}"}}
    queue: {redis: {url: "redis://:${REDIS_PASSWORD}@cache:6379/0", caFile: "${CA:-}"}}
    """
    (tmp_path / "path").write_text("/etc/airy/key\n")
    env = {
        "PORT": "8081",
        "HOST": "inbox.example.org",
        "ORIGINS": "https://a.example, https://b.example",
        "CREDENTIALS": str(tmp_path),
        "BROKERS": "one:9092,two:9092",
        "KAFKA_USER": "true",
        "KAFKA_PASSWORD": "${NOT} $A {{reference}}",
        "REDIS_PASSWORD": "canary",
    }

    loaded = load(written(tmp_path, text), env)

    assert (loaded.http.port, loaded.http.public_url) == (8081, "https://inbox.example.org/")
    assert loaded.http.allowed_origins == ("https://a.example", "https://b.example")
    assert (loaded.security.open, loaded.security.key_file) == (True, "/etc/airy/key")
    kafka, redis = loaded.bus.kafka, loaded.queue.redis
    assert (kafka.bootstrap, kafka.username) == (("one:9092", "two:9092"), "true")
    assert kafka.password == Secret("${NOT} $A {{reference}}")  # what a reference stands for is taken as it is
    assert redis.url == Secret("redis://:canary@cache:6379/0")
    assert redis.ca_file is None


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("${NOPE}", "environment variable NOPE is not set"),
        ("${EMPTY}", "environment variable EMPTY is empty"),
        ("env:NOPE", "environment variable NOPE is not set"),
        ("file:/nowhere/at/all", "cannot read /nowhere/at/all: No such file or directory"),
        *((text, "looks like a reference: write ${NAME}") for text in ("$NAME", "$(NAME)", "{{ .Values.x }}")),
        *((text, "looks like a reference: write ${NAME}") for text in ("${NAME", "${NAME:?}", "a${}b")),
        *((text, "looks like a reference: write ${NAME}") for text in ("$(cat /run/key)", "`cat /run/key`", "%NAME%")),
        ("!env NAME", "has an unknown tag: quote text that begins with !, write ${NAME}"),
    ],
)
@pytest.mark.parametrize("key", ["username", "password"])
def test_what_looks_like_a_reference_is_resolved_or_refused(tmp_path: Path, key: str, value: str, message: str) -> None:
    written_value = value if value.startswith("!") else f"'{value}'"
    (problem,) = problems(tmp_path, f"bus: {{kafka: {{{key}: {written_value}}}}}", {"EMPTY": ""})

    assert problem.startswith(f":1: bus.kafka.{key}: {message}")


def test_a_reference_of_another_form_in_an_address_is_refused(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, "queue: {redis: {url: 'redis://:$PASSWORD@cache:6379'}}")

    assert problem.startswith(":1: queue.redis.url: looks like a reference")


@pytest.mark.parametrize("password", ["pa$$word", "pa$Word", "{x}", "$1abc", "env", "a:b", "50%"])
def test_a_password_that_is_no_reference_is_taken_as_written(tmp_path: Path, password: str) -> None:
    text = f"bus: {{kafka: {{password: '{password}'}}}}"

    assert load(written(tmp_path, text), {}).bus.kafka.password == Secret(password)


def test_the_value_of_a_variable_is_in_no_problem(tmp_path: Path) -> None:
    text = "http: {port: '${TOKEN}', publicUrl: 'env:TOKEN'}\nlog: {level: '${TOKEN}'}"

    found = "".join(problems(tmp_path, text, {"TOKEN": SECRET}))

    assert found.count("found what") == 3
    assert "hunter2" not in found


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (b"\n" + b"[" * 2_000, ":2: not YAML: it nests deeper than 32 levels"),
        (b"[" * 1_000_000, ":1: not YAML: it nests deeper than 32 levels"),
        (b"{a: " * 2_000 + b"}" * 2_000, ":1: not YAML: it nests deeper than 32 levels"),
        (b"- " * 2_000, ":1: not YAML: it nests deeper than 32 levels"),
        (b"".join(b" " * n + b"a:\n" for n in range(400)), ":32: not YAML: it nests deeper than 32 levels"),
        (b'http:\n  host: "\\Uffffffff"', ":2: not YAML: it has an escape that is no character"),
        (b"http:\n  host: a\0b", ":2: not YAML: 0x0000 is not a character of UTF-8 text"),
        (b'http:\n  host: "a\\0b"', ":2: http.host: contains NUL at character 2"),
        (b'"a\\ud800": 1', ":1: a\\ud800: the key contains U+D800 at character 2"),
        (b"http:\n\tport: 1", ":2: not YAML: found character '\\t' that cannot start any token"),
        ("http:\n  port: 1".encode("utf-16"), ":1: expected UTF-8 text, found other bytes"),
        (b"\x7fELF\n\xff\xfe", ":2: expected UTF-8 text, found other bytes"),
        (b"http: &a {port: 1}\nlog: &a {}", ":2: not YAML: an anchor is given twice"),
        (b"security: {systemToken: *hunter2}", ":1: not YAML: an alias is undefined: quote text that begins with *"),
        (b"http: {port: !!int x}", ":1: http.port: expected a whole number from 0 to 65535, found the number x"),
    ],
)
def test_a_document_of_any_kind_has_one_problem_with_a_line(tmp_path: Path, document: bytes, message: str) -> None:
    path = tmp_path / "airy.yaml"
    path.write_bytes(document)

    with pytest.raises(InvalidConfig) as caught:
        load(path, {})

    (problem,) = map(str, caught.value.problems)
    assert problem == f"{path}{message}"
    problem.encode()


def test_a_byte_order_mark_is_no_part_of_the_document(tmp_path: Path) -> None:
    path = tmp_path / "airy.yaml"
    path.write_bytes(b"\xef\xbb\xbfhttp: {port: 1}\r\n")

    assert load(path, {}).http.port == 1
