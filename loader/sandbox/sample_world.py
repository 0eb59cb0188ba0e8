"""The teams, users, keys, projects and models of the sample, generated from a seed."""

from __future__ import annotations

from hashlib import md5, sha256
from uuid import UUID

# Id (None: a UUID), alias, short name, organization, cost center, project (id, alias), share of the traffic.
_TEAMS: tuple[tuple[str | None, str, str, int, str, tuple[str | None, str] | None, int], ...] = (
    ("team-search", "Search", "search", 0, "CC-4100", ("project-semantic-search", "Semantic search"), 3),
    ("team-support", "Customer Support", "support", 0, "CC-4200", ("project-replies", "Ticket replies"), 2),
    (None, "Data Platform", "data", 1, "CC-5100", (None, "Churn model"), 2),
    (None, "Growth", "growth", 1, "CC-5200", None, 1),
    ("Team Ärger/42", "Ärger & Söhne", "aerger", 2, "CC-6000", ("invoices/2026", "Invoice reader"), 1),
    (None, "Research", "research", 2, "CC-6100", (None, "Paper digest"), 1),
    ("team-mobile", "Mobile", "mobile", 0, "CC-4300", None, 2),
    ("payments@example.com", "Payments", "payments", 1, "CC-5300", None, 1),
)
_ORGANIZATIONS = (("org-consumer", "Consumer"), ("org-platform", "Platform"), (None, "Labs"))
_FIRST = "ada ben chloe dan eva finn gina hugo ines jan kira leo mia nils olga paul rosa sam tina uwe"
_LAST = "berg costa diaz evans fischer garcia haas ito jones kumar larsen meyer"
_USERS = 60

# Means are tokens a request; in_usd and out_usd are USD a token, unit_usd USD an image, second of audio or
# character of speech. Prices are public list prices, except for embed-tiny, which gives costs of 1e-9 USD.
MODELS = """
weight call_type provider model model_group in_mean out_mean in_usd out_usd most_units unit_usd
90 acompletion openai gpt-4o gpt-4o 900 260 2.5e-6 1e-5 0 0
120 acompletion openai gpt-4o-mini gpt-4o-mini 800 240 1.5e-7 6e-7 0 0
25 acompletion openai o3-mini reasoning 700 900 1.1e-6 4.4e-6 0 0
30 acompletion - openai/gpt-4o-mini gpt-4o-mini 700 200 1.5e-7 6e-7 0 0
12 completion - anthropic/claude-3-haiku-20240307 claude-haiku 600 200 2.5e-7 1.25e-6 0 0
60 acompletion azure gpt-4o-2024-08-06 gpt-4o 1000 280 2.5e-6 1e-5 0 0
25 acompletion azure gpt-4.1-mini gpt-4.1-mini 900 250 4e-7 1.6e-6 0 0
15 acompletion azure_ai Mistral-large-2407 mistral-large 700 220 2e-6 6e-6 0 0
10 acompletion azure_ai DeepSeek-R1 reasoning 600 900 1.35e-6 5.4e-6 0 0
60 acompletion anthropic claude-sonnet-4-20250514 claude-sonnet 1400 350 3e-6 1.5e-5 0 0
25 acompletion anthropic claude-3-5-haiku-20241022 claude-haiku 900 250 8e-7 4e-6 0 0
6 anthropic_messages anthropic claude-opus-4-20250514 claude-opus 2000 500 1.5e-5 7.5e-5 0 0
6 pass_through_endpoint anthropic claude-3-5-haiku-20241022 - 900 250 8e-7 4e-6 0 0
40 acompletion bedrock bedrock/anthropic.claude-3-5-sonnet-20240620-v1:0 claude-sonnet 900 320 3e-6 1.5e-5 0 0
12 acompletion bedrock bedrock/us.meta.llama3-1-70b-instruct-v1:0 llama-70b 700 220 7.2e-7 7.2e-7 0 0
20 acompletion bedrock bedrock/amazon.nova-lite-v1:0 nova-lite 800 200 6e-8 2.4e-7 0 0
25 acompletion vertex_ai gemini-1.5-pro-002 gemini-pro 1100 300 1.25e-6 5e-6 0 0
40 acompletion vertex_ai gemini-2.0-flash-001 gemini-flash 1000 280 1.5e-7 6e-7 0 0
25 acompletion gemini gemini/gemini-2.5-flash gemini-flash 1000 350 3e-7 2.5e-6 0 0
12 acompletion together_ai together_ai/meta-llama/Llama-3.3-70B-Instruct llama-70b 700 220 8.8e-7 8.8e-7 0 0
10 acompletion mistral mistral/mistral-small-latest mistral-small 600 200 1e-7 3e-7 0 0
12 acompletion groq groq/llama-3.1-8b-instant llama-8b 600 200 5e-8 8e-8 0 0
60 aembedding openai text-embedding-3-small embed-small 120 0 2e-8 0 0 0
15 aembedding vertex_ai text-embedding-005 embed-vertex 90 0 2.5e-8 0 0 0
20 aembedding together_ai together_ai/BAAI/bge-base-en-v1.5 embed-tiny 8 0 1e-9 0 0 0
4 aimage_generation openai dall-e-3 image 0 0 0 0 4 0.04
8 atranscription openai whisper-1 whisper 0 0 0 0 900 1e-4
4 aspeech openai tts-1 speech 0 0 0 0 2000 1.5e-5
"""


def name_tables(seed: int) -> dict[str, list[dict[str, str | None]]]:
    """The rows of LiteLLM's tables of names for the sample of this seed, referenced tables first."""
    keys = [key for _, key in keys_of(seed) if key["token"]]
    key_columns = ("token", "key_alias", "user_id", "team_id", "organization_id", "project_id")
    return {
        "LiteLLM_OrganizationTable": _distinct(keys, "organization_id", "organization_alias"),
        "LiteLLM_TeamTable": _distinct(keys, "team_id", "team_alias", "organization_id"),
        "LiteLLM_UserTable": _distinct(keys, "user_id", "user_email", "user_alias"),
        "LiteLLM_VerificationToken": _distinct(keys, *key_columns),
    }


def project_rows(seed: int) -> list[dict[str, str | None]]:
    """The rows of "LiteLLM_ProjectTable", which "LiteLLM_VerificationToken".project_id refers to."""
    return _distinct([key for _, key in keys_of(seed)], "project_id", "project_alias", "team_id")


def _distinct(keys: list[dict[str, str | None]], *columns: str) -> list[dict[str, str | None]]:
    """One row for each value of the first column except None, in order of appearance."""
    found = {key[columns[0]]: {name: key[name] for name in columns} for key in keys}
    return [row for name, row in found.items() if name is not None]


def keys_of(seed: int) -> list[tuple[int, dict[str, str | None]]]:
    """Each virtual key, as its share of the requests and all names that belong to it.

    There are three service keys for each team, one key for each user, and requests without a user or team.
    """
    columns = (
        "token key_alias user_id user_email user_alias team_id team_alias organization_id organization_alias "
        "project_id project_alias agent_id environment app cost_center"
    )
    no_names: dict[str, str | None] = dict.fromkeys(columns.split())
    keys: list[tuple[int, dict[str, str | None]]] = []

    def add(weight: int, alias: str | None, *names: dict[str, str | None]) -> None:
        key = no_names | {"token": sha256(f"{seed}:key:{alias}".encode()).hexdigest(), "key_alias": alias}
        for more in names:
            key |= more
        keys.append((weight, key))

    def uuid(purpose: str) -> str:
        return str(UUID(md5(f"{seed}:{purpose}".encode(), usedforsecurity=False).hexdigest()))

    teams: list[dict[str, str | None]] = []
    for team_id, team_alias, app, organization, cost_center, project, share in _TEAMS:
        organization_id, organization_alias = _ORGANIZATIONS[organization]
        team: dict[str, str | None] = {
            "team_id": team_id or uuid(f"team:{app}"),
            "team_alias": team_alias,
            "organization_id": organization_id or uuid(f"organization:{organization}"),
            "organization_alias": organization_alias,
            "cost_center": cost_center,
            "app": app,
        }
        task: dict[str, str | None] = {}
        if project is not None:
            task = {"project_id": project[0] or uuid(f"project:{app}"), "project_alias": project[1]}
        agent_id = f"agent-{app}" if app in ("support", "research") else None
        add(30 * share, f"{app}-prod", team, task, {"environment": "prod", "agent_id": agent_id})
        add(12 * share, f"{app}-batch", team, task, {"environment": "batch"})
        add(4 * share, f"{app}-staging", team, {"environment": "staging"})
        teams.append(team)
    firsts, lasts = _FIRST.split(), _LAST.split()
    for number in range(_USERS):
        # In each round, every first name gets another last name, so that all full names are different.
        round_number, place = divmod(number, len(firsts))
        first, last = firsts[place], lasts[(7 * place + 3 * round_number) % len(lasts)]
        email = f"{first}.{last}@example.com"
        person: dict[str, str | None] = {
            "user_id": (email, uuid(f"user:{number}"), f"{first}_{last}")[number % 3],
            "user_email": email,
            "user_alias": f"{first} {last}".title() if number % 5 else None,
            "environment": "dev",
        }
        # The last four users have no team.
        add(6, f"{first}.{last}-laptop", teams[number % len(teams)] if number < _USERS - 4 else {}, person)
    add(15, None)
    # Requests that LiteLLM logged without a key.
    add(5, None, {"token": ""})
    return keys
