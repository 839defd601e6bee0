"""Writing a text as a reinforcement learning environment of gymnasium, so that agents of other libraries can learn to write too.

Importing this registers ``heed/Text-v0``; ``gymnasium.make("heed.environments:heed/Text-v0", ...)`` does both. Needs the extra
``control``.
"""

from __future__ import annotations

from heed.errors import ConfigError

try:
    import gymnasium
except ImportError as error:
    raise ConfigError(
        "heed.environments", "the package gymnasium is not installed.", "Run: pip install 'heed[control]'"
    ) from error

ENVIRONMENT = "heed/Text-v0"

gymnasium.register(
    id=ENVIRONMENT,
    entry_point="heed.environments.text:TextEnv",
    vector_entry_point="heed.environments.vector:TextVectorEnv",
)
