"""Where conversations go: resolved as LangSmith's own client resolves it."""

from __future__ import annotations

import itertools
import json
import threading
import warnings
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

import pytest

from voicespan.delivery.destination.destination import resolve, traces_url
from voicespan.delivery.destination.privacy import Privacy, is_sampled, sampling_rate, tracing_is_off
from voicespan.delivery.destination.variables import DeliverySettingsError
from voicespan.delivery.spool.settings import SpoolSettings


@pytest.fixture
def profiles(monkeypatch, tmp_path):
    def write(content):
        path = tmp_path / "config.json"
        path.write_text(json.dumps(content))
        monkeypatch.setenv("LANGSMITH_CONFIG_FILE", str(path))

    return write


def langsmith_says(**arguments):
    """What the langsmith package makes of the same environment."""
    import langsmith
    from langsmith import utils
    from langsmith.address import resolve_destination

    utils.get_env_var.cache_clear()
    utils.get_tracer_project.cache_clear()
    client = langsmith.Client(auto_batch_tracing=False, **arguments)
    headers = client._headers
    project, _ = resolve_destination()
    return {
        "url": client.api_url + "/otel/v1/traces",
        "key": headers.get("x-api-key"),
        "workspace": headers.get("X-Tenant-Id"),
        "project": project,
    }


def voicespan_says(**arguments):
    destination = resolve(**arguments)
    headers = destination.request_headers()
    return {
        "url": destination.url,
        "key": headers["x-api-key"].decode(),
        "workspace": headers["X-Tenant-Id"].decode() if "X-Tenant-Id" in headers else None,
        "project": headers["Langsmith-Project"].decode(),
    }


VARIABLES = {
    "LANGSMITH_API_KEY": "key-1",
    "LANGCHAIN_API_KEY": ' "key-2" ',
    "LANGSMITH_ENDPOINT": "https://eu.api.smith.langchain.com/",
    "LANGCHAIN_ENDPOINT": "'https://langsmith.example.com/api/v1'",
    "LANGSMITH_WORKSPACE_ID": "workspace-1",
    "LANGCHAIN_PROJECT": "project-2",
    "LANGSMITH_SESSION": "project-3",
    "HOSTED_LANGSERVE_PROJECT_NAME": "project-4",
}
PROFILE = {
    "current_profile": "work",
    "profiles": {
        "work": {
            "api_key": " key-3 ",
            "api_url": "https://aws.api.smith.langchain.com",
            "workspace_id": "w-3",
        },
        "home": {"api_key_env": "HOME_KEY"},
    },
}


@pytest.mark.parametrize("with_profile", [False, True])
def test_every_combination_of_variables_resolves_as_in_langsmith(monkeypatch, profiles, with_profile):
    if with_profile:
        profiles(PROFILE)
    compared = 0
    for chosen in itertools.chain.from_iterable(
        itertools.combinations(VARIABLES, count) for count in range(len(VARIABLES) + 1)
    ):
        if not with_profile and not {"LANGSMITH_API_KEY", "LANGCHAIN_API_KEY"} & set(chosen):
            continue
        with monkeypatch.context() as environment:
            for name in chosen:
                environment.setenv(name, VARIABLES[name])
            assert voicespan_says() == langsmith_says(), chosen
        compared += 1
    assert compared == (256 if with_profile else 192)


def test_a_profile_is_chosen_by_variable_and_may_name_the_variable_of_its_key(monkeypatch, profiles):
    profiles(PROFILE)
    monkeypatch.setenv("LANGSMITH_PROFILE", "home")
    monkeypatch.setenv("HOME_KEY", "key-4")
    assert voicespan_says() == langsmith_says()
    assert voicespan_says()["key"] == "key-4"


def test_a_profile_without_a_key_that_can_be_read_says_so(monkeypatch, profiles):
    profiles({"profiles": {"default": {"api_key_cmd": "pass show langsmith"}}})
    with pytest.raises(DeliverySettingsError, match="takes its key from a command"):
        resolve()


@pytest.mark.parametrize(
    "written", [{"oauth": ["token"]}, {"api_url": 5, "workspace_id": {}}, {"api_key": 7, "api_key_env": []}]
)
def test_what_is_no_text_in_a_profile_is_not_there(profiles, written):
    profiles({"profiles": {"default": written}})
    with pytest.raises(DeliverySettingsError):
        resolve()
    destination = resolve(api_key="k")
    assert (destination.url, destination.workspace) == (resolve(api_key="k", endpoint="").url, None)


def test_a_profile_login_signs_with_its_token(profiles):
    profiles(
        {
            "profiles": {
                "default": {"oauth": {"access_token": "token-1", "expires_at": "2999-01-01T00:00:00Z"}}
            }
        }
    )
    assert resolve().request_headers()["Authorization"] == b"Bearer token-1"


class _Accounts(BaseHTTPRequestHandler):
    """Hands out a new token for the refresh token that it knows."""

    def do_POST(self):
        asked = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.server.asked.append(asked)
        self._answer({"access_token": "token-2", "refresh_token": "refresh-2", "expires_in": 3600})

    def do_GET(self):
        self.server.signed.append(self.headers["Authorization"])
        self._answer({"version": "0"} if self.path.endswith("/info") else None)

    def _answer(self, document):
        body = b"" if document is None else json.dumps(document).encode()
        self.send_response(404 if document is None else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def accounts():
    with ThreadingHTTPServer(("127.0.0.1", 0), _Accounts) as server:
        server.asked, server.signed = [], []
        serving = threading.Thread(target=server.serve_forever, args=(0.01,))
        serving.start()
        yield server
        server.shutdown()
        serving.join()


@pytest.mark.parametrize("expires_at", ["2020-01-01T00:00:00Z", "2020-01-01T00:00:00+02:00"])
def test_a_profile_login_that_has_expired_is_refreshed_once_by_langsmiths_client(
    profiles, accounts, tmp_path, expires_at
):
    url = f"http://127.0.0.1:{accounts.server_port}"
    login = {"access_token": "token-1", "refresh_token": "refresh-1", "expires_at": expires_at}
    profiles({"profiles": {"default": {"api_url": url, "oauth": login}}})
    destination = resolve()
    assert destination.request_headers()["Authorization"] == b"Bearer token-2"
    assert [parse_qs(each)["refresh_token"] for each in accounts.asked] == [["refresh-1"]]
    # The file has it for everybody else, and for the next request.
    kept = json.loads((tmp_path / "config.json").read_text())["profiles"]["default"]["oauth"]
    assert (kept["access_token"], kept["refresh_token"]) == ("token-2", "refresh-2")
    assert destination.request_headers()["Authorization"] == b"Bearer token-2"
    assert len(accounts.asked) == 1


def test_a_login_that_somebody_else_refreshed_is_taken_from_the_file(profiles):
    login = {"access_token": "token-1", "refresh_token": "refresh-1", "expires_at": "2999-01-01T00:00:00Z"}
    profiles({"profiles": {"default": {"oauth": login}}})
    destination = resolve()
    profiles({"profiles": {"default": {"oauth": {**login, "access_token": "token-2"}}}})
    assert destination.request_headers()["Authorization"] == b"Bearer token-2"


def test_arguments_come_before_the_environment(monkeypatch):
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    destination = resolve(
        api_key="key-9",
        endpoint="https://h.example/api/v1",
        project="mine",
        workspace="w-9",
        headers={"X-More": "1"},
    )
    assert destination.url == "https://h.example/api/v1/otel/v1/traces"
    assert destination.request_headers() == {
        "Langsmith-Project": b"mine",
        "X-Tenant-Id": b"w-9",
        "X-More": b"1",
        "x-api-key": b"key-9",
    }


@pytest.mark.parametrize(
    ("api", "url"),
    [
        (None, "https://api.smith.langchain.com/otel/v1/traces"),
        ("https://apac.api.smith.langchain.com", "https://apac.api.smith.langchain.com/otel/v1/traces"),
        ("https://host/api/v1/", "https://host/api/v1/otel/v1/traces"),
        ("https://api.smith.langchain.com/otel", "https://api.smith.langchain.com/otel/v1/traces"),
        ("https://api.smith.langchain.com/otel/v1/traces", "https://api.smith.langchain.com/otel/v1/traces"),
    ],
)
def test_the_traces_path_stands_once(api, url):
    assert traces_url(api) == url


def test_without_key_and_endpoint_the_error_tells_what_to_do():
    with pytest.raises(DeliverySettingsError, match="set LANGSMITH_API_KEY"):
        resolve()
    with pytest.raises(DeliverySettingsError, match="set LANGSMITH_API_KEY"):
        resolve(api_key="  ")


def test_an_installation_of_ones_own_may_need_no_key():
    assert resolve(endpoint="http://localhost:1984").request_headers() == {"Langsmith-Project": b"default"}


def test_a_key_in_the_headers_is_a_key():
    destination = resolve(headers={"X-API-Key": "key-5"})
    assert destination.request_headers()["X-API-Key"] == b"key-5"
    assert "key-5" not in repr(destination)


def test_a_collector_gets_no_key(monkeypatch):
    monkeypatch.setenv("VOICESPAN_ENDPOINT", "http://collector:4318/v1/traces")
    monkeypatch.setenv("LANGSMITH_API_KEY", "key-1")
    monkeypatch.setenv("LANGSMITH_PROJECT", "project-1")
    destination = resolve()
    assert destination.url == "http://collector:4318/v1/traces"
    assert destination.through_collector
    assert destination.request_headers() == {}


def test_a_key_does_not_go_over_plain_http(monkeypatch):
    with pytest.raises(DeliverySettingsError, match="plain HTTP"):
        resolve(api_key="k", endpoint="http://langsmith.internal/api/v1")
    for loopback in ("http://localhost:1", "http://127.0.0.2:1", "http://[::1]:1"):
        assert resolve(api_key="k", endpoint=loopback).url.startswith(loopback)
    monkeypatch.setenv("VOICESPAN_ALLOW_HTTP", "1")
    assert resolve(api_key="k", endpoint="http://langsmith.internal/api/v1")


@pytest.mark.parametrize("url", ["ftp://x", "api.smith.langchain.com", "https://user:secret@host"])
def test_urls_that_are_none_are_refused_without_repeating_a_password(url):
    with pytest.raises(DeliverySettingsError) as caught:
        resolve(api_key="k", endpoint=url)
    assert "secret" not in str(caught.value)


def test_an_agents_environment_is_addressed_instead_of_a_project(monkeypatch):
    monkeypatch.setenv("LANGSMITH_API_KEY", "k")
    monkeypatch.setenv("LANGSMITH_AGENT_ID", "support")
    with pytest.raises(DeliverySettingsError, match="go together"):
        resolve()
    monkeypatch.setenv("LANGSMITH_AGENT_ENVIRONMENT", "Production")
    headers = resolve().request_headers()
    assert (headers["Langsmith-Agent-Id"], headers["Langsmith-Agent-Environment"]) == (
        b"support",
        b"production",
    )
    assert "Langsmith-Project" not in headers
    assert resolve(project="mine").request_headers()["Langsmith-Project"] == b"mine"
    monkeypatch.setenv("LANGSMITH_PROJECT", "p")
    with pytest.raises(DeliverySettingsError, match="one or the other"):
        resolve()


def test_a_project_may_have_any_name_but_no_line_break():
    assert resolve(api_key="k", project="通話").request_headers()["Langsmith-Project"] == "通話".encode()
    with pytest.raises(DeliverySettingsError, match="line break"):
        resolve(api_key="k", project="a\nX-Evil: 1")


def test_a_folder_knows_its_destination_again_without_knowing_the_key():
    mine = resolve(api_key="key-1", project="p", workspace="w")
    named = mine.named(b"salt")
    assert "key-1" not in json.dumps(named)
    assert mine.is_named(named)
    assert not resolve(api_key="key-2", project="p", workspace="w").is_named(named)
    assert resolve(api_key="key-2", project="p", workspace="w").is_named(named, new_key=True)
    assert not resolve(api_key="key-1", project="q", workspace="w").is_named(named)
    assert not resolve(api_key="key-1", project="p").is_named(named, new_key=True)
    assert not mine.is_named({})


@pytest.mark.parametrize(
    ("value", "off"),
    [("false", True), ("False", True), ("0", True), ("true", False), ("", False), (None, False)],
)
def test_langsmith_tracing_switches_off(value, off):
    assert tracing_is_off({} if value is None else {"LANGSMITH_TRACING": value}) is off
    assert tracing_is_off({} if value is None else {"LANGCHAIN_TRACING_V2": value}) is off


def test_sampling_decides_as_langsmith_does(monkeypatch):
    from langsmith._internal._sampling import is_sampled_by_id

    ids = [f"00000000-0000-0000-0000-{number:012x}" for number in range(500)]
    for rate in (None, 0.0, 0.2, 0.5, 1.0):
        assert [is_sampled(each, rate) for each in ids] == [is_sampled_by_id(each, rate) for each in ids]
    assert sampling_rate({"LANGSMITH_TRACING_SAMPLING_RATE": "0.25"}) == 0.25
    for wrong in ("2", "half"):
        with pytest.raises(DeliverySettingsError):
            sampling_rate({"LANGCHAIN_TRACING_SAMPLING_RATE": wrong})


def test_hiding_is_read_from_langsmiths_variables():
    assert Privacy.from_environment({"LANGSMITH_HIDE_INPUTS": "true"}) == Privacy(hide_inputs=True)
    assert Privacy.from_environment({"LANGCHAIN_HIDE_OUTPUTS": "true"}).hide_recording
    assert Privacy.from_environment({"LANGSMITH_HIDE_METADATA": "true"}) == Privacy(hide_metadata=True)
    assert Privacy.from_environment({}) == Privacy()


def test_the_spool_stands_in_the_users_state_folder(tmp_path):
    spool = SpoolSettings.from_environment({"XDG_STATE_HOME": str(tmp_path)})
    assert spool.folder == (tmp_path / "voicespan" / "spool").resolve()
    assert (spool.max_bytes, spool.shutdown_timeout) == (2 << 30, 30.0)
    spool = SpoolSettings.from_environment(
        {
            "VOICESPAN_SPOOL_DIR": str(tmp_path),
            "VOICESPAN_SPOOL_MAX_BYTES": "1000",
            "VOICESPAN_SHUTDOWN_TIMEOUT": "x",
        }
    )
    assert (spool.folder, spool.max_bytes, spool.shutdown_timeout) == (tmp_path.resolve(), 1000, 30.0)
    assert (
        SpoolSettings.from_environment({}, folder=tmp_path / "mine").folder == (tmp_path / "mine").resolve()
    )


@pytest.fixture(autouse=True)
def _langsmiths_own_warnings():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="langsmith")
        warnings.filterwarnings("ignore", message=".*API key.*")
        yield
