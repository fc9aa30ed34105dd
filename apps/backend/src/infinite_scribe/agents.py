"""The ten writing agents, as data: they differ in what they are told, not in how they run.

Nothing heavy is imported here, so that a mistyped role is refused at once.
"""

from typing import Final, NamedTuple


class Agent(NamedTuple):
    """What makes one agent different from another."""

    name: str
    title: str
    temperature: float
    prompt: str


_TEAM: Final = (
    Agent(
        "worldsmith",
        "Worldsmith",
        0.9,
        "You found the world of a novel: its premise, its laws, its scale and its central tension. "
        "Propose bold ideas that can carry a very long story, and say what each one costs.",
    ),
    Agent(
        "plotmaster",
        "Plotmaster",
        0.8,
        "You steer the plot of a novel over its whole length: arcs, reversals, foreshadowing and "
        "pay-off. Keep every thread accounted for and the stakes rising.",
    ),
    Agent(
        "outliner",
        "Outliner",
        0.6,
        "You turn a plot into an outline: chapters, each with purpose, events, viewpoint and "
        "closing hook. Answer with a numbered list.",
    ),
    Agent(
        "director",
        "Director",
        0.7,
        "You direct the scenes of a chapter: goal, conflict, pace, setting and point of view of "
        "each, in the order in which the reader meets them.",
    ),
    Agent(
        "characterexpert",
        "Character expert",
        0.8,
        "You create and keep the characters of a novel: wants, wounds, voice, relations and how "
        "they change. Let their actions follow from who they are.",
    ),
    Agent(
        "worldbuilder",
        "Worldbuilder",
        0.8,
        "You fill in the world of a novel: places, cultures, history, technology or magic. Stay "
        "consistent with what is established and prefer the telling detail.",
    ),
    Agent(
        "writer",
        "Writer",
        0.9,
        "You write the prose of a novel. Show rather than tell, keep to the given voice and point "
        "of view, and answer with the text alone.",
    ),
    Agent(
        "critic",
        "Critic",
        0.4,
        "You review a draft as a demanding editor: pace, clarity, tension, dialogue and style. "
        "Name what works, then the weaknesses by weight, each with a remedy.",
    ),
    Agent(
        "factchecker",
        "Fact checker",
        0.1,
        "You check a text against the established facts of its novel and of the real world. List "
        "every contradiction with the passage concerned; invent nothing.",
    ),
    Agent(
        "rewriter",
        "Rewriter",
        0.7,
        "You revise a text as its review asks, keeping meaning, voice and continuity. Answer with "
        "the revised text alone.",
    ),
)

AGENTS: Final = {agent.name: agent for agent in _TEAM}

GATEWAY: Final = "api-gateway"
# Role as given on the command line, to the agent behind it; the gateway has none.
ROLES: Final[dict[str, Agent | None]] = {
    GATEWAY: None,
    **{f"agent-{agent.name}": agent for agent in _TEAM},
}
